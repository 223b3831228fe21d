// An integrator's script in Node, with its fetch and the npm package `standardwebhooks`: presign, PUT, confirm, list,
// and verify a delivery's signature. Prints its results as JSON.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const { API, KEY, PROPERTY, PHOTO } = process.env;
const bytes = readFileSync(PHOTO);
const said = { contentType: "image/jpeg", sizeBytes: bytes.length };

async function call(method, path, body) {
  const headers = { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" };
  const answer = await fetch(API + path, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

const delivered = new Promise((resolve) => {
  const receiver = createServer((request, response) => {
    let text = "";
    request.on("data", (part) => (text += part));
    request.on("end", () => {
      response.writeHead(204).end();
      receiver.close();
      resolve({ text, headers: request.headers });
    });
  });
  receiver.listen(0, "127.0.0.1", () => (delivered.port = receiver.address().port));
});
while (!delivered?.port) await new Promise((resolve) => setTimeout(resolve, 10));

const hook = await call("POST", "/webhooks", {
  url: `http://127.0.0.1:${delivered.port}/hook`,
  events: ["property.updated"],
});
const images = `/properties/${PROPERTY}/images`;
const presigned = (await call("POST", `${images}/presign`, { fileName: "photo.jpg", ...said })).data;
const put = await fetch(presigned.uploadUrl, { method: "PUT", body: bytes, headers: { "Content-Type": "image/jpeg" } });
const image = (await call("POST", `${images}/confirm`, { r2Key: presigned.r2Key, ...said })).data;
const listed = (await call("GET", images)).data;
const delivery = await delivered;
const event = new Webhook(hook.data.secret).verify(delivery.text, delivery.headers);
console.log(JSON.stringify({ put: put.status, image: image.id, listed: listed.map((each) => each.id), event }));
