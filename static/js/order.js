// Order and cover: each move is a request that names the preceding photo, so two people can reorder at the same time.
import { $, announce, toast } from './app.js';
import { reducedMotion, flip, idOf, isUnfiltered, linkOf, nameOf, neighbour, position, put, tileOf, tiles } from './grid.js';
import { changing, refresh } from './refresh.js';

const form = $('#order');
const fieldOf = (name) => form.elements[name];
let savedOrder; // the order stored on the server, while moves are in flight

function send(tile, place) {
  if (!changing.requests) savedOrder = tiles();
  const all = tiles();
  fieldOf('id').value = idOf(tile);
  fieldOf('after').value = place ? '' : (all[all.indexOf(tile) - 1]?.id.slice(2) ?? '');
  fieldOf('position').value = place ?? '';
  fieldOf('version').value = $('#photos').dataset.version;
  changing.requests++;
  form.requestSubmit();
}
form.addEventListener('htmx:finally:request', (event) => {
  changing.requests--;
  const status = event.detail.ctx.response?.status;
  if (status < 300 || status === 409) return;
  flip(() => savedOrder.forEach((tile, index) => tile.isConnected && put(tile, index))); // not saved: restore the order
  refresh(true);
});

/** Move tiles to consecutive positions from `index` (0 is the first), save that, and offer to undo it. */
export function move(list, index, words) {
  if (!isUnfiltered()) return moveUnseen(list, index, words);
  const all = tiles(),
    before = list.map((tile) => all[all.indexOf(tile) - 1]),
    others = all.filter((tile) => !list.includes(tile));
  const start = Math.max(0, Math.min(others.length, index));
  if (list.every((tile, nth) => all[start + nth] === tile)) return;
  place(list, (tile, nth) => (nth ? list[nth - 1] : others[start - 1]));
  list[0].scrollIntoView({ block: 'nearest', behavior: reducedMotion.matches ? 'auto' : 'smooth' });
  const count = list.length === 1 ? `Moved to position ${start + 1}.` : `Moved ${list.length} photos.`;
  toast(start || words ? (words ?? count) : `“${nameOf(list[0])}” is now the cover.`, {
    undo: () => place(list, (_, nth) => before[nth]),
  });
}

function place(list, anchorOf) {
  const orderBefore = changing.requests ? savedOrder : tiles();
  list
    .filter((tile) => tile.isConnected)
    .forEach((tile, nth) => {
      const anchor = anchorOf(tile, nth);
      flip(() => put(tile, tiles().filter((other) => other !== tile).indexOf(anchor) + 1));
      send(tile);
      savedOrder = orderBefore;
    });
}

/** Under a filter, send the position: only the server knows which photo is there. */
function moveUnseen(list, index, words) {
  list.forEach((tile, nth) => send(tile, index + nth + 1));
  refresh(true);
  toast(words ?? (index ? `Moved to position ${index + 1}.` : `“${nameOf(list[0])}” is now the cover.`));
}

export const makeCover = (tile) => tile.hasAttribute('data-cover') || move([tile], 0);

/** Save where a tile was dropped; `from` is the position it had. */
export function saveFrom(tile, from) {
  const to = position(tile);
  if (to === from) return;
  send(tile);
  savedOrder = null;
  if (to === 1) toast(`“${nameOf(tile)}” is now the cover.`, { undo: () => move([tile], from - 1, 'Moved back.') });
}

/* ---------- by keyboard: pick up, move, then place or put back ---------- */
let carried;
export const isCarrying = () => Boolean(carried);

export function lift(tile) {
  carried = { tile, from: position(tile), order: tiles() };
  changing.heldPhotos++;
  tile.classList.add('carry');
  const keys = 'Arrow keys move it, Enter places it, Escape puts it back.';
  announce(`Picked up ${nameOf(tile)}. Position ${carried.from} of ${tiles().length}. ${keys}`, true);
}

function setDown(keep) {
  const { tile, from, order } = carried;
  carried = null;
  changing.heldPhotos--;
  tile.classList.remove('carry');
  if (keep) {
    saveFrom(tile, from);
    if (savedOrder === null) savedOrder = order;
  } else flip(() => put(tile, from - 1));
  linkOf(tile).focus();
  announce(keep ? `Placed at position ${position(tile)}.` : `Put back at position ${from}.`, true);
}

/** Handle a key that picks up, moves or puts down a photo. Returns whether it was one. */
export function carryKey(event) {
  const tile = tileOf(event.target);
  if (!carried) {
    const onGrip = event.target.closest('.grip') && [' ', 'Enter'].includes(event.key);
    if (!tile || !isUnfiltered() || !(event.key === 'm' || onGrip)) return false;
    lift(tile);
  } else if (/^(Arrow|Home|End)/.test(event.key)) {
    const other = neighbour(carried.tile, event.key);
    if (other) {
      flip(() => put(carried.tile, position(other) - 1));
      carried.tile.scrollIntoView({ block: 'nearest' });
      announce(`Position ${position(carried.tile)} of ${tiles().length}`, true);
    }
  } else if (['Enter', ' ', 'm'].includes(event.key)) setDown(true);
  else if (['Escape', 'Tab'].includes(event.key)) setDown(false);
  else return false;
  event.preventDefault();
  return true;
}
document.addEventListener('pointerdown', () => carried && setDown(false), true);
