// What every page shares: announcements, toasts, the theme, shortcuts, the tick of the polls. No dependencies.
export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Speak to screen readers. Clearing first makes a repeated message speak again. */
export function say(text, now = false) {
  const region = $(now ? '#live-now' : '#live');
  region.textContent = '';
  setTimeout(() => (region.textContent = text), 40);
}

/** Show a message for 12 s, longer while it is hovered or focused. `link`: {text, href}, opened in a
 * new tab; `undo`: what takes it back, by its button or Ctrl+Z. */
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
  say(text);
  go();
}

/** Whether a key means a character here, and not a shortcut. */
export const typing = (event) =>
  event.target.matches('input:not([type=checkbox]), textarea, select, [contenteditable]');
export const shortcut = (event) =>
  !typing(event) && !event.ctrlKey && !event.metaKey && !event.altKey && !$('dialog[open]');

/** Remember a choice for a year; the server reads it, so the next page is drawn right at once. */
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
  const from = $(button.dataset.copy); // a link's address, or a text
  await navigator.clipboard.writeText(from.href ?? from.textContent.trim());
  toast('Copied.', { life: 4000 });
}

/** POST pairs of name and value, by a form of their own, so that nothing else of the page goes along; resolves
 * to the response, or to nothing where there was none. */
export async function post(address, fields) {
  const form = document.createElement('form');
  form.hidden = true;
  form.setAttribute('hx-swap', 'none'); // what is to change comes as partials
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

/* What a server's answer asks for by HX-Trigger, and what becomes of a request that failed */
const polls = (element) => element?.matches?.('[hx-trigger*="tick"]'); // tries again by itself, so it says nothing
document.addEventListener('toast', (event) => {
  const { text, life, undo } = event.detail;
  if (polls(event.target)) return;
  toast(text, { life, undo: undo && (() => window.htmx.ajax('POST', undo, { source: '#sheet', target: '#sheet', swap: 'outerMorph' })) });
});
document.addEventListener('htmx:error', (event) => {
  if (event.detail.ctx?.sourceElement?.matches('[hx-trigger*="tick"], .up')) return; // these try again by themselves
  if (event.detail.ctx) toast('No connection. Nothing was changed; try again.');
});

/* Polls listen for this: `hx-trigger="tick from:body"`. A tab nobody looks at asks nothing. */
const tick = (name) => document.hidden || document.body.dispatchEvent(new Event(name));
setInterval(() => tick('tick'), 1000);
setInterval(() => tick('slow-tick'), 5000);
document.addEventListener('visibilitychange', () => tick('slow-tick'));
