// Requests to the service. The user's token is kept in this tab.

const KEY = "glassnet-token";
// Attempts while the server is at its limit (503).
const TRIES = 4;

export class Rejected extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

export const token = () => sessionStorage.getItem(KEY) ?? "";
export const remember = (value) => sessionStorage.setItem(KEY, value);

export async function ask(path, body) {
  const reply = await send(path, body);
  return reply.json();
}

export async function send(path, body) {
  const headers = {};
  if (token()) headers.Authorization = `Bearer ${token()}`;
  if (body) headers["Content-Type"] = "application/json";
  const request = { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), cache: "no-store", redirect: "error" };
  let reply = await fetch(path, request);
  for (let n = 1; reply.status === 503 && n < TRIES; n++) {
    await new Promise((resolve) => setTimeout(resolve, 150 * n));
    reply = await fetch(path, request);
  }
  if (reply.ok) return reply;
  const content = await reply.json().catch(() => ({}));
  throw new Rejected(reply.status, content.error ?? `the service replied with ${reply.status}`);
}

export const versionPath = (name, version) => `models/${encodeURIComponent(name)}/versions/${version}`;
