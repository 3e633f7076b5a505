// The state of a model: its live version, metrics, versions and drift.

import { h, say, sparkline } from "./dom.js";
import { send, token } from "./api.js";
import { ago, figures, headline, moment, number, percent, rate, seconds, spelled } from "./words.js";

// Population stability index from which a column has shifted, or shifted strongly.
const MOVED = 0.1;
const FAR = 0.25;
const SHOWN = 12;

// The list of models; its links are rebuilt only when the models change.
export class Models {
  constructor(nav) {
    this.nav = nav;
    this.links = new Map();
  }

  show(models, traffic, current) {
    const names = models.map(({ name }) => name);
    if (names.join("\n") !== [...this.links.keys()].join("\n")) {
      this.links = new Map(names.map((name) => [name, new Link(name)]));
      this.nav.replaceChildren(h("ul", {}, ...[...this.links.values()].map((link) => h("li", {}, link.element))));
    }
    for (const model of models) this.links.get(model.name).show(model, traffic.of(model.name, model.live), model === current);
  }
}

class Link {
  constructor(name) {
    this.about = h("span", { class: "sub" });
    this.spark = h("span", {});
    this.element = h("a", { href: `#/${encodeURIComponent(name)}` }, h("span", { class: "name" }, name), this.about, this.spark);
  }

  show(model, measured, isCurrent) {
    const { metrics } = live(model);
    say(this.about, `version ${model.live} · ${headline(metrics).short}`);
    this.spark.replaceChildren(sparkline(measured.rates));
    if (!isCurrent) this.element.removeAttribute("aria-current");
    else if (!this.element.hasAttribute("aria-current")) {
      this.element.setAttribute("aria-current", "page");
      this.element.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }
}

export const live = (model) => model.versions.find(({ version }) => version === model.live);

// The name, a description, and the five main figures.
export class Facts {
  constructor() {
    this.title = h("h2");
    this.sentence = h("p", { class: "lead" });
    this.tiles = h("dl", { class: "facts" });
    this.element = h("div", { class: "standing" }, this.title, this.sentence, this.tiles);
  }

  show(model, measured, now) {
    const { metrics, trained } = live(model);
    const since = model.live_since ?? trained;
    const head = headline(metrics);
    say(this.title, model.name);
    const rows = [
      ["Live", `version ${model.live}`, since ? ago(since, now) : "not labelled production"],
      [head.name, head.value, metrics.rows ? `on ${number(metrics.rows)} ${metrics.measured_on ?? "rows"}` : ""],
      ["Requests", measured.total ? rate(measured.rate) : "none yet", measured.total ? `${number(measured.total)} since the server started` : ""],
      ["Errors", measured.errors == null ? "–" : percent(measured.errors), span(measured)],
      ["Latency", seconds(measured.median), measured.slow == null ? "" : `99 % within ${seconds(measured.slow)}`],
    ];
    if (this.tiles.children.length !== rows.length) {
      this.tiles.replaceChildren(...rows.map(([name]) => h("div", {}, h("dt", {}, name), h("dd", {}), h("dd", { class: "sub" }))));
    }
    rows.forEach((texts, n) => texts.forEach((text, m) => say(this.tiles.children[n].children[m], text)));
  }

  // Describe input and output.
  describe({ signature, classes, target, rows }) {
    const isImage = signature.kind !== "table" && signature.shape.length > 1;
    const takes = signature.kind === "table" ? plural(signature.columns.length, "column")
      : isImage ? `an image of ${signature.shape.join(" × ")}` : plural(signature.shape[0], "number");
    const what = isImage ? "it" : target;
    const says = !classes ? `predicts ${target}`
      : classes.length === 2 ? `predicts whether ${what} is ${classes.map(spelled).join(" or ")}`
        : `predicts which of ${classes.length} ${isImage ? "classes it is" : `values ${what} has`}${few(classes)}`;
    say(this.sentence, `Takes ${takes} and ${says}. Trained on ${plural(rows, "row")}.`);
  }
}

const few = (classes) => (classes.length > 10 ? "" : `: ${classes.map(spelled).join(", ")}`);
const plural = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;
const span = (measured) => (measured.errors == null ? "" : measured.recent ? "in the last minute" : "since the server started");

// The versions, one row each; rebuilt when versions, labels or reports change.
export class Versions {
  constructor(chosen) {
    this.chosen = chosen;
    this.body = h("tbody");
    this.refused = h("p", { class: "note" });
    const heads = ["Version", "Trained", "Metrics", "Requests", "Errors", "Median", "99 %", ""];
    this.element = h("section", { class: "card versions", "aria-label": "Versions" },
      h("h3", {}, "Versions"),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of versions" },
        h("table", {}, h("thead", {}, h("tr", {}, ...heads.map((text) => h("th", { scope: "col" }, text || h("span", { class: "hidden" }, "Actions"))))), this.body)),
      this.refused);
  }

  show(model, traffic, now, tried) {
    const made = JSON.stringify([model.name, model.labels, model.live, tried, model.versions.map(({ version, report }) => [version, report])]);
    if (made !== this.made) {
      this.made = made;
      this.rows = model.versions.map((version) => new Row(model, version, tried, this.chosen));
      this.body.replaceChildren(...this.rows.map((row) => row.element));
    }
    model.versions.forEach((version, n) => this.rows[n].show(version, traffic.of(model.name, version.version), now));
    say(this.refused, model.refused.length ? `Refused: version ${model.refused.join(", ")}. See the log.` : "");
  }
}

class Row {
  constructor(model, { version, report, sha256, metrics }, tried, chosen) {
    const labels = Object.entries(model.labels).filter(([, at]) => at === version).map(([label]) => label);
    if (model.live === version && !labels.includes("production")) labels.unshift("live");
    this.cells = [1, 2, 3, 4, 5].map(() => h("td"));
    const all = figures(metrics);
    const links = h("td", { class: "links" },
      model.versions.length > 1 ? h("button", { type: "button", "aria-pressed": String(tried === version), onclick: () => chosen(version) },
        tried === version ? "Trying" : "Try", h("span", { class: "hidden" }, ` version ${version}`)) : null,
      report ? reportLink(model.name, version) : null);
    this.element = h("tr", { class: model.live === version ? "live" : "" },
      h("th", { scope: "row", title: `sha256 ${sha256}` }, `${version}`, ...labels.map((label) => h("span", { class: "label" }, label))),
      this.cells[0], h("td", { class: "figures" }, ...all.map(([name, value]) => h("span", {}, `${value} `, h("small", {}, name)))),
      ...this.cells.slice(1), links);
  }

  show({ trained }, measured, now) {
    const texts = [
      trained ? ago(trained, now) : "–", measured.total ? `${number(measured.total)}` : "–",
      measured.errors == null ? "–" : percent(measured.errors), seconds(measured.median), seconds(measured.slow),
    ];
    texts.forEach((text, n) => say(this.cells[n], text));
    if (trained) this.cells[0].title = moment(trained);
  }
}

// A link carries no token. If one is needed, the report is fetched and downloaded.
function reportLink(name, version) {
  const href = `console/reports/${encodeURIComponent(name)}/${version}`;
  return h("a", {
    href, target: "_blank", rel: "noopener", onclick: async (event) => {
      if (!token()) return;
      event.preventDefault();
      const url = URL.createObjectURL(await (await send(href)).blob());
      h("a", { href: url, download: `${name}-${version}-report.html` }).click();
      URL.revokeObjectURL(url);
    },
  }, "Report", h("span", { class: "hidden" }, ` of version ${version}`));
}

// Drift of the requests against training, by column.
export class Drift {
  constructor() {
    this.list = h("ul", { class: "drift" });
    this.element = h("section", { class: "card", "aria-label": "Drift", hidden: true },
      h("h3", {}, "Drift"),
      h("p", { class: "note" }, `Difference between current requests and training data, by column (population stability index). From ${MOVED} a column has shifted, from ${FAR} strongly.`),
      this.list);
  }

  show(model) {
    const { drift, target } = live(model);
    const all = Object.entries(drift).sort(([, a], [, b]) => b - a).slice(0, SHOWN);
    this.element.hidden = !all.length;
    this.list.replaceChildren(...all.map(([column, psi]) => {
      const fill = h("i", { class: psi >= FAR ? "far" : psi >= MOVED ? "moved" : "" });
      fill.style.inlineSize = `${Math.min(psi / (2 * FAR), 1) * 100}%`;
      const word = psi >= FAR ? "shifted strongly" : psi >= MOVED ? "shifted" : "as in training";
      return h("li", {}, h("span", { class: "name" }, column, column === target ? h("small", {}, " predictions") : null), h("span", { class: "rail", "aria-hidden": "true" }, fill),
        h("span", { class: "value" }, psi.toFixed(2)), h("span", { class: "sub" }, word));
    }));
  }
}
