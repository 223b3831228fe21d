// A request of the page's own, by a form that is made for it, so that nothing else of the page goes along.

/** POST fields, pairs of name and value; resolves to the response, or to nothing where there was none. */
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
