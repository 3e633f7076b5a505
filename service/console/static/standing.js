// The state of a model: the version that is shown, its metrics, and all versions.

import { h, say, sparkline } from "./dom.js";
import { send, token } from "./api.js";
import { furthest, Mark } from "./drift.js";
import { ago, figures, headline, moment, number, percent, rate, seconds, spelled } from "./words.js";

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
    this.mark = new Mark();
    this.element = h("a", { href: `#/${encodeURIComponent(name)}` }, h("span", { class: "name" }, name), this.spark, this.about, this.mark.element);
  }

  show(model, measured, isCurrent) {
    const { metrics } = live(model);
    say(this.about, `version ${model.live} · ${headline(metrics).short}`);
    this.spark.replaceChildren(sparkline(measured.rates));
    this.mark.show(live(model));
    if (!isCurrent) this.element.removeAttribute("aria-current");
    else if (!this.element.hasAttribute("aria-current")) {
      this.element.setAttribute("aria-current", "page");
      this.element.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }
}

export const live = (model) => model.versions.find(({ version }) => version === model.live);

// The name, the version, a description, and the main figures of the version shown.
export class Facts {
  constructor() {
    this.name = h("span");
    this.which = h("small");
    this.mark = new Mark();
    this.sentence = h("p", { class: "lead" });
    this.tiles = h("dl", { class: "facts" });
    this.element = h("div", { class: "standing" }, h("h2", {}, this.name, " ", this.which, " ", this.mark.element), this.sentence, this.tiles);
  }

  show(model, version, measured, now) {
    const { metrics, baselines, trained } = version;
    const isLive = version.version === model.live;
    const since = isLive ? model.live_since ?? trained : trained;
    const head = headline(metrics);
    say(this.name, model.name);
    say(this.which, `version ${version.version}${isLive ? "" : ", not live"}`);
    this.mark.show(version);
    const drift = furthest(version);
    const rows = [
      isLive ? ["Live", `version ${model.live}`, since ? ago(since, now) : "not labelled production"]
        : ["Shown", `version ${version.version}`, `live is version ${model.live}`],
      [head.name, head.value, beside(metrics, baselines)],
      ["Requests", measured.total ? rate(measured.rate) : "none yet", measured.total ? `${number(measured.total)} since the server started` : ""],
      ["Errors", measured.errors == null ? "–" : percent(measured.errors), failures(measured)],
      ["Latency", seconds(measured.median), measured.slow == null ? "" : `99 % within ${seconds(measured.slow)}`],
      ["Drift", drift ? drift.psi.toFixed(2) : "–", drift ? `${drift.column}: ${drift.word}` : "too few requests"],
    ];
    if (this.tiles.children.length !== rows.length) {
      this.tiles.replaceChildren(...rows.map(() => h("div", {}, h("dt"), h("dd"), h("dd", { class: "sub" }))));
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

// The main metric of the baselines, on the same rows.
function beside(metrics, baselines) {
  const others = Object.entries(baselines).map(([name, values]) => `${name} ${headline(values).value}`).filter((text) => !text.endsWith("–"));
  return [...others, metrics.rows ? `on ${number(metrics.rows)} ${metrics.measured_on ?? "rows"}` : ""].filter(Boolean).join(", ");
}

// How many requests failed, why, and over which time.
function failures({ errors, failed, asked, reasons, minutes }) {
  if (errors == null) return "";
  const when = minutes == null ? "since the server started" : minutes === 1 ? "in the last minute" : `in the last ${minutes} minutes`;
  const why = reasons.map(([reason, n]) => `${number(n)} ${reason.replaceAll("_", " ")}`).join(", ");
  return `${number(failed)} of ${number(asked)} ${when}${why ? `: ${why}` : ""}`;
}

const HEADS = ["Version", "Trained", "Metrics", "Requests", "Errors", "Latency", ""];

// The versions, one row each, or one card each where a row does not fit; rebuilt when versions, labels or reports change.
export class Versions {
  constructor(chosen) {
    this.chosen = chosen;
    this.body = h("tbody");
    this.candidate = h("p", { class: "note" });
    this.refused = h("p", { class: "note" });
    this.element = h("section", { class: "card versions", "aria-label": "Versions" },
      h("h3", {}, "Versions"),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of versions" },
        h("table", {}, h("thead", {}, h("tr", {}, ...HEADS.map((text) => h("th", { scope: "col" }, text || h("span", { class: "hidden" }, "Actions"))))), this.body)),
      this.candidate, this.refused);
  }

  show(model, traffic, now, tried) {
    const made = JSON.stringify([model.name, model.labels, model.live, tried, model.versions.map(({ version, report }) => [version, report])]);
    if (made !== this.made) {
      this.made = made;
      this.rows = model.versions.map((version) => new Row(model, version, tried, this.chosen));
      this.body.replaceChildren(...this.rows.map((row) => row.element));
    }
    model.versions.forEach((version, n) => this.rows[n].show(version, traffic.of(model.name, version.version), now));
    say(this.candidate, model.candidate ? comparison(model) : "");
    say(this.refused, model.refused.length ? `Refused: version ${model.refused.join(", ")}. See the log.` : "");
  }
}

// What a candidate does, and how its answers compare with those of the live version.
function comparison({ live, candidate: { version, share, shadow, compared } }) {
  const does = shadow ? "is a shadow: it answers every request, and its answers are not sent" : `answers ${percent(share)} of the requests that name no version`;
  const { rows = 0, disagreements = 0, difference = 0 } = compared;
  const found = rows ? `On ${number(rows)} rows compared with version ${live}, ${number(disagreements)} answers disagree (${percent(disagreements / rows)}); the largest difference is ${number(Number(difference.toPrecision(3)))}.` : "No row has been compared yet.";
  return `Candidate: version ${version} ${does}. ${found}`;
}

class Row {
  constructor(model, { version, report, sha256, metrics, baselines }, tried, chosen) {
    const labels = Object.entries(model.labels).filter(([, at]) => at === version).map(([label]) => label);
    if (model.live === version && !labels.includes("production")) labels.unshift("live");
    this.cells = [1, 3, 4, 5].map((n) => h("td", { "data-head": HEADS[n] }));
    const constant = new Map(figures(baselines.constant ?? {}));
    const all = figures(metrics);
    const links = h("td", { class: "links" },
      model.versions.length > 1 ? h("button", { type: "button", "aria-pressed": String(tried === version), onclick: () => chosen(version) },
        tried === version ? "Trying" : "Try", h("span", { class: "hidden" }, ` version ${version}`)) : null,
      report ? reportLink(model.name, version) : null);
    this.element = h("tr", { class: model.live === version ? "live" : "" },
      h("th", { scope: "row", title: `sha256 ${sha256}` }, `${version}`, ...labels.map((label) => h("span", { class: "label" }, label))),
      this.cells[0], h("td", { class: "figures", "data-head": HEADS[2] }, ...all.flatMap(([name, value]) => [h("span", {}, `${value} `, h("small", {}, constant.has(name) ? `${name}, constant ${constant.get(name)}` : name)), " "])),
      ...this.cells.slice(1), links);
  }

  show({ trained }, measured, now) {
    const texts = [
      trained ? ago(trained, now) : "–", measured.total ? `${number(measured.total)}` : "–",
      measured.errors == null ? "–" : percent(measured.errors),
      measured.median == null ? "–" : `${seconds(measured.median)}, 99 % ${seconds(measured.slow)}`,
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
