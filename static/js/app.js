// What every page needs: announcements, toasts, the theme switch, copy buttons, shortcuts, the timer behind polling.
export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Announce a text to screen readers. Clearing the region first makes them read a repeated text again. */
export function announce(text, now = false) {
  const region = $(now ? '#live-now' : '#live');
  region.textContent = '';
  setTimeout(() => (region.textContent = text), 40);
}

/** Show a message for `life` milliseconds; hovering or focusing it stops the clock. `link`: {text, href}, opened in a
 * new tab; `undo`: called by the Undo button and by Ctrl+Z. */
export function toast(text, { link, undo, life = 12000 } = {}) {
  const el = document.createElement('div');
  el.className = 'toast';
  el.style.setProperty('--life', `${life}ms`);
  const p = document.createElement('p');
  p.textContent = text;
  el.append(p);
  if (link)
    el.append(
      Object.assign(document.createElement('a'), { textContent: link.text, href: link.href, target: '_blank' }),
    );
  if (undo) {
    const button = Object.assign(document.createElement('button'), { className: 'undo', textContent: 'Undo' });
    button.append(Object.assign(document.createElement('kbd'), { textContent: 'Ctrl Z', ariaHidden: 'true' }));
    button.onclick = () => {
      el.remove();
      undo();
    };
    el.append(button);
  }
  let left = life,
    since,
    timer;
  const go = () => {
    since = performance.now();
    timer = setTimeout(() => el.remove(), left);
  };
  const hold = () => {
    clearTimeout(timer);
    left -= performance.now() - since;
  };
  el.onpointerenter = el.onfocusin = hold;
  el.onpointerleave = el.onfocusout = go;
  $('#toasts').append(el);
  announce(text);
  go();
}

/** Whether a key press enters text here, so it must not act as a shortcut. */
export const typing = (event) =>
  event.target.matches('input:not([type=checkbox]), textarea, select, [contenteditable]');
export const shortcut = (event) =>
  !typing(event) && !event.ctrlKey && !event.metaKey && !event.altKey && !$('dialog[open]');

/** Keep a choice in a cookie for a year. The server reads it, so the next page is rendered with it. */
export const remember = (name, value) => {
  document.cookie = `${name}=${value};path=/;max-age=31536000;samesite=lax`;
};

function switchTheme() {
  const root = document.documentElement;
  const dark =
    root.dataset.theme === 'auto' ? matchMedia('(prefers-color-scheme: dark)').matches : root.dataset.theme === 'dark';
  root.dataset.theme = dark ? 'light' : 'dark';
  remember('theme', root.dataset.theme);
}

async function copy(button) {
  const from = $(button.dataset.copy); // a link (its address is copied) or an element with the text
  await navigator.clipboard.writeText(from.href ?? from.textContent.trim());
  toast('Copied.', { life: 4000 });
}

/** POST [name, value] pairs from a temporary form, so that no field of the page is sent along.
 * Resolves to the response, or to undefined if none came. */
export async function post(address, fields) {
  const form = document.createElement('form');
  form.hidden = true;
  form.setAttribute('hx-swap', 'none'); // the response updates the page by partials
  for (const [name, value] of fields) form.append(Object.assign(document.createElement('input'), { name, value }));
  document.body.append(form);
  let answer;
  form.addEventListener('htmx:after:request', (event) => (answer = event.detail.ctx.response));
  await window.htmx.ajax('POST', address, { source: form, swap: 'none' }).catch(() => null);
  form.remove();
  return answer;
}

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-action], [data-copy]');
  if (button?.dataset.action === 'theme') switchTheme();
  if (button?.dataset.action === 'help') $('#help').showModal();
  if (button?.dataset.copy) copy(button);
  if (event.target.matches('dialog[open]')) event.target.close(); // the backdrop
});

document.addEventListener('keydown', (event) => {
  if (!shortcut(event)) return;
  if (event.key === '?') $('#help')?.showModal();
  if (event.key === '/') {
    const field = $$('#find, .search input').find((input) => input.checkVisibility());
    if (field) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  }
});

/* Toasts that a response asks for in HX-Trigger, and the message after a failed request */
const polls = (element) => element?.matches?.('[hx-trigger*="tick"]'); // polls again anyway, so no message
document.addEventListener('toast', (event) => {
  const { text, life, undo } = event.detail;
  if (polls(event.target)) return;
  toast(text, { life, undo: undo && (() => window.htmx.ajax('POST', undo, { source: '#gallery', target: '#gallery', swap: 'outerMorph' })) });
});
document.addEventListener('htmx:error', (event) => {
  if (event.detail.ctx?.sourceElement?.matches('[hx-trigger*="tick"], .up')) return; // these retry without help
  if (event.detail.ctx) toast('No connection. Nothing was changed; try again.');
});

/* Polling elements listen for this: `hx-trigger="tick from:body"`. A hidden tab does not poll. */
const tick = (name) => document.hidden || document.body.dispatchEvent(new Event(name));
setInterval(() => tick('tick'), 1000);
setInterval(() => tick('slow-tick'), 5000);
document.addEventListener('visibilitychange', () => tick('slow-tick'));
