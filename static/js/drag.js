// Dragging photos: press and move with a mouse, hold and then move with a finger, so that scrolling never drags.
import { $, announce } from './app.js';
import { changing } from './refresh.js';
import { reducedMotion, flip, isUnfiltered, position, put, tileOf, tiles } from './grid.js';
import { saveFrom } from './order.js';

const HOLD_MS = 320;
const SLACK_PX = 6; // a shorter movement is a click, or an unsteady finger
const EDGE_PX = 90; // this close to the edge of the screen, the page scrolls
let drag;

document.addEventListener('dragstart', (event) => tileOf(event.target) && event.preventDefault());
document.addEventListener('pointerdown', (event) => {
  const tile = tileOf(event.target);
  if (!tile || drag || event.button || !event.isPrimary || !isUnfiltered()) return;
  if (event.target.closest('.more, .pick, .cap, form')) return;
  const { pointerId: id, clientX: x, clientY: y } = event,
    box = tile.getBoundingClientRect();
  drag = { tile, id, x, y, dx: x - box.left, dy: y - box.top, touch: event.pointerType === 'touch' };
  drag.from = position(tile);
  if (drag.touch && !event.target.closest('.grip')) drag.hold = setTimeout(() => lift(event), HOLD_MS);
});

function lift({ clientX, clientY }) {
  const { tile } = drag,
    width = tile.getBoundingClientRect().width,
    scale = Math.min(1, 260 / width);
  const ghost = (drag.ghost = tile.cloneNode(true));
  ghost.removeAttribute('id');
  ghost.setAttribute('aria-hidden', 'true');
  ghost.inert = true;
  ghost.className = 'ghost tile';
  ghost.style.inlineSize = `${width * scale}px`;
  drag.dx *= scale;
  drag.dy *= scale;
  drag.hold = null;
  drag.on = true;
  changing.heldPhotos++;
  tile.classList.add('lifted');
  document.body.append(ghost);
  document.body.classList.add('dragging');
  navigator.vibrate?.(12);
  follow(clientX, clientY);
  requestAnimationFrame(scroll);
}

function follow(x, y) {
  Object.assign(drag, { px: x, py: y });
  drag.ghost.style.transform = `translate(${x - drag.dx}px,${y - drag.dy}px)`;
  const under = document.elementsFromPoint(x, y).map(tileOf).find(Boolean);
  if (!under || under === drag.tile) return (drag.over = null);
  if (under === drag.over || under.getAnimations().length) return;
  drag.over = under;
  flip(() => put(drag.tile, position(under) - 1));
}

function scroll() {
  if (!drag?.on) return;
  const top = EDGE_PX + 56, // the height of the top bar
    by = drag.py < top ? drag.py - top : Math.max(0, drag.py - innerHeight + EDGE_PX);
  if (by) {
    scrollBy(0, by / 5);
    follow(drag.px, drag.py);
  }
  requestAnimationFrame(scroll);
}

addEventListener('pointermove', (event) => {
  if (event.pointerId !== drag?.id) return;
  if (drag.on) return follow(event.clientX, event.clientY);
  if (Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < SLACK_PX) return;
  if (drag.hold) drop(true); // the finger scrolls
  else lift(event);
});
addEventListener('touchmove', (event) => drag?.on && event.preventDefault(), { passive: false });
addEventListener('contextmenu', (event) => drag?.touch && event.preventDefault());
addEventListener('pointerup', (event) => event.pointerId === drag?.id && drop());
addEventListener('pointercancel', (event) => event.pointerId === drag?.id && drop(true));
addEventListener('blur', () => drop(true));
addEventListener('keydown', (event) => event.key === 'Escape' && drag?.on && drop(true), true);

function drop(cancel) {
  if (!drag) return;
  clearTimeout(drag.hold);
  const { tile, ghost, from, on } = drag;
  drag = null;
  if (!on) return;
  changing.heldPhotos--;
  if (cancel) flip(() => put(tile, from - 1));
  land(ghost, tile);
  // Swallow the click that ends a drag, which would open the photo; later clicks count.
  const swallow = (event) => {
    event.preventDefault();
    event.stopPropagation();
  };
  addEventListener('click', swallow, { capture: true, once: true });
  setTimeout(() => removeEventListener('click', swallow, true), 60);
  if (cancel) return;
  announce(`Placed at position ${position(tile)} of ${tiles().length}.`);
  saveFrom(tile, from);
}

function land(ghost, tile) {
  const done = () => {
    ghost.remove();
    tile.classList.remove('lifted');
    if (!$('.ghost')) document.body.classList.remove('dragging');
  };
  if (reducedMotion.matches) return done();
  const { left, top } = tile.getBoundingClientRect();
  const way = [{ transform: ghost.style.transform }, { transform: `translate(${left}px,${top}px) rotate(-1.5deg)` }];
  ghost.animate(way, { duration: 160, easing: 'ease-out' }).finished.finally(done);
}
