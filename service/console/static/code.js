// The row on screen as a request of a program: curl, and Python's standard library.

import { h, say } from "./dom.js";
import { token } from "./api.js";

// Text in single quotes of a shell.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
// JSON as a literal of Python: its strings are, but for three words.
const python = (value) =>
  value === null ? "None" : value === true ? "True" : value === false ? "False"
    : Array.isArray(value) ? `[${value.map(python).join(", ")}]`
      : typeof value === "object" ? `{${Object.entries(value).map(([k, v]) => `${JSON.stringify(k)}: ${python(v)}`).join(", ")}}`
        : JSON.stringify(value);

export class Code {
  constructor(name) {
    this.curl = h("pre", { tabindex: 0 });
    this.python = h("pre", { tabindex: 0 });
    this.element = h("div", { class: "code" },
      h("details", {}, h("summary", {}, "as curl"), this.curl),
      h("details", {}, h("summary", {}, "as Python"), this.python),
      h("a", { href: `docs#${encodeURIComponent(name)}`, target: "_blank", rel: "noopener" }, "Contract"));
  }

  show(path, body) {
    const url = new URL(`${path}:predict`, document.baseURI).href;
    const door = token() ? ` \\\n  -H "Authorization: Bearer $TOKEN"` : "";
    say(this.curl, `curl -s ${quoted(url)}${door} \\\n  -d ${quoted(JSON.stringify(body))}`);
    const headers = token() ? `, {"Authorization": f"Bearer {token}"}` : "";
    say(this.python, [
      "import json, urllib.request", "",
      `body = ${python(body)}`,
      `url = ${JSON.stringify(url)}`,
      `request = urllib.request.Request(url, json.dumps(body).encode()${headers})`,
      `print(json.load(urllib.request.urlopen(request))["predictions"])`,
    ].join("\n"));
  }
}
