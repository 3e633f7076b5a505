// Drift of the requests against training: by column, and as a mark where models are named.

import { ask, versionPath } from "./api.js";
import { h, say } from "./dom.js";
import { number, percent, span } from "./words.js";

// Population stability index from which a column has shifted, or shifted strongly.
const MOVED = 0.1;
const FAR = 0.25;
const SHOWN = 12;

const degree = (psi) => (psi >= FAR ? "far" : psi >= MOVED ? "moved" : "");
const word = (psi) => (psi >= FAR ? "shifted strongly" : psi >= MOVED ? "shifted" : "as in training");
const sorted = (drift) => Object.entries(drift).sort(([, a], [, b]) => b - a);

// The column that moved furthest: its index, its name and what that means; or null.
export function furthest({ drift }) {
  const [first] = sorted(drift);
  return first ? { column: first[0], psi: first[1], degree: degree(first[1]), word: word(first[1]) } : null;
}

// A mark for a version whose requests have moved, hidden without one.
export class Mark {
  constructor() {
    this.element = h("span", { class: "mark", hidden: true });
  }

  show(version) {
    const found = furthest(version);
    this.element.hidden = !found?.degree;
    if (!found?.degree) return;
    this.element.className = `mark ${found.degree}`;
    this.element.title = `${found.column} ${found.word}`;
    say(this.element, `drift ${found.psi.toFixed(2)}`);
  }
}

export class Drift {
  constructor() {
    this.note = h("p", { class: "note" });
    this.list = h("ul", { class: "drift" });
    this.element = h("section", { class: "card", id: "drift", "aria-label": "Drift", hidden: true },
      h("h3", {}, "Drift"), this.note, this.list);
  }

  // Fetch and show the columns again if an index has changed.
  async show(name, { version, drift, target }, seconds) {
    const all = sorted(drift).slice(0, SHOWN);
    this.element.hidden = !all.length;
    say(this.note, `Difference between the requests of the last ${span(seconds)} and the training data, by column (population stability index). The ticks are at ${MOVED}, from where a column has shifted, and at ${FAR}, from where strongly.`);
    const made = JSON.stringify([name, version, all]);
    if (made === this.made || !all.length) return;
    if (this.of !== `${name}@${version}`) this.columns = new Map();
    [this.made, this.of] = [made, `${name}@${version}`];
    const found = await ask(`console/${versionPath(name, version)}/drift`).catch((error) => {
      this.made = null;
      throw error;
    });
    if (made !== this.made) return;
    const shares = new Map(found.map((column) => [column.column, column]));
    const elements = all.filter(([column]) => shares.has(column)).map(([column, psi], n) => {
      if (!this.columns.has(column)) this.columns.set(column, new Column(column, column === target, n === 0));
      this.columns.get(column).show(psi, shares.get(column));
      return this.columns.get(column).element;
    });
    // A move would take the keyboard's focus away.
    if (elements.some((element, n) => this.list.children[n] !== element) || elements.length !== this.list.children.length) this.list.replaceChildren(...elements);
  }
}

// One column: its index and, after a click, its values in training and now.
class Column {
  constructor(name, isTarget, open) {
    this.fill = h("i");
    this.value = h("span", { class: "value" });
    this.word = h("span", { class: "sub" });
    this.body = h("tbody");
    const heads = ["Value", "Training", "Now"].map((text) => h("th", { scope: "col" }, text));
    this.element = h("li", {}, h("details", { open },
      h("summary", {}, h("span", { class: "name" }, name, isTarget ? h("small", {}, " predictions") : null),
        h("span", { class: "rail ticks", "aria-hidden": "true" }, this.fill), this.value, this.word),
      h("table", { class: "sides" }, h("thead", {}, h("tr", {}, ...heads)), this.body)));
  }

  show(psi, column) {
    this.fill.className = degree(psi);
    this.fill.style.inlineSize = `${Math.min(psi / (2 * FAR), 1) * 100}%`;
    say(this.value, psi.toFixed(2));
    say(this.word, word(psi));
    const most = Math.max(...column.training, ...column.now);
    const side = (share, kind) => {
      const bar = h("i", { class: kind });
      bar.style.inlineSize = `${(100 * share) / most}%`;
      return h("td", {}, h("span", { class: "rail", "aria-hidden": "true" }, bar), percent(share));
    };
    this.body.replaceChildren(...bins(column)
      .map((label, n) => [label, column.training[n], column.now[n]])
      .filter(([, training, now]) => training + now > 0)
      .map(([label, training, now]) => h("tr", {}, h("th", { scope: "row" }, label), side(training, "training"), side(now, "now"))));
  }
}

// What each bin holds; booleans are counted as the numbers 0 and 1.
function bins({ categories, edges }) {
  if (categories) return [...categories, "others", "missing"];
  const text = (edge) => (typeof edge === "number" ? number(edge) : String(edge));
  const named = edges.map((edge, n) => {
    if (typeof edge === "boolean") return edge || edges[n + 1] ? text(edge) : "false or true";
    return n + 1 < edges.length ? `${text(edge)} to ${text(edges[n + 1])}` : `${text(edge)} or more`;
  });
  return [edges.length ? (edges[0] === true ? "false" : `below ${text(edges[0])}`) : "any", ...named, "missing"];
}
