// The sheet's photos open in a dialog, with an address of their own.
import { $, $$, remember, say, typing } from './app.js';
import { rove, settleTiles, tileOf } from './grid.js';

const dialog = () => $('#photo');

document.addEventListener('focusin', (event) => {
  const tile = tileOf(event.target);
  if (tile) rove(tile, false);
});

/* ---------- a photo opened ---------- */
const open = (address) => window.htmx.ajax('GET', address, { source: dialog(), target: dialog() });

function opened(isNew) {
  const box = dialog();
  if (box.open && !box.matches(':modal')) box.removeAttribute('open'); // drawn open by the server
  if (!box.open) box.showModal();
  const thumb = $('img', document.getElementById($('.viewer', box)?.dataset.tile) ?? document.createElement('i'));
  if (thumb?.naturalWidth) $('figure', box).style.background = `center / cover url("${thumb.currentSrc}")`; // until the large one is here
  $(isNew && matchMedia('(pointer: fine)').matches ? 'textarea' : 'h2', box)?.focus();
  count();
}

function closed() {
  const tile = document.getElementById($('.viewer', dialog())?.dataset.tile);
  if (new URL(location).searchParams.has('photo')) leaveAddress();
  dialog().replaceChildren();
  if (tile) rove(tile);
}

let leaving; // going back takes a moment; what opens meanwhile waits for it

/** Back to the sheet's address: by going back where opening made an entry, so that Back never lands here again. */
function leaveAddress() {
  if (history.state?.photo) {
    leaving = new Promise((gone) => addEventListener('popstate', gone, { once: true }));
    return history.back();
  }
  const url = new URL(location);
  url.searchParams.delete('photo');
  history.replaceState(null, '', url);
}

/** What was typed is saved when the photo is left: its dialog goes when that is done. */
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
  else history.pushState({ htmx: true, photo: true }, '', ctx.request.action); // without its mark, htmx takes the entry for none
  opened(!dialog().open);
});
/** Saved, and the next one is here: the dialog stays, its address goes along. */
document.addEventListener('photo:next', (event) => {
  history.replaceState(history.state, '', event.detail.address);
  opened(true);
  say('Saved. Next photo.');
});
document.addEventListener('photo:saved', () => {
  dialog().close();
  const note = $('#save');
  note.hidden = false;
  $('span', note).textContent = `Saved ${new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })}`;
  say('Saved');
});
// The event comes late: where another photo has been opened since, there is nothing to close.
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
/** Back and forward: opening and closing is ours, htmx need not fetch the page anew for it. */
addEventListener('popstate', () => {
  const wanted = new URL(location).searchParams.has('photo');
  if (!wanted && dialog().open) dialog().close();
  if (wanted && !dialog().open && isThisSheet()) open(location.href);
});
document.addEventListener('htmx:before:history:restore', (event) => isThisSheet() && event.preventDefault());
// htmx takes part in every step back, and with that the browser would drop the focus.
window.navigation?.addEventListener('navigate', (event) => {
  if (event.navigationType !== 'traverse' || !event.canIntercept || !isThisSheet(event.destination.url)) return;
  event.intercept({ focusReset: 'manual', scroll: 'manual' });
});

function isThisSheet(url = location) {
  const { pathname, searchParams } = new URL(url);
  return pathname === location.pathname && searchParams.has('f') === ($('#photos').dataset.filter ?? '').startsWith('?f');
}

/** After anything new came in: one tab stop, and no photo that failed to load without a word. */
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
