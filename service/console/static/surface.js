// The predictions of a model of two numbers over a grid, from one request.

import { h, say, swatch } from "./dom.js";
import { ask, versionPath } from "./api.js";
import { css, mix, palette, sharpen } from "./ink.js";
import { number, percent, spelled } from "./words.js";

const CELLS = 41;
const SIDE = 300;
// Share of the range that is shown beyond it on every side.
const MARGIN = 0.15;

export function hasSurface(about) {
  return fields(about).length === 2 && fields(about).every((f) => f.kind === "numeric" && f.maximum > f.minimum);
}

const fields = ({ signature, ranges }) => signature.columns ?? (ranges ?? []).map(([minimum, maximum], n) => ({ kind: "numeric", name: `x[${n}]`, minimum, maximum }));

export class Surface {
  constructor(about, name, form) {
    Object.assign(this, { about, name, form });
    this.axes = fields(about).map(({ name, minimum, maximum }) => {
      const margin = MARGIN * (maximum - minimum);
      return { name, from: minimum - margin, to: maximum + margin };
    });
    const [x, y] = this.axes;
    this.canvas = h("canvas", { class: "map", role: "img", onpointerdown: (event) => this.go(event) });
    this.legend = h("p", { class: "note legend" });
    const ends = (axis) => [h("span", {}, number(axis.from)), h("span", { class: "axis" }, axis.name), h("span", {}, number(axis.to))];
    this.element = h("section", { class: "card surface", "aria-label": "Decision surface" },
      h("h3", {}, "Decision surface"),
      h("div", { class: "plot" },
        h("div", { class: "y" }, ...ends(y).reverse()), this.canvas, h("div", { class: "x" }, ...ends(x))),
      this.legend);
    this.load();
  }

  async load() {
    const [x, y] = this.axes.map(steps);
    const xs = Array.from({ length: CELLS * CELLS }, (_, n) => x[n % CELLS]);
    const ys = Array.from({ length: CELLS * CELLS }, (_, n) => y[CELLS - 1 - Math.floor(n / CELLS)]);
    const isTable = this.about.signature.kind === "table";
    const body = isTable
      ? { inputs: Object.fromEntries([[this.axes[0].name, xs], [this.axes[1].name, ys]]) }
      : { instances: xs.map((value, n) => [value, ys[n]]) };
    try {
      const reply = await ask(`v1/${versionPath(this.name, this.about.version)}:predict`, body);
      this.answers = isTable ? reply.outputs.probabilities ?? reply.outputs : reply.predictions.map((p) => p.probabilities ?? p);
      this.of(this.target);
    } catch (error) {
      say(this.legend, error.message);
    }
  }

  // Show the probability of the class explained, in the colour of its bar; a number has none.
  of(target) {
    this.target = target;
    if (!this.answers || (this.about.classes && target === undefined)) return;
    const n = this.about.classes?.indexOf(target);
    this.values = n == null ? this.answers : this.answers.map((P) => P[n]);
    [this.least, this.most] = n == null ? [Math.min(...this.values), Math.max(...this.values)] : [0, 1];
    const format = n == null ? number : percent;
    this.legend.replaceChildren(swatch("cell"), format(this.least), swatch("accent"), format(this.most),
      n == null ? ` ${this.about.target}` : ` probability of “${spelled(target)}”`);
    this.redraw();
  }

  redraw() {
    if (!this.values) return;
    const context = sharpen(this.canvas, SIDE, SIDE);
    const small = h("canvas", { width: CELLS, height: CELLS });
    const pixels = small.getContext("2d").createImageData(CELLS, CELLS);
    const { accent, cell, paper, ink } = palette();
    const shares = this.values.map((value) => (value - this.least) / (this.most - this.least || 1));
    shares.forEach((share, n) => pixels.data.set([...mix(cell, accent, share), 255], 4 * n));
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.drawImage(small, 0, 0, SIDE, SIDE);
    const values = this.form.fields.map((field) => field.value());
    if (values.includes(null)) return;
    const [x, y] = values.map((value, n) => (value - this.axes[n].from) / (this.axes[n].to - this.axes[n].from));
    context.beginPath();
    context.arc(x * SIDE, (1 - y) * SIDE, 7, 0, 7);
    context.fillStyle = css(paper);
    context.fill();
    context.lineWidth = 2.5;
    context.strokeStyle = css(ink);
    context.stroke();
    const [a, b] = this.axes.map(({ name }, n) => `${name} ${number(values[n])}`);
    this.canvas.setAttribute("aria-label", `The prediction by ${this.axes[0].name} and ${this.axes[1].name}; the mark is at ${a}, ${b}`);
  }

  go(event) {
    const box = this.canvas.getBoundingClientRect();
    const shares = [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height];
    this.form.fields.forEach((field, n) => {
      const { from, to } = this.axes[n];
      field.set(Number((from + shares[n] * (to - from)).toPrecision(3)));
    });
    this.form.changed();
  }
}

const steps = ({ from, to }) => Array.from({ length: CELLS }, (_, n) => from + ((to - from) * n) / (CELLS - 1));
