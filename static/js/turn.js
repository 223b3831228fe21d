// Rotates photos: immediately in the tile, then on the server, whose response replaces the tile.
// Loaded on the first rotation, since most visits have none.
import { $, post, say, toast } from './app.js';
import { changing, refresh } from './fresh.js';
import { nameOf } from './grid.js';

const PAUSE_MS = 300; // between key presses: R, R, R is one rotation by three quarters
const AT_ONCE = 4; // photos a request; a small number, so that progress shows
const todo = new Map(); // tile id → clockwise quarter turns not sent yet
let timer, isSending;

const tileBy = (id) => document.getElementById(id);
const quarters = (number) => ((number % 4) + 4) % 4;

/** Draw a tile rotated by this many quarter turns. */
function draw(tile, by) {
  if (!tile) return;
  if (by) tile.dataset.turn = by;
  else tile.removeAttribute('data-turn');
}

addEventListener('beforeunload', (event) => (todo.size || isSending) && event.preventDefault());

export function turn(list, by = 1) {
  if (!list.length) return;
  for (const tile of list) {
    todo.set(tile.id, quarters((todo.get(tile.id) ?? 0) + by));
    draw(tile, quarters(+(tile.dataset.turn ?? 0) + by));
  }
  say(list.length === 1 ? `Rotated ${nameOf(list[0])}` : `Rotating ${list.length} photos`);
  clearTimeout(timer);
  timer = setTimeout(send, PAUSE_MS);
}

/** Send the pending rotations, one request at a time; then offer to undo them. */
async function send() {
  if (isSending) return;
  isSending = true;
  changing.count++;
  const done = [];
  while (todo.size) {
    const [, by] = todo.entries().next().value;
    const ids = [...todo].filter(([, other]) => other === by).slice(0, AT_ONCE).map(([id]) => id);
    ids.forEach((id) => todo.delete(id));
    if (!by) ids.forEach((id) => draw(tileBy(id), 0));
    else if (await ask(ids, by)) done.push(...ids.map((id) => [id, by]));
    else break;
  }
  changing.count--;
  isSending = false;
  if (done.length < 2) return;
  const undo = () => done.forEach(([id, by]) => tileBy(id) && turn([tileBy(id)], -by));
  toast(`Rotated ${done.length} photos.`, { undo });
}

async function ask(ids, by) {
  const address = $('#bulk').action.replace(/bulk(\?.*)?$/, 'rotate$1');
  const answer = await post(address, [['turns', by], ...ids.map((id) => ['photo', id.slice(2)])]);
  const isDone = answer?.status < 300;
  ids.forEach((id) => (isDone ? settle(id, by) : draw(tileBy(id), 0)));
  if (!isDone) {
    for (const id of todo.keys()) draw(tileBy(id), 0);
    todo.clear();
    refresh(true);
  }
  return isDone;
}

/** The server has sent the tile. Keep the old image rotated until the new one has loaded. */
function settle(id, by) {
  const tile = tileBy(id),
    image = tile && $('img', tile);
  const rest = () => draw(tileBy(id), todo.get(id) ?? 0);
  if (!image || image.complete) return rest();
  draw(tile, quarters(by + (todo.get(id) ?? 0)));
  for (const end of ['load', 'error']) image.addEventListener(end, rest, { once: true });
}
