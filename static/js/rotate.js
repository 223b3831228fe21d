// Rotates photos: immediately in the tile, then on the server, whose response replaces the tile.
// Loaded on the first rotation, since most visits have none.
import { $, post, announce, toast } from './app.js';
import { changing, refresh } from './refresh.js';
import { nameOf } from './grid.js';

const PAUSE_MS = 300; // between key presses: R, R, R is one rotation by three quarters
const MAX_PER_REQUEST = 4; // photos; few, so that progress shows
const pending = new Map(); // tile id → clockwise quarter turns not sent yet
let timer, isSending;

const tileWithId = (id) => document.getElementById(id);
const normalized = (number) => ((number % 4) + 4) % 4;

/** Draw a tile rotated by this many quarter turns. */
function draw(tile, by) {
  if (!tile) return;
  if (by) tile.dataset.turn = by;
  else tile.removeAttribute('data-turn');
}

addEventListener('beforeunload', (event) => (pending.size || isSending) && event.preventDefault());

export function rotate(list, by = 1) {
  if (!list.length) return;
  for (const tile of list) {
    pending.set(tile.id, normalized((pending.get(tile.id) ?? 0) + by));
    draw(tile, normalized(+(tile.dataset.turn ?? 0) + by));
  }
  announce(list.length === 1 ? `Rotated ${nameOf(list[0])}` : `Rotating ${list.length} photos`);
  clearTimeout(timer);
  timer = setTimeout(send, PAUSE_MS);
}

/** Send the pending rotations, one request at a time; then offer to undo them. */
async function send() {
  if (isSending) return;
  isSending = true;
  changing.requests++;
  const done = [];
  while (pending.size) {
    const [, by] = pending.entries().next().value;
    const ids = [...pending].filter(([, other]) => other === by).slice(0, MAX_PER_REQUEST).map(([id]) => id);
    ids.forEach((id) => pending.delete(id));
    if (!by) ids.forEach((id) => draw(tileWithId(id), 0));
    else if (await sendRotation(ids, by)) done.push(...ids.map((id) => [id, by]));
    else break;
  }
  changing.requests--;
  isSending = false;
  if (done.length < 2) return;
  const undo = () => done.forEach(([id, by]) => tileWithId(id) && rotate([tileWithId(id)], -by));
  toast(`Rotated ${done.length} photos.`, { undo });
}

async function sendRotation(ids, by) {
  const address = $('#bulk').action.replace(/bulk(\?.*)?$/, 'rotate$1');
  const answer = await post(address, [['turns', by], ...ids.map((id) => ['photo', id.slice(2)])]);
  const isDone = answer?.status < 300;
  ids.forEach((id) => (isDone ? settle(id, by) : draw(tileWithId(id), 0)));
  if (!isDone) {
    for (const id of pending.keys()) draw(tileWithId(id), 0);
    pending.clear();
    refresh(true);
  }
  return isDone;
}

/** The server has sent the tile. Keep the old image rotated until the new one has loaded. */
function settle(id, by) {
  const tile = tileWithId(id),
    image = tile && $('img', tile);
  const rest = () => draw(tileWithId(id), pending.get(id) ?? 0);
  if (!image || image.complete) return rest();
  draw(tile, normalized(by + (pending.get(id) ?? 0)));
  for (const end of ['load', 'error']) image.addEventListener(end, rest, { once: true });
}
