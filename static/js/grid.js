// The gallery's tiles: finding them, moving the focus among them, and moving them with an animation.
import { $, $$ } from './app.js';

export const photos = () => $('#photos');
export const tiles = () => $$('#photos .tile:not(.up)');
export const tileOf = (node) => node?.closest?.('#photos .tile:not(.up)');
export const linkOf = (tile) => $('a.shot', tile);
export const boxOf = (tile) => $('.pick input', tile);
export const idOf = (tile) => tile.id.slice(2);
export const nameOf = (tile) => boxOf(tile).ariaLabel.replace('Select ', '');
export const position = (tile) => tiles().indexOf(tile) + 1;
/** Whether no filter is set; only then can photos be dragged into another order. */
export const isUnfiltered = () => !photos().dataset.filter;
export const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');

/* ---------- roving tabindex: Tab reaches one tile, the current one, and its controls ---------- */
let current;
const controls = (tile) => $$('a.shot, .pick input, .tools button', tile);
/** Assign only a different value: even an equal one makes the browser recompute the style of 300 tiles. */
const set = (element, name, value) => element[name] === value || (element[name] = value);
const setTabIndex = (tile, index) => controls(tile).forEach((control) => set(control, 'tabIndex', index));

export function rove(tile, focus = true) {
  if (current && current !== tile) setTabIndex(current, -1);
  current = tile;
  if (!tile) return;
  setTabIndex(tile, 0);
  if (focus) {
    linkOf(tile).focus();
    tile.scrollIntoView({ block: 'nearest' });
  }
}
export const currentTile = () => current;

/** Add the drag handle and the menu button. They need scripts, so the server does not send them 300 times. */
function addControls(tile) {
  const tools = $('.tools', tile),
    name = nameOf(tile);
  if (!tools.firstChild) tools.append($('#tile-tools').content.cloneNode(true));
  const [grip, more] = tools.children;
  set(grip, 'hidden', !isUnfiltered());
  set(grip, 'ariaLabel', `Move ${name}`);
  set(more, 'ariaLabel', `Actions for ${name}`);
}

let focused; // the tile that had the focus before a swap, and its index
document.addEventListener('htmx:before:swap', () => {
  const tile = tileOf(document.activeElement);
  focused = tile && { tile, at: position(tile) - 1 };
});

/** After each swap: add controls to new tiles, restore the tab stop, and if the focused tile is gone, focus the one in its place. */
export function settleTiles() {
  const all = tiles();
  if (focused && !focused.tile.isConnected && document.activeElement === document.body)
    rove(all[Math.min(focused.at, all.length - 1)]);
  focused = null;
  for (const tile of all) {
    addControls(tile);
    setTabIndex(tile, -1);
    viewportObserver.observe(tile);
  }
  rove(all.includes(current) ? current : (tileOf(document.activeElement) ?? all[0]), false);
}

/** Return the tile that a key moves to. Up and down go by geometry, since the cover spans two rows. */
export function neighbour(tile, key) {
  const all = tiles(),
    at = all.indexOf(tile);
  if (key === 'ArrowRight') return all[at + 1];
  if (key === 'ArrowLeft') return all[at - 1];
  if (key === 'Home') return all[0];
  if (key === 'End') return all.at(-1);
  const from = tile.getBoundingClientRect(),
    middle = from.left + from.width / 2,
    down = key === 'ArrowDown';
  let best,
    least = Infinity;
  for (const other of all) {
    const box = other.getBoundingClientRect();
    const gap = down ? box.top - from.bottom : from.top - box.bottom;
    if (gap < -16) continue; // not below, or not above
    const distance = Math.round(Math.abs(box.left + box.width / 2 - middle) + 4 * gap);
    if (distance < least) [best, least] = [other, distance];
  }
  return best;
}

/* ---------- reordering; tiles near the viewport slide to their new places (FLIP) ---------- */
const nearTiles = new Set();
const viewportObserver = new IntersectionObserver(
  (entries) => entries.forEach((entry) => nearTiles[entry.isIntersecting ? 'add' : 'delete'](entry.target)),
  { rootMargin: '40%' },
);

export function flip(change) {
  const before = reducedMotion.matches ? [] : [...nearTiles].map((tile) => [tile, tile.getBoundingClientRect()]);
  change();
  for (const [tile, from] of before) {
    if (!tile.isConnected) {
      nearTiles.delete(tile);
      continue;
    }
    const to = tile.getBoundingClientRect(),
      x = from.left - to.left,
      y = from.top - to.top;
    if ((!x && !y) || Math.abs(y) > innerHeight) continue;
    tile.getAnimations().forEach((animation) => animation.cancel());
    const slide = [{ transform: `translate(${x}px,${y}px)` }, { transform: 'none' }];
    tile.animate(slide, { duration: 220, easing: 'cubic-bezier(.2,.8,.2,1)' });
  }
}

/** Move a tile to an index among the others. */
export function put(tile, index) {
  const others = tiles().filter((other) => other !== tile),
    focused = document.activeElement;
  if (others[index]) others[index].before(tile);
  else others.at(-1)?.after(tile);
  if (tile.contains(focused)) focused.focus({ preventScroll: true }); // moving an element drops its focus
  updateCover();
}

/** Make the first tile large and the cover, in place of the tile that was. */
export function updateCover() {
  const first = tiles()[0],
    was = $('#photos .tile[data-large]') ?? first;
  if (!isUnfiltered() || !first) return;
  if (first !== was) {
    const [image, other] = [$('img', first), $('img', was)];
    if (image && !image.srcset) image.src = image.src.replace(/w=\d+$/, 'w=1280'); // a tile from far down has a single width
    else if (image && other) [image.sizes, other.sizes] = [other.sizes, image.sizes];
    was.removeAttribute('data-large');
    first.setAttribute('data-large', '');
  }
  const cover = $('#photos .tile[data-cover]');
  if (cover === was || !cover) {
    cover?.removeAttribute('data-cover');
    first.setAttribute('data-cover', '');
  }
}
