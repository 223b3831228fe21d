// Uploads photos straight to the bucket: presign, PUT with progress, confirm; the response is the photo's tile.
import { $, announce, shortcut, toast } from './app.js';
import { sendChange } from './refresh.js';
import { drawTray } from './tray.js';

const MAX_CONCURRENT = 3; // concurrent uploads
const MAX_ATTEMPTS = 4; // the first, and three automatic retries
const STALLED_MS = 30_000; // without progress for this long, an upload starts over
const isPassing = (why) => [409, 503, 'not_uploaded', 'too_slow_to_open', 'opening_interrupted'].includes(why);
const uploads = []; // of this visit, in the order they were added
const grid = () => $('#photos');
const running = () => uploads.filter((u) => u.state === 'up').length;

class UploadRejected extends Error {
  constructor({ title, text, error }) {
    super(text);
    Object.assign(this, { title, code: error });
  }
}
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/* ---------- adding files: button, drop or paste anywhere ---------- */
export function add(files) {
  for (const file of files) {
    const before = uploads.at(-1);
    const u = { file, before, tries: 0, loaded: 0, state: 'q' };
    u.settled = new Promise((done) => (u.settle = done));
    u.li = tileFor(u);
    uploads.push(u);
    show(u, 'q', 'Waiting');
  }
  if (files.length) announce(files.length === 1 ? 'Uploading 1 photo' : `Uploading ${files.length} photos`);
  pump();
}

const chooser = () => $('[data-upload-input]');
document.addEventListener('change', (event) => {
  if (event.target !== chooser()) return;
  add([...event.target.files]);
  event.target.value = '';
});
document.addEventListener('click', (event) => event.target.closest('[data-action="add"]') && chooser().click());
document.addEventListener('keydown', (event) => event.key === 'u' && shortcut(event) && chooser().click());
document.addEventListener('paste', (event) => {
  const files = [...(event.clipboardData?.files || [])];
  if (files.length) {
    event.preventDefault();
    add(files);
  }
});
let depth = 0;
const carriesFiles = (event) => event.dataTransfer?.types.includes('Files');
const showDropTarget = (on) => document.body.classList.toggle('dropping', on);
addEventListener('dragenter', (event) => {
  if (carriesFiles(event)) {
    event.preventDefault();
    depth++;
    showDropTarget(true);
  }
});
addEventListener('dragover', (event) => {
  if (carriesFiles(event)) {
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
  }
});
addEventListener('dragleave', (event) => {
  if (carriesFiles(event) && !--depth) showDropTarget(false);
});
addEventListener('drop', (event) => {
  if (carriesFiles(event)) {
    event.preventDefault();
    depth = 0;
    showDropTarget(false);
    add([...event.dataTransfer.files]);
  }
});

/* ---------- the tile of an upload ---------- */
function tileFor(u) {
  const li = $('#upload-tile').content.firstElementChild.cloneNode(true);
  const image = $('img', li),
    url = URL.createObjectURL(u.file);
  $('.name', li).textContent = u.file.name;
  $('.meter', li).setAttribute('aria-label', u.file.name);
  $('.x', li).setAttribute('aria-label', `Cancel ${u.file.name}`);
  $('.x', li).onclick = () => cancel(u);
  $('.retry', li).onclick = () => again(u);
  image.onload = () => {
    $('.name', li).hidden = true;
    u.preview = url;
  };
  image.onerror = () => {
    image.hidden = true;
    URL.revokeObjectURL(url);
  }; // HEIC: the file name shows until the photo is processed
  image.src = url;
  $('.add', grid()).before(li);
  return li;
}

/** States: q (queued), up (uploading), sent (uploaded, not confirmed), proc (confirming), err, done, gone (cancelled). */
function show(u, state, words) {
  u.state = state;
  u.words = words;
  const share = Math.min(1, u.loaded / (u.file.size || 1)),
    meter = $('.meter', u.li);
  u.li.dataset.s = state === 'sent' ? 'proc' : state;
  $('.alt', u.li).textContent = words;
  $('.pct', u.li).textContent = state === 'up' ? `${Math.round(share * 100)}%` : '';
  meter.hidden = state === 'err' || state === 'q';
  $('i', meter).className = state === 'proc' || state === 'sent' ? 'wait' : '';
  $('i', meter).style.setProperty('--v', share);
  if (state === 'up') meter.setAttribute('aria-valuenow', Math.round(share * 100));
  else meter.removeAttribute('aria-valuenow');
  $('.retry', u.li).hidden = state !== 'err' || !u.retriable;
  draw();
}

function cancel(u) {
  u.stop?.();
  u.li.remove();
  if (u.sent) sendChange(u.grant.cancel, [['key', u.grant.key]]); // its confirm may be in flight or done
  finish(u, 'gone');
}
function again(u) {
  Object.assign(u, { tries: 0, note: '' });
  show(u, 'q', 'Waiting');
  pump();
}
function finish(u, state) {
  u.state = state;
  if (u.preview) setTimeout(() => URL.revokeObjectURL(u.preview), 10_000);
  u.settle();
  draw();
  pump();
}

/* ---------- uploading, three at a time ---------- */
function pump() {
  if (!navigator.onLine) return;
  for (const u of uploads) {
    if (running() >= MAX_CONCURRENT) return;
    if (u.state === 'q' && !u.isBackingOff) run(u);
  }
}

async function run(u) {
  try {
    show(u, 'up', 'Uploading');
    u.grant ??= await presign(u.file);
    if (!u.sent) await put(u);
    u.sent = true;
    show(u, 'sent', 'Uploaded');
    pump(); // a slot is free
    await u.before?.settled; // confirm in the order they were added, which becomes the gallery's order
    if (u.state === 'gone') return;
    show(u, 'proc', 'Checking');
    await confirm(u);
    if (u.state !== 'gone') finish(u, 'done');
  } catch (problem) {
    if (u.state !== 'gone') await handleFailure(u, problem);
  }
}

/** Retry with growing delays where that may help; otherwise show what happened and what to do. */
async function handleFailure(u, problem) {
  const at = Math.round((100 * u.loaded) / (u.file.size || 1));
  if (problem.status === 403 || problem.code === 'not_uploaded') u.grant = u.sent = null; // expired: presign again
  if (!u.sent) u.loaded = 0;
  const isBusy = problem.status === 429 && u.sent; // at its presign, it is a limit for the next hour
  const isFinal = problem instanceof UploadRejected && !isBusy && ![problem.status, problem.code].some(isPassing);
  if (!navigator.onLine && !isFinal) return show(u, 'q', 'Offline, will continue');
  if (!isFinal && ++u.tries < MAX_ATTEMPTS) {
    u.isBackingOff = true;
    show(u, 'q', `Trying again, ${u.tries + 1} of ${MAX_ATTEMPTS}`);
    await wait((isBusy ? 5000 : 600 * 2 ** u.tries) + Math.random() * 400); // 5 s: its Retry-After
    u.isBackingOff = false;
    return pump();
  }
  u.retriable = !isFinal || [401, 402, 429].includes(problem.status);
  u.note = problem.title ? `${problem.title}. ${problem.message}` : `Connection dropped at ${at}%. Nothing was lost.`;
  show(u, 'err', problem.title || 'Connection dropped');
  u.settle(); // lets later uploads confirm
  announce(`${u.file.name}: ${u.note}`, true);
  pump();
}

async function presign(file) {
  const response = await fetch(grid().dataset.presign, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'HX-Request': 'true', 'HX-Current-URL': location.href },
    body: JSON.stringify({ name: file.name, type: file.type, size: file.size }),
  });
  return response.ok
    ? response.json()
    : throwRejection(response.status, await response.text(), response.headers.get('HX-Redirect'));
}

/** Throw what an error response means: a UploadRejected with the server's message, or an Error that is worth a retry. */
function throwRejection(status, body, signIn) {
  if (status === 401) {
    toast('You are signed out. Your uploads are paused: sign in, then try them again.', {
      link: { text: 'Sign in', href: signIn || '/sign-in' },
    });
    throw Object.assign(new UploadRejected({ title: 'Signed out', text: 'Sign in again, then try again.' }), { status });
  }
  let words;
  try {
    words = JSON.parse(body);
  } catch {
    throw Object.assign(new Error(`status ${status}`), { status });
  }
  throw Object.assign(new UploadRejected(words), { status });
}

function put(u) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    let stall;
    const watch = () => {
      clearTimeout(stall);
      stall = setTimeout(() => request.abort(), STALLED_MS);
    };
    request.upload.onprogress = (event) => {
      watch();
      u.loaded = event.loaded;
      show(u, 'up', 'Uploading');
    };
    request.onload = () =>
      request.status < 300 ? done() : fail(Object.assign(new Error('bucket'), { status: request.status }));
    request.onerror = request.onabort = () => fail(new Error('network'));
    request.onloadend = () => clearTimeout(stall);
    u.stop = () => request.abort();
    request.open('PUT', u.grant.url);
    for (const name in u.grant.headers) request.setRequestHeader(name, u.grant.headers[name]);
    request.send(u.file);
    watch();
  });
}

/** Confirm an upload; its tile is the request's source, since htmx drops concurrent requests of a shared one. */
function confirm(u) {
  return new Promise((done, fail) => {
    let answer;
    u.li.addEventListener('htmx:after:request', (event) => (answer = event.detail.ctx), { once: true });
    u.li.addEventListener(
      'htmx:before:swap',
      (event) => event.detail.ctx.response.status < 300 && showPreview(u, event.detail.tasks),
      { once: true },
    );
    window.htmx
      .ajax('POST', u.grant.done, { source: u.li, target: u.li, swap: 'outerHTML', values: { key: u.grant.key } })
      .then(() => {
        const status = answer?.response.status;
        if (!status) return fail(new Error('network'));
        if (status < 300) return done();
        try {
          throwRejection(status, answer.text, answer.response.headers.get('HX-Redirect'));
        } catch (problem) {
          fail(problem);
        }
      }, fail);
  });
}

/** Show the preview behind the photo until that has loaded, so nothing flickers. */
function showPreview(u, tasks) {
  u.isReplaced = true;
  const shot = tasks.map((task) => task.fragment?.querySelector?.('.tile .shot')).find(Boolean);
  if (shot && u.preview) shot.style.background = `center / cover url("${u.preview}")`;
}

/* ---------- going offline, leaving the page, a replaced gallery ---------- */
addEventListener('online', () => {
  toast('Back online. Uploads continue.');
  uploads.filter((u) => u.state === 'err' && u.retriable).forEach(again);
  pump();
});
addEventListener('offline', () => toast('You are offline. Uploads continue when you are back online.'));
const busy = () => uploads.some((u) => ['q', 'up', 'sent', 'proc'].includes(u.state));
addEventListener('beforeunload', (event) => busy() && event.preventDefault());
document.addEventListener('htmx:after:swap', () => {
  for (const u of uploads) if (!u.isReplaced && u.state !== 'gone' && !u.li.isConnected) $('.add', grid()).before(u.li);
});

let drawing,
  announced = 0;
/** Draw the uploads card and announce progress, at most once per frame. */
function draw() {
  drawing ??= requestAnimationFrame(() => {
    drawing = null;
    const { share, active, failed } = drawTray(uploads, { again, cancel });
    const quarter = Math.floor(share * 4);
    if (active && quarter > announced && quarter < 4) announce(`${quarter * 25}% uploaded`);
    announced = active ? Math.max(announced, quarter) : 0;
    if (!active && draw.was) announce(failed ? `Done. ${failed} failed to upload.` : 'All photos are uploaded.');
    draw.was = active;
  });
}
