// A sheet to draw on. Strokes are kept, not pixels: they are redrawn with the size,
// position and pen width of the training images.

import { h, swatch } from "./dom.js";
import { css, mix, palette, sharpen } from "./ink.js";

const SIDE = 280;
// Squares of the fine raster to a pixel of the model, along one side.
const FINE = 8;
// The strokes of a 3, as a first drawing for models of digits.
const THREE = [[[0.3, 0.22], [0.42, 0.14], [0.58, 0.15], [0.66, 0.25], [0.62, 0.38], [0.46, 0.46], [0.62, 0.52], [0.7, 0.65], [0.65, 0.79], [0.5, 0.86], [0.33, 0.81]]];

export class Drawing {
  constructor(about, changed) {
    const { shape, minimum, maximum } = about.signature;
    this.shape = shape;
    [this.height, this.width] = shape.filter((size) => size > 1);
    [this.low, this.high] = [minimum, maximum];
    this.changed = changed;
    this.strokes = [];
    this.sketch = isOfDigits(about.classes) ? THREE : [];
    this.attributions = null;
    this.pen = [0.5, 0.5];
    this.down = false;
    this.sheet = h("canvas", {
      class: "sheet", tabindex: 0, role: "application",
      "aria-label": "Drawing sheet. Arrow keys move the pen, space puts it down or lifts it, backspace removes the last stroke.",
    });
    this.seen = h("canvas", { class: "seen", role: "img", "aria-label": `What the model sees: ${this.height} by ${this.width} pixels` });
    this.over = h("input", { type: "checkbox", checked: true, onchange: () => this.redraw() });
    this.legend = h("p", { class: "note legend" });
    this.element = h("div", { class: "drawing" },
      this.sheet,
      h("div", { class: "beside" },
        h("figure", {}, this.seen, h("figcaption", {}, `What the model sees: ${this.height} × ${this.width}`)),
        h("div", {}, h("label", { class: "check" }, this.over, "Show why"), this.legend),
        h("div", { class: "buttons" },
          h("button", { type: "button", onclick: () => this.undo() }, "Undo"),
          h("button", { type: "button", onclick: () => this.clear() }, "Clear"))));
    this.listen();
  }

  begin() {
    this.strokes = structuredClone(this.sketch);
    this.update();
  }

  // Take over the drawing from another version of the model.
  take(other) {
    this.strokes = other.strokes;
    this.update();
  }

  listen() {
    const { sheet } = this;
    sheet.addEventListener("pointerdown", (event) => {
      sheet.setPointerCapture(event.pointerId);
      this.strokes.push([place(sheet, event)]);
      this.drawing = event.pointerId;
      this.update();
    });
    sheet.addEventListener("pointermove", (event) => {
      if (this.drawing !== event.pointerId) return;
      this.strokes.at(-1).push(...(event.getCoalescedEvents?.() ?? []).map((e) => place(sheet, e)), place(sheet, event));
      this.update();
    });
    for (const end of ["pointerup", "pointercancel"]) sheet.addEventListener(end, () => (this.drawing = null));
    sheet.addEventListener("keydown", (event) => this.key(event));
    for (const change of ["focus", "blur"]) sheet.addEventListener(change, () => this.redraw());
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === " ") {
      this.down = !this.down;
      if (this.down) this.strokes.push([[...this.pen]]);
    } else if (event.key === "Backspace") this.undo();
    else if (moves[event.key]) {
      this.pen = this.pen.map((at, n) => Math.min(Math.max(at + moves[event.key][n] * 0.04, 0.05), 0.95));
      if (this.down) this.strokes.at(-1).push([...this.pen]);
    } else return;
    event.preventDefault();
    this.update();
  }

  undo() {
    this.strokes.pop();
    this.down = false;
    this.update();
  }

  clear() {
    this.strokes = [];
    this.down = false;
    this.update();
  }

  update() {
    this.image = rasterize(this.strokes, this.height, this.width);
    this.attributions = null;
    this.redraw();
    this.changed();
  }

  // The pixels as a list shaped like a row of training.
  row() {
    const values = Array.from(this.image.ink, (share) => this.low + share * (this.high - this.low));
    return nested(values, this.shape);
  }

  explain(attributions, what) {
    this.attributions = attributions.flat(Infinity);
    this.legend.replaceChildren(swatch("for"), `raises ${what}`, h("br"), swatch("against"), `lowers ${what}`);
    this.redraw();
  }

  redraw() {
    const context = sharpen(this.sheet, SIDE, SIDE);
    const { accent, ink, muted, for: good, against } = palette();
    this.legend.hidden = !this.over.checked;
    if (this.over.checked && this.attributions) this.cells((n) => tint(this.attributions, n, good, against), context);
    context.strokeStyle = css(ink);
    stroke(context, this.strokes, SIDE * 0.055, (point) => point.map((at) => at * SIDE));
    if (!this.strokes.length) {
      context.fillStyle = css(muted);
      context.font = "15px system-ui, sans-serif";
      context.textAlign = "center";
      context.fillText("Draw here", SIDE / 2, SIDE / 2);
    }
    if (document.activeElement === this.sheet && this.sheet.matches(":focus-visible")) {
      context.fillStyle = css(this.down ? accent : muted);
      context.beginPath();
      context.arc(this.pen[0] * SIDE, this.pen[1] * SIDE, 5, 0, 7);
      context.fill();
    }
    this.look();
  }

  // The model's pixels, laid over the sheet where their ink was drawn.
  cells(colour, context) {
    const { scale, shift } = this.image;
    const side = SIDE / scale;
    for (let n = 0; n < this.height * this.width; n++) {
      const fill = colour(n);
      if (!fill) continue;
      context.fillStyle = fill;
      const [x, y] = [n % this.width, Math.floor(n / this.width)].map((at, axis) => ((at - shift[axis]) / scale) * SIDE);
      context.fillRect(x, y, side + 0.4, side + 0.4);
    }
  }

  look() {
    const size = 12;
    const context = sharpen(this.seen, this.width * size, this.height * size);
    const { cell, ink } = palette();
    for (let n = 0; n < this.image.ink.length; n++) {
      context.fillStyle = css(mix(cell, ink, this.image.ink[n]));
      context.fillRect((n % this.width) * size, Math.floor(n / this.width) * size, size, size);
    }
  }
}

function tint(attributions, n, good, against) {
  const most = Math.max(...attributions.map(Math.abs));
  const share = most ? Math.abs(attributions[n]) / most : 0;
  return share > 0.02 ? css(attributions[n] < 0 ? against : good, share * 0.75) : null;
}

function place(sheet, event) {
  const box = sheet.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

function isOfDigits(classes) {
  return classes?.length === 10 && classes.every((label, n) => String(label) === String(n));
}

function nested(values, shape) {
  if (shape.length === 1) return values;
  const size = values.length / shape[0];
  return Array.from({ length: shape[0] }, (_, n) => nested(values.slice(n * size, (n + 1) * size), shape.slice(1)));
}

function stroke(context, strokes, pen, where) {
  context.lineWidth = pen;
  context.lineCap = context.lineJoin = "round";
  for (const points of strokes) {
    context.beginPath();
    context.moveTo(...where(points[0]));
    for (const point of points.length > 1 ? points : [points[0], points[0]]) context.lineTo(...where(point));
    context.stroke();
  }
}

// Ink (0 to 1) of each pixel, and how the sheet was scaled and moved to get it. Digits
// of 8 x 8 fill the height; larger ones have the margin of MNIST (20 of 28), and both
// stand with their centre of mass in the middle.
export function rasterize(strokes, height, width) {
  const points = strokes.flat();
  if (!points.length) return { ink: new Float64Array(height * width), scale: Math.min(height, width), shift: [0, 0] };
  const small = Math.min(height, width) < 16;
  const pen = small ? 1 : 0.09 * Math.min(height, width);
  const room = small ? [0.9 * width, height] : [(20 / 28) * width, (20 / 28) * height];
  const low = [0, 1].map((axis) => Math.min(...points.map((p) => p[axis])));
  const high = [0, 1].map((axis) => Math.max(...points.map((p) => p[axis])));
  const size = [0, 1].map((axis) => Math.max(high[axis] - low[axis], 0.05));
  const scale = Math.min(...size.map((extent, axis) => (room[axis] - pen) / extent));
  const middle = [width / 2, height / 2];
  let shift = middle.map((at, axis) => at - (scale * (low[axis] + high[axis])) / 2);
  const ink = shrink(strokes, height, width, pen, scale, shift);
  const limits = [width, height];
  shift = shift.map((at, axis) => {
    const moved = at + middle[axis] - centre(ink, width, axis);
    const [least, most] = [pen / 2 - scale * low[axis], limits[axis] - pen / 2 - scale * high[axis]];
    return Math.min(Math.max(moved, Math.min(least, most)), Math.max(least, most));
  });
  return { ink: shrink(strokes, height, width, pen, scale, shift), scale, shift };
}

function centre(ink, width, axis) {
  let [total, moment] = [0, 0];
  ink.forEach((share, n) => {
    total += share;
    moment += share * (0.5 + (axis ? Math.floor(n / width) : n % width));
  });
  return moment / total;
}

// Draw finely and take the mean of the squares of each pixel, as training's were made.
function shrink(strokes, height, width, pen, scale, shift) {
  const canvas = h("canvas", { width: width * FINE, height: height * FINE });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  stroke(context, strokes, pen * FINE, (point) => point.map((at, axis) => (at * scale + shift[axis]) * FINE));
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const ink = new Float64Array(height * width);
  for (let y = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++) {
      ink[Math.floor(y / FINE) * width + Math.floor(x / FINE)] += data[4 * (y * canvas.width + x) + 3];
    }
  }
  return ink.map((sum) => sum / (255 * FINE * FINE));
}
