// The menu that all tiles share, and the dialog that moves photos to a position.
import { $, $$ } from './app.js';
import { isUnfiltered, linkOf, position, tileOf, tiles } from './grid.js';
import { makeCover, move } from './order.js';
import { clear, picked, remove, rotate } from './select.js';

const menu = $('#tile-menu'),
  positionDialog = $('#moveto'),
  field = $('#f-place');
let owner;

document.addEventListener('click', (event) => {
  const button = event.target.closest('.more');
  if (button && tileOf(button)) open(button);
  if (event.target.closest('[data-action="move-to"]')) askForPosition(picked());
});

function open(button) {
  owner = tileOf(button);
  const at = position(owner),
    all = tiles();
  const off = { cover: owner.hasAttribute('data-cover'), earlier: at === 1, later: at === all.length };
  for (const item of $$('button', menu))
    item.hidden = off[item.dataset.do] || (!isUnfiltered() && ['earlier', 'later'].includes(item.dataset.do));
  menu.showPopover();
  const box = button.getBoundingClientRect(),
    { offsetWidth: width, offsetHeight: height } = menu;
  menu.style.left = `${Math.max(8, Math.min(innerWidth - width - 8, box.right - width))}px`;
  menu.style.top = `${box.bottom + height + 12 > innerHeight ? Math.max(8, box.top - height - 6) : box.bottom + 6}px`;
  $('button', menu).focus();
}

menu.addEventListener('keydown', (event) => {
  const items = $$('button:not([hidden])', menu),
    at = items.indexOf(document.activeElement);
  const next = { ArrowDown: items[(at + 1) % items.length], ArrowUp: items.at(at - 1), Home: items[0], End: items.at(-1) };
  if (event.key === 'Tab') return menu.hidePopover();
  if (!next[event.key]) return;
  event.preventDefault();
  next[event.key].focus();
});
menu.addEventListener('beforetoggle', (event) => {
  if (event.newState === 'closed' && menu.contains(document.activeElement)) $('.more', owner)?.focus();
});
menu.addEventListener('click', (event) => {
  const what = event.target.closest('[data-do]')?.dataset.do,
    tile = owner;
  if (!what) return;
  menu.hidePopover();
  if (what === 'open') linkOf(tile).click();
  if (what === 'cover') makeCover(tile);
  if (what === 'rotate') rotate([tile]);
  if (what === 'earlier') move([tile], position(tile) - 2);
  if (what === 'later') move([tile], position(tile));
  if (what === 'move') askForPosition([tile]);
  if (what === 'delete') remove([tile]);
});

/* ---------- move to position ---------- */
let tilesToMove;
function askForPosition(list) {
  if (!list.length) return;
  tilesToMove = list;
  const most = +$('#chips [data-photo-count]').textContent;
  field.max = most;
  field.value = $('.num', list[0]).dataset.n ? +$('.num', list[0]).dataset.n : position(list[0]);
  $('.of', positionDialog).textContent = `of ${most}`;
  positionDialog.returnValue = '';
  positionDialog.showModal();
  field.select();
}
positionDialog.addEventListener('close', () => {
  if (positionDialog.returnValue !== 'ok') return;
  move(tilesToMove, field.value - 1);
  clear();
});

// The same moves from an opened photo's form, without a page load.
document.addEventListener('submit', (event) => {
  if (event.target.id !== 'place') return;
  event.preventDefault();
  const { id, position: place } = event.target.elements,
    tile = document.getElementById(`p-${id.value}`);
  $('#photo').close();
  if (!tile) return;
  if (event.submitter?.value === 'cover') makeCover(tile);
  else move([tile], place.value - 1);
});
