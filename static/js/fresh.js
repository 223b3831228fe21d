// Keeps the gallery up to date with what other people and the workers change, and opens and closes the import dialog.
import { $, post, say, toast } from './app.js';

/** `count`: requests in flight that change something; `hands`: photos being dragged or carried. No refresh during either. */
export const changing = { count: 0, hands: 0 };
let wanted = false, // even if the versions are equal
  timer;

/** Soon compare the gallery's version with the server's, and fetch the gallery if it is outdated (or `always`). */
export function refresh(always = false) {
  wanted ||= always;
  clearTimeout(timer);
  timer = setTimeout(look, 250);
}

function look() {
  if (changing.count || changing.hands) return refresh();
  if (!wanted && $('#photos').dataset.version === $('#tray').dataset.version) return;
  wanted = false;
  const address = location.pathname + ($('#photos').dataset.filter ?? '');
  window.htmx.ajax('GET', address, { source: '#gallery', target: '#gallery', swap: 'outerMorph' });
}

/** Send a change that the page shows already; if the server refuses it, fetch the gallery as it is. */
export async function tell(address, fields) {
  changing.count++;
  const answer = await post(address, fields);
  changing.count--;
  if (!(answer?.status < 300)) refresh(true);
}

/** Each response to one of this page's changes (`data-own`) advances its version by one. If the versions still
 * differ, somebody else made a change. */
document.addEventListener('htmx:after:swap', () => {
  const tray = $('#tray'),
    photos = $('#photos');
  if (tray.hasAttribute('data-own')) {
    tray.removeAttribute('data-own');
    photos.dataset.version = +photos.dataset.version + 1;
  }
  if (photos.dataset.version !== tray.dataset.version) refresh();
  for (const time of document.querySelectorAll('#save time')) {
    const at = new Date(time.dateTime);
    time.textContent = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  }
});
document.addEventListener('photos:changed', () => refresh());
document.addEventListener('htmx:before:swap', (event) => {
  const intoGallery = event.detail.ctx.target?.id === 'gallery';
  if (intoGallery && changing.hands) event.preventDefault();
  if (intoGallery && (changing.hands || changing.count)) refresh(true);
});

/* ---------- importing photos from links ---------- */
const box = () => $('#import');
document.addEventListener('click', (event) => {
  if (event.target.closest('[data-action="import"]')) {
    event.preventDefault();
    box().showModal();
  }
  const hide = event.target.closest('[data-hide]');
  if (hide) {
    document.cookie = `imports=${hide.dataset.hide};path=${$('#order').getAttribute('hx-post').split('/order')[0]};max-age=7200;samesite=lax`;
    hide.closest('.card').remove();
    $('#main').focus({ preventScroll: true });
    say('Hidden');
  }
});
document.addEventListener('import:started', (event) => {
  box().close();
  $('textarea', box()).value = '';
  const { links } = event.detail;
  say(links === 1 ? 'Importing 1 photo' : `Importing ${links} photos`);
});
document.addEventListener('imports:ended', (event) => toast(event.detail.text));
if (box().open) {
  box().removeAttribute('open');
  box().showModal();
  history.replaceState(history.state, '', location.pathname.replace(/\/import$/, '') + location.search); // the gallery's address
}
