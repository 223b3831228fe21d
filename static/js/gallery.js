// Opens a photo in a dialog and gives it an address, so that Back, Forward and reload work.
import { $, $$, remember, announce, typing } from './app.js';
import { rove, settleTiles, tileOf } from './grid.js';

const dialog = () => $('#photo');

document.addEventListener('focusin', (event) => {
  const tile = tileOf(event.target);
  if (tile) rove(tile, false);
});

/* ---------- opening and closing a photo ---------- */
const open = (address) => window.htmx.ajax('GET', address, { source: dialog(), target: dialog() });

function opened(isNew) {
  const box = dialog();
  if (box.open && !box.matches(':modal')) box.removeAttribute('open'); // the server rendered it open
  if (!box.open) box.showModal();
  const thumb = $('img', document.getElementById($('.viewer', box)?.dataset.tile) ?? document.createElement('i'));
  if (thumb?.naturalWidth) $('figure', box).style.background = `center / cover url("${thumb.currentSrc}")`; // until the large image has loaded
  $(isNew && matchMedia('(pointer: fine)').matches ? 'textarea' : 'h2', box)?.focus();
  count();
}

function closed() {
  const tile = document.getElementById($('.viewer', dialog())?.dataset.tile);
  if (new URL(location).searchParams.has('photo')) leaveAddress();
  dialog().replaceChildren();
  if (tile) rove(tile);
}

let leaving; // history.back() is asynchronous: a photo that opens meanwhile waits for this

/** Restore the gallery's address. If opening the photo added a history entry, go back, so that Back skips it later. */
function leaveAddress() {
  if (history.state?.photo) {
    leaving = new Promise((gone) => addEventListener('popstate', gone, { once: true }));
    return history.back();
  }
  const url = new URL(location);
  url.searchParams.delete('photo');
  history.replaceState(null, '', url);
}

/** Submit an edited description. Returns whether there was one; the dialog then closes once it is saved. */
function save() {
  const field = $('#f-alt', dialog()),
    isNew = field && field.value !== field.defaultValue;
  if (isNew) field.form.requestSubmit();
  return isNew;
}
document.addEventListener('cancel', (event) => event.target === dialog() && save() && event.preventDefault(), true);

function count() {
  const field = $('[data-most]', dialog()),
    note = $('.count', dialog());
  if (!field) return;
  note.textContent = `${field.value.length} of ${field.dataset.most}`;
  note.toggleAttribute('data-over', field.value.length > +field.dataset.most);
}

document.addEventListener('htmx:after:swap', async (event) => {
  const { ctx } = event.detail;
  settle();
  if (ctx.target !== dialog()) return;
  await leaving;
  const hasAddress = new URL(location).searchParams.has('photo');
  if (hasAddress) history.replaceState(history.state, '', ctx.request.action);
  else history.pushState({ htmx: true, photo: true }, '', ctx.request.action); // htmx ignores entries without its mark
  opened(!dialog().open);
});
/** The photo is saved and the dialog shows the next one, so only the address changes. */
document.addEventListener('photo:next', (event) => {
  history.replaceState(history.state, '', event.detail.address);
  opened(true);
  announce('Saved. Next photo.');
});
document.addEventListener('photo:saved', () => {
  dialog().close();
  const note = $('#save');
  note.hidden = false;
  $('span', note).textContent = `Saved ${new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })}`;
  announce('Saved');
});
// The close event is asynchronous: another photo may have been opened by now.
document.addEventListener('close', (event) => event.target === dialog() && !dialog().open && closed(), true);
document.addEventListener('click', (event) => {
  const close = event.target.closest('[data-close]');
  if (close) {
    event.preventDefault();
    if (!(close.closest('#photo') && save())) close.closest('dialog').close();
  }
  const link = event.target.closest('.tile a');
  if (link && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)) {
    event.preventDefault();
    open(link.href);
  }
  const size = event.target.closest('[data-tiles]')?.dataset.tiles;
  if (size) {
    remember('tiles', size);
    $$('[data-tiles]').forEach((button) => button.setAttribute('aria-pressed', button.dataset.tiles === size));
    $('#photos').toggleAttribute('data-size', false);
    if (size === 's') $('#photos').dataset.size = 's';
  }
});
document.addEventListener('input', (event) => event.target.matches('[data-most]') && count());
document.addEventListener('keydown', (event) => {
  if (!dialog()?.open || typing(event)) return;
  const way = { ArrowLeft: 'prev', ArrowRight: 'next' }[event.key];
  if (way) $(`.vtools [rel=${way}]`, dialog())?.click();
});
/** Back and Forward open and close the photo here; htmx need not fetch the whole page. */
addEventListener('popstate', () => {
  const wanted = new URL(location).searchParams.has('photo');
  if (!wanted && dialog().open) dialog().close();
  if (wanted && !dialog().open && isThisGallery()) open(location.href);
});
document.addEventListener('htmx:before:history:restore', (event) => isThisGallery() && event.preventDefault());
// htmx intercepts every traversal, and by default an intercepted one resets focus and scroll position.
window.navigation?.addEventListener('navigate', (event) => {
  if (event.navigationType !== 'traverse' || !event.canIntercept || !isThisGallery(event.destination.url)) return;
  event.intercept({ focusReset: 'manual', scroll: 'manual' });
});

function isThisGallery(url = location) {
  const { pathname, searchParams } = new URL(url);
  return pathname === location.pathname && searchParams.has('f') === ($('#photos').dataset.filter ?? '').startsWith('?f');
}

/** After each swap: restore the single tab stop, and mark images that failed to load so that their alt text shows. */
function settle() {
  settleTiles();
  for (const image of $$('#photos .shot img'))
    if (image.complete && !image.naturalWidth && image.currentSrc) image.classList.add('broken');
}
document.addEventListener(
  'error',
  (event) => event.target.matches?.('.shot img') && event.target.classList.add('broken'),
  true,
);
document.addEventListener(
  'load',
  (event) => event.target.matches?.('.shot img.broken') && event.target.classList.remove('broken'),
  true,
);

settle();
if (dialog().open) opened(true);
