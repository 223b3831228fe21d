// The uploads card: progress in total, with bytes and time left, and a line for each file.
import { $ } from './app.js';

const ACTIVE = ['q', 'up', 'sent', 'proc'];
let began,
  lastDrawn = '';

/** Draw the card; hide it when no upload is active or failed. Returns the share done and both counts. */
export function drawTray(uploads, { again, cancel }) {
  const shown = uploads.filter((u) => u.state !== 'gone');
  const active = shown.filter((u) => ACTIVE.includes(u.state)),
    failed = shown.filter((u) => u.state === 'err');
  const counted = shown.filter((u) => u.state !== 'err' && !u.old);
  const total = sum(counted, (u) => u.file.size),
    loaded = sum(counted, (u) => (u.sent ? u.file.size : u.loaded));
  const share = total ? Math.min(1, loaded / total) : 1;
  if (active.length) began ??= { at: performance.now(), loaded };
  else {
    began = null;
    shown.forEach((u) => (u.old = u.state === 'done'));
  }
  const card = $('#uploads');
  card.hidden = !active.length && !failed.length;
  if (!card.hidden) {
    if (!card.firstChild) card.append($('#upload-tray').content.cloneNode(true));
    $('h2', card).textContent = active.length
      ? `Uploading ${photos(active.length)}`
      : `${photos(failed.length)} failed to upload`;
    const meter = $('.meter', card);
    meter.hidden = !active.length;
    meter.setAttribute('aria-valuenow', Math.round(share * 100));
    $('i', meter).style.setProperty('--v', share);
    $('.tray-sum', card).hidden = !active.length;
    $('[data-bytes]', card).textContent = `${megabytes(loaded)} of ${megabytes(total)} MB`;
    $('[data-left]', card).textContent = navigator.onLine ? timeLeft(loaded, total) : 'Offline';
    drawLines($('ul', card), [...failed, ...active], { again, cancel });
  }
  return { share, active: active.length, failed: failed.length };
}

function drawLines(list, uploads, { again, cancel }) {
  const state = uploads.map((u) => `${u.file.name}${u.state}${u.words}`).join();
  if (state !== lastDrawn) {
    lastDrawn = state;
    list.replaceChildren(...uploads.slice(0, 6).map((u) => lineFor(u, { again, cancel })));
  }
  for (const u of uploads) {
    if (u.state !== 'up' || !u.line?.isConnected) continue;
    const share = Math.min(1, u.loaded / (u.file.size || 1));
    $('.st', u.line).textContent = `${Math.round(share * 100)}%`;
    $('.meter i', u.line).style.setProperty('--v', share);
  }
}

function lineFor(u, { again, cancel }) {
  const line = (u.line = $('#upload-line').content.firstElementChild.cloneNode(true));
  const retry = $('.again', line),
    remove = $('.remove', line),
    failed = u.state === 'err';
  line.dataset.s = u.state;
  $('.fn', line).textContent = u.file.name;
  $('.st', line).textContent = u.words;
  $('.st', line).hidden = failed;
  $('.meter', line).hidden = u.state !== 'up';
  retry.hidden = !failed || !u.retriable;
  remove.hidden = !failed || u.retriable;
  retry.setAttribute('aria-label', `Try again, ${u.file.name}`);
  remove.setAttribute('aria-label', `Remove ${u.file.name}`);
  retry.onclick = () => again(u);
  remove.onclick = () => cancel(u);
  $('p', line).hidden = !failed;
  $('p span', line).textContent = u.note || '';
  return line;
}

function timeLeft(loaded, total) {
  if (!began) return '';
  const seconds = (performance.now() - began.at) / 1000,
    speed = (loaded - began.loaded) / seconds;
  if (seconds < 1 || speed <= 0) return '';
  const left = (total - loaded) / speed;
  if (left < 1) return 'almost done';
  return left < 90 ? `about ${Math.ceil(left)} s left` : `about ${Math.round(left / 60)} min left`;
}

const sum = (list, value) => list.reduce((all, item) => all + value(item), 0);
const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
const photos = (count) => (count === 1 ? '1 photo' : `${count} photos`);
