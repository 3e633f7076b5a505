// The activations: a cell for each unit, coloured by its value relative to its layer.

import { h } from "./dom.js";
import { css, mix, palette, sharpen } from "./ink.js";
import { spelled } from "./words.js";

const ROWS = 16;
// Pixels of a cell (least, most), and of all layers side by side.
const [LEAST, MOST, WIDE] = [6, 11, 420];
// Pixels of a cell with a label.
const LABELLED = 17;

export class Layers {
  constructor(about) {
    this.about = about;
    this.tiles = [];
    this.flow = h("div", { class: "flow" });
    const several = about.networks > 1 ? ` This is the first of the ensemble's ${about.networks} networks.` : "";
    this.element = h("section", { class: "card inside", "aria-label": "Inside the network" },
      h("h3", {}, "Inside"),
      h("p", { class: "note" }, "Every unit of every layer, from the input (left) to the output (right): ",
        h("b", { class: "above" }, "above zero"), ", ", h("b", { class: "below" }, "below"), `; the stronger the colour, the further from zero.${several}`),
      this.flow);
  }

  show(activations) {
    if (this.tiles.length !== activations.length) {
      const columns = activations.reduce((sum, { values }) => sum + Math.ceil(values.length / ROWS), 0);
      const cell = Math.min(Math.max(Math.floor(WIDE / columns), LEAST), MOST);
      const { classes } = this.about;
      this.tiles = activations.map(({ layer, values }, n) => {
        const isLast = n === activations.length - 1 && values.length === classes?.length && values.length <= ROWS;
        return new Tile(this.named(layer), values.length, cell, isLast ? classes.map(spelled) : null);
      });
      this.flow.replaceChildren(...this.tiles.map((tile) => tile.element));
    }
    this.last = activations;
    this.redraw();
  }

  // "layer 3 (activation)" is the third of the network's layers.
  named(layer) {
    const place = Number(/^layer (\d+)/.exec(layer)?.[1]);
    return this.about.layers[place - 1] ?? layer;
  }

  redraw() {
    this.last?.forEach(({ values }, n) => this.tiles[n].show(values));
  }
}

class Tile {
  // A layer of classes is a row with their labels below; others are columns of units.
  constructor(name, n, cell, labels) {
    this.name = name;
    this.rows = labels ? 1 : Math.min(n, ROWS);
    this.columns = Math.ceil(n / this.rows);
    // Layers of few units get larger cells.
    this.cell = labels ? LABELLED : n <= ROWS ? cell * Math.min(2, ROWS / n) : cell;
    this.canvas = h("canvas", { role: "img" });
    this.canvas.style.inlineSize = `${this.columns * this.cell}px`;
    const below = labels && h("ol", { class: labels.some((label) => label.length > 2) ? "units long" : "units" }, ...labels.map((label) => h("li", {}, label)));
    const [title, does] = name.replace(")", "").split(" (");
    this.element = h("figure", {}, this.canvas, below, h("figcaption", {}, title, h("span", {}, does ? `${does} ${n}` : `${n}`)));
  }

  show(values) {
    const { cell } = this;
    const context = sharpen(this.canvas, this.columns * cell, this.rows * cell);
    const { cell: off, above, below } = palette();
    const most = Math.max(...values.map(Math.abs), 1e-12);
    values.forEach((value, n) => {
      context.fillStyle = css(mix(off, value < 0 ? below : above, Math.abs(value) / most));
      context.fillRect(Math.floor(n / this.rows) * cell, (n % this.rows) * cell, cell - 1, cell - 1);
    });
    const lit = values.filter((value) => value > 0).length;
    this.canvas.setAttribute("aria-label", `${this.name}: ${lit} of ${values.length} units above zero`);
  }
}
