// The prediction: a bar for each class, or a number; and the class that is explained.

import { h, say } from "./dom.js";
import { number, percent, signed, spelled } from "./words.js";

// Of more classes only the likeliest are shown.
const ALL = 12;

export class Answer {
  constructor(about, asked) {
    this.about = about;
    this.classes = about.classes;
    this.output = h("output", { class: "said" });
    this.note = h("p", { class: "note" });
    this.doubt = h("p", { class: "doubt", role: "status" });
    this.bars = (this.classes ?? []).slice(0, ALL).map((_, n) => new Bar(() => asked(this.shown[n])));
    this.element = h("div", { class: "answer" }, this.output, this.doubt,
      this.classes && h("div", { class: "bars", role: "group", "aria-label": "Probability of each class; press one to explain it" },
        ...this.bars.map((bar) => bar.element)),
      this.note);
  }

  show(prediction) {
    if (!this.classes) {
      this.output.replaceChildren(h("strong", {}, number(prediction)), h("span", {}, this.about.target));
      return;
    }
    const P = prediction.probabilities;
    const order = [...P.keys()];
    if (P.length > ALL) order.sort((a, b) => P[b] - P[a]);
    this.shown = order.map((n) => this.classes[n]);
    const best = P.indexOf(Math.max(...P));
    this.bars.forEach((bar, n) => bar.show(this.shown[n], P[order[n]], order[n] === best));
    this.output.replaceChildren(h("strong", {}, spelled(prediction.label)), h("span", {}, `${percent(P[best])} probability`));
  }

  // Say what the contributions beside the fields, or over the drawing, add up to.
  explain({ output, baseline_output: start, target }) {
    const format = this.classes ? percent : number;
    this.bars.forEach((bar, n) => bar.press(this.shown?.[n] === target));
    const change = signed(output - start, (value) => points(value, this.classes));
    const what = this.classes ? `“${spelled(target)}”` : this.about.target;
    const isImage = this.about.signature.shape?.length > 1;
    const whose = isImage ? "An empty image" : "A typical row";
    say(this.note, `${whose} gives ${what} ${format(start)}; this one gives ${format(output)}. The difference, ${change}, is the sum of the contributions: ${isImage ? "the tints of the drawing" : "the bars beside the fields"}.`);
  }

  // Say what about the row is unlike the training rows: its answer is a guess.
  warn(warnings) {
    const reasons = warnings.map(({ column, warning }) => `${column} ${/^(is|has) /.test(warning) ? "" : "is "}${warning}`);
    say(this.doubt, reasons.length ? `Unlike the training rows, so the answer is a guess: ${reasons.join("; ")}.` : "");
  }

  fault(sentence) {
    this.output.replaceChildren(h("span", { class: "fault" }, sentence));
    say(this.note, "");
    say(this.doubt, "");
  }
}

// A change of probability in percentage points, or of a value in its own units.
export const points = (value, classes) => (classes ? `${(100 * value).toFixed(1)} points` : number(Number(value.toPrecision(3))));

class Bar {
  constructor(asked) {
    this.name = h("span", { class: "name" });
    this.fill = h("i");
    this.value = h("span", { class: "value" });
    this.element = h("button", { type: "button", class: "bar", "aria-pressed": "false", onclick: asked },
      this.name, h("span", { class: "rail", "aria-hidden": "true" }, this.fill), this.value);
  }

  show(label, share, best) {
    say(this.name, spelled(label));
    say(this.value, percent(share));
    this.fill.style.inlineSize = `${100 * share}%`;
    this.element.classList.toggle("best", best);
  }

  press(on) {
    this.element.setAttribute("aria-pressed", on);
  }
}
