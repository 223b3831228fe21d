// Keeps the gallery up to date with what other people and the workers change, and opens and closes the import dialog.
import { $, post, announce, toast } from './app.js';

/** `requests`: those in flight that change something; `heldPhotos`: photos being dragged or carried. No refresh during either. */
export const changing = { requests: 0, heldPhotos: 0 };
let wanted = false, // even if the versions are equal
  timer;

/** Soon compare the gallery's version with the server's, and fetch the gallery if it is outdated (or `always`). */
export function refresh(always = false) {
  wanted ||= always;
  clearTimeout(timer);
  timer = setTimeout(look, 250);
}

function look() {
  if (changing.requests || changing.heldPhotos) return refresh();
  if (!wanted && $('#photos').dataset.version === $('#tray').dataset.version) return;
  wanted = false;
  const address = location.pathname + ($('#photos').dataset.filter ?? '');
  window.htmx.ajax('GET', address, { source: '#gallery', target: '#gallery', swap: 'outerMorph' });
}

/** Send a change that the page shows already; if the server refuses it, fetch the gallery as it is. */
export async function sendChange(address, fields) {
  changing.requests++;
  const answer = await post(address, fields);
  changing.requests--;
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
  if (intoGallery && changing.heldPhotos) event.preventDefault();
  if (intoGallery && (changing.heldPhotos || changing.requests)) refresh(true);
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
    announce('Hidden');
  }
});
document.addEventListener('import:started', (event) => {
  box().close();
  $('textarea', box()).value = '';
  const { links } = event.detail;
  announce(links === 1 ? 'Importing 1 photo' : `Importing ${links} photos`);
});
document.addEventListener('imports:ended', (event) => toast(event.detail.text));
if (box().open) {
  box().removeAttribute('open');
  box().showModal();
  history.replaceState(history.state, '', location.pathname.replace(/\/import$/, '') + location.search); // the gallery's address
}
