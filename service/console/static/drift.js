// Drift of the requests against training: by column, and as a mark where models are named.

import { h, say } from "./dom.js";

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
    this.list = h("ul", { class: "drift" });
    this.element = h("section", { class: "card", id: "drift", "aria-label": "Drift", hidden: true },
      h("h3", {}, "Drift"),
      h("p", { class: "note" }, `Difference between current requests and training data, by column (population stability index). The ticks are at ${MOVED}, from where a column has shifted, and at ${FAR}, from where strongly.`),
      this.list);
  }

  show({ drift, target }) {
    const all = sorted(drift).slice(0, SHOWN);
    this.element.hidden = !all.length;
    this.list.replaceChildren(...all.map(([column, psi]) => {
      const fill = h("i", { class: degree(psi) });
      fill.style.inlineSize = `${Math.min(psi / (2 * FAR), 1) * 100}%`;
      return h("li", {}, h("span", { class: "name" }, column, column === target ? h("small", {}, " predictions") : null), h("span", { class: "rail ticks", "aria-hidden": "true" }, fill),
        h("span", { class: "value" }, psi.toFixed(2)), h("span", { class: "sub" }, word(psi)));
    }));
  }
}
