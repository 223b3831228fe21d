// Selecting photos (one, a range, all), the bulk actions on them, and the keyboard shortcuts of a tile.
import { $, $$, announce, shortcut } from './app.js';
import { sendChange } from './refresh.js';
import { boxOf, updateCover, flip, currentTile, idOf, linkOf, neighbour, rove, tileOf, tiles } from './grid.js';
import { carryKey, makeCover } from './order.js';

export const picked = () => tiles().filter((tile) => boxOf(tile).checked);
/** The tiles that a shortcut on a tile applies to: the selection if the tile is part of it, otherwise the tile alone. */
const chosenWith = (tile) => (picked().includes(tile) ? picked() : [tile]);
export const rotate = async (...what) => (await import('./rotate.js')).rotate(...what);
const mode = () => $('[data-action="select-mode"]');
let last; // where a Shift+click range starts

function count(speak = true) {
  const number = picked().length;
  for (const place of $$('[data-count]')) place.textContent = number;
  if (!number) last = null;
  if (speak) announce(`${number} selected`);
}

export function pick(list, on = true) {
  for (const tile of list) boxOf(tile).checked = on;
  count();
}

export function clear() {
  $$('#photos .pick :checked').forEach((box) => (box.checked = false));
  setMode(false);
  count(false);
}

function setMode(on) {
  document.body.classList.toggle('selecting', on);
  mode()?.setAttribute('aria-pressed', on);
}

document.addEventListener('click', (event) => {
  const tile = tileOf(event.target);
  if (event.target.closest('[data-action="select-mode"]')) {
    setMode(!document.body.classList.contains('selecting'));
    if (!document.body.classList.contains('selecting')) clear();
  } else if (event.target.closest('[data-action="clear"]')) {
    clear();
    if (currentTile()) linkOf(currentTile()).focus();
    announce('Selection cleared');
  } else if (event.target.closest('.pick input') && tile) {
    const all = tiles();
    if (event.shiftKey && all.includes(last)) {
      const [from, to] = [all.indexOf(last), all.indexOf(tile)].sort((a, b) => a - b);
      pick(all.slice(from, to + 1), event.target.checked);
    } else count();
    last = tile;
  }
});
/** In selection mode, a tap on a photo selects it. In the capture phase, before other handlers open it. */
document.addEventListener(
  'click',
  (event) => {
    const tile = event.target.closest('a.shot') && tileOf(event.target);
    if (!tile || !document.body.classList.contains('selecting')) return;
    event.preventDefault();
    event.stopPropagation();
    boxOf(tile).click();
  },
  true,
);

/* ---------- keys ---------- */
document.addEventListener('keydown', (event) => {
  if ($('dialog[open], [popover]:popover-open')) return;
  if ((event.ctrlKey || event.metaKey) && !event.target.matches('textarea, input:not([type=checkbox])')) {
    if (event.key === 'a' && tileOf(event.target)) {
      event.preventDefault();
      pick(tiles());
    } else if (event.key === 'z') $$('.toast .undo').at(-1)?.click();
    return;
  }
  if (!shortcut(event) || carryKey(event)) return;
  if (event.key === 'Escape' && picked().length + document.body.classList.contains('selecting')) {
    clear();
    return announce('Selection cleared');
  }
  const tile = tileOf(event.target);
  if (!tile || event.target.closest('.tools, .cap, form')) return;
  if (/^(Arrow(Up|Down|Left|Right)|Home|End)$/.test(event.key)) {
    event.preventDefault();
    const next = neighbour(tile, event.key);
    if (next && event.shiftKey) {
      const all = tiles(),
        [from, to] = [all.indexOf(tile), all.indexOf(next)].sort((a, b) => a - b);
      pick(all.slice(from, to + 1));
      last = next;
    }
    if (next) rove(next);
  } else if (event.key === ' ' && event.target !== boxOf(tile)) {
    event.preventDefault();
    boxOf(tile).click();
  } else if (event.key === 'd') {
    event.preventDefault();
    linkOf(tile).click();
  } else if (event.key === 'c') makeCover(tile);
  else if (event.key.toLowerCase() === 'r') rotate(chosenWith(tile), event.shiftKey ? -1 : 1);
  else if (event.key === 'Delete' || event.key === 'Backspace') remove(chosenWith(tile));
});

/* ---------- deleting: tiles disappear immediately; the response brings the toast with Undo ---------- */
export function remove(list) {
  if (!list.length) return;
  const all = tiles(),
    next = all.slice(all.indexOf(list.at(-1)) + 1).find((tile) => !list.includes(tile));
  const other = next ?? all.findLast((tile) => !list.includes(tile));
  flip(() => {
    list.forEach((tile) => tile.remove());
    updateCover();
  });
  setMode(false);
  count(false);
  rove(other);
  if (!other) $('#main').focus({ preventScroll: true });
  sendChange($('#bulk').action, [['do', 'delete'], ...list.map((tile) => ['photo', idOf(tile)])]);
}

document.addEventListener('submit', (event) => {
  if (event.target.id === 'bulk') {
    event.preventDefault();
    if (event.submitter.value === 'delete') remove(picked());
    else if (event.submitter.value === 'rotate') rotate(picked());
    else describe(picked());
  } else if (event.target.id === 'bulk-one') {
    event.preventDefault();
    const tile = document.getElementById(`p-${event.target.elements.photo.value}`),
      way = { rotate: 1, 'rotate-left': -1 }[event.submitter.value];
    $('#photo').close();
    if (tile) way ? rotate([tile], way) : remove([tile]);
  }
});

/** Open the first of these photos; saving leads on to the next of them. */
function describe(list) {
  if (!list.length) return;
  const only = list.map((tile) => idOf(tile).slice(0, 8)).join('.');
  const address = `${$('#bulk').action.replace(/\/bulk.*/, '')}?only=${only}&photo=${idOf(list[0])}`;
  clear();
  window.htmx.ajax('GET', address, { source: '#photo', target: '#photo' });
}

// Keep the selection when the gallery is replaced.
let kept = [];
document.addEventListener('htmx:before:swap', () => (kept = picked().map((tile) => tile.id)));
document.addEventListener('htmx:after:swap', () => {
  for (const id of kept) {
    const box = $('.pick input', document.getElementById(id) ?? document.createElement('i'));
    if (box) box.checked = true;
  }
  if (mode()) mode().setAttribute('aria-pressed', document.body.classList.contains('selecting'));
  count(false);
});
count(false);
