// A form made from the signature: a slider or a list for each column, in the range of
// training, and its contribution to the prediction. An empty field is a missing value.

import { h, id, say, svg } from "./dom.js";
import { signed } from "./words.js";

export class Form {
  constructor(about, changed) {
    this.isTable = about.signature.kind === "table";
    const columns = this.isTable ? about.signature.columns : features(about);
    this.typicalRow = about.typical;
    // A bar of full length is at least a point of probability.
    this.least = about.classes ? 0.01 : 0;
    // With two columns the surface is shown, so integers may take values in between.
    const isFine = columns.length === 2;
    this.fields = columns.map((column) => new Field({ ...column, integer: column.integer && !isFine }, about.reference[column.name], changed));
    this.key = h("p", { class: "key", "aria-hidden": "true" });
    this.list = h("div", { class: "form" }, ...this.fields.map((field) => field.element));
    this.element = h("div", {}, this.key, this.list);
    this.changed = changed;
  }

  row() {
    const values = this.fields.map((field) => field.value());
    if (!this.isTable) return values.map((value) => value ?? 0);
    return Object.fromEntries(this.fields.map((field, n) => [field.column.name, values[n]]));
  }

  begin() {
    this.invent();
  }

  // Take over the values of another version's form, by column name.
  take(other) {
    const values = new Map(other.fields.map((field) => [field.column.name, field.value()]));
    for (const field of this.fields) if (values.has(field.column.name)) field.set(values.get(field.column.name));
    this.changed();
  }

  typical() {
    const values = this.isTable ? this.fields.map((f) => this.typicalRow[f.column.name]) : this.typicalRow;
    this.fields.forEach((field, n) => field.set(values[n]));
    this.changed();
  }

  // A made-up row: each column drawn by itself from its distribution in training.
  invent() {
    for (const field of this.fields) field.set(field.invent());
    this.changed();
  }

  // Sort once: a field must not move while it is being dragged.
  sort() {
    const sorted = [...this.fields].sort((a, b) => Math.abs(b.share) - Math.abs(a.share));
    this.list.replaceChildren(...sorted.map((field) => field.element));
    this.list.scrollTop = 0;
  }

  explain(attributions, what, format) {
    this.key.replaceChildren(h("b", { class: "against" }, "lowers"), ` ${what} `, h("b", { class: "for" }, "raises"));
    const parts = this.isTable ? this.fields.map((f) => attributions[f.column.name]) : attributions;
    const most = Math.max(this.least, ...parts.map(Math.abs));
    this.fields.forEach((field, n) => field.explain(parts[n], most, format));
  }

  // Mark the fields whose values are unlike those of training.
  warn(warnings) {
    const unlike = new Set(warnings.map(({ column }) => column));
    for (const field of this.fields) field.element.classList.toggle("unlike", unlike.has(field.column.name));
  }
}

function features(about) {
  return about.ranges.map(([minimum, maximum], n) => ({ kind: "numeric", name: `x[${n}]`, minimum, maximum, nullable: false }));
}

class Field {
  constructor(column, reference, changed) {
    this.column = column;
    this.reference = reference;
    this.changed = changed;
    this.id = id();
    this.why = id();
    const control = (CONTROLS[column.kind] ?? text)(this);
    Object.assign(this, { value: control.value, set: control.set });
    this.bar = h("i");
    this.part = h("span", { class: "part", id: this.why });
    this.element = h("div", { class: "field" },
      h("label", { for: this.id }, column.name),
      h("div", { class: "control" }, ...control.elements),
      h("div", { class: "why" }, h("span", { class: "pull", "aria-hidden": "true" }, this.bar), this.part));
  }

  explain(part, most, format) {
    this.share = most ? part / most : 0;
    this.bar.className = part < 0 ? "against" : "for";
    this.bar.style.inlineSize = `${Math.abs(this.share) * 50}%`;
    const text = signed(part, format);
    say(this.part, /[1-9]/.test(text) ? text : "0");
  }

  invent() {
    const { column, reference } = this;
    if (!reference || !(column.kind in CONTROLS)) return null;
    if (Math.random() < reference.missing) return null;
    if (reference.kind === "categories") return reference.categories[drawn(reference.shares)] ?? null;
    const [from, to] = bounds(column);
    const bins = reference.shares.map((_, n) => [reference.edges[n - 1] ?? from, reference.edges[n] ?? to]);
    const [low, high] = bins[drawn(reference.shares)];
    const value = low + Math.random() * (high - low);
    if (column.kind === "boolean") return value >= 0.5;
    if (column.kind === "datetime") return iso(value, column.minimum.length > 10);
    return column.integer ? Math.floor(value) : rounded(value, from, to);
  }
}

function drawn(shares) {
  let rest = Math.random() * shares.reduce((a, b) => a + b, 0);
  const place = shares.findIndex((share) => (rest -= share) < 0);
  return Math.max(place, 0);
}

// The range of a column as its histogram counts it; dates in seconds since 1970, UTC.
function bounds(column) {
  if (column.kind === "boolean") return [0, 1];
  if (column.kind === "datetime") return [column.minimum, column.maximum].map((text) => Date.parse(utc(text)) / 1000);
  return [column.minimum, column.maximum];
}

const utc = (text) => (text.length > 10 ? `${text}Z` : text);
const iso = (moment, hasTime) => new Date(moment * 1000).toISOString().slice(0, hasTime ? 19 : 10);

function rounded(value, from, to) {
  const decimals = Math.min(Math.max(2 - Math.floor(Math.log10(to - from || 1)), 0), 12);
  return Number(value.toFixed(decimals));
}

function numeric(field) {
  const { column } = field;
  const [from, to] = [column.minimum ?? 0, column.maximum ?? 0];
  const exact = h("input", { type: "number", step: "any", placeholder: "missing", "aria-label": `${column.name}, exactly`, value: from });
  const value = () => (exact.value === "" ? null : Number(exact.value));
  if (from === to) {
    exact.id = field.id;
    exact.removeAttribute("aria-label");
    exact.addEventListener("input", field.changed);
    return { elements: [exact], value, set: (v) => (exact.value = v ?? "") };
  }
  const slider = h("input", { type: "range", id: field.id, min: from, max: to, step: column.integer ? 1 : "any", "aria-describedby": field.why });
  const follow = () => {
    slider.classList.toggle("missing", exact.value === "");
    if (exact.value !== "") slider.value = exact.value;
    slider.setAttribute("aria-valuetext", exact.value || "missing");
  };
  slider.addEventListener("input", () => {
    exact.value = column.integer ? slider.value : rounded(Number(slider.value), from, to);
    follow();
    field.changed();
  });
  exact.addEventListener("input", () => { follow(); field.changed(); });
  const set = (v) => { exact.value = v ?? ""; follow(); };
  return { elements: [h("div", { class: "track" }, density(field.reference, from, to), slider), exact], value, set };
}

// The distribution in training, drawn behind the slider.
function density(reference, from, to) {
  if (!reference?.edges?.length) return null;
  const bins = reference.shares
    .map((share, n) => [reference.edges[n - 1] ?? from, reference.edges[n] ?? to, share])
    .filter(([low, high]) => high > low)
    .map(([low, high, share]) => [low, high, share / (high - low)]);
  if (bins.length < 2) return null;
  const most = Math.max(...bins.map(([, , height]) => height));
  const x = (value) => (100 * (value - from)) / (to - from);
  return svg("svg", { class: "density", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    ...bins.map(([low, high, height]) => {
      const tall = 10 * Math.sqrt(height / most);
      return svg("rect", { x: x(low), width: Math.max(x(high) - x(low) - 0.4, 0.3), y: 10 - tall, height: tall });
    }));
}

// Options are identified by index: a category may be any text.
function list(field) {
  const values = [...(field.column.categories ?? [true, false]), null];
  const options = values.map((value, n) => h("option", { value: n }, value === null ? "(missing)" : String(value)));
  const select = h("select", { id: field.id, "aria-describedby": field.why, onchange: field.changed }, ...options);
  const set = (value) => (select.selectedIndex = Math.max(values.indexOf(value ?? null), 0));
  return { elements: [select], value: () => values[select.selectedIndex], set };
}

function day(field) {
  const { column } = field;
  const hasTime = (column.minimum ?? "").length > 10;
  const input = h("input", {
    type: hasTime ? "datetime-local" : "date", id: field.id, step: hasTime ? 1 : null,
    min: column.minimum, max: column.maximum, "aria-describedby": field.why, oninput: field.changed,
  });
  return { elements: [input], value: () => input.value || null, set: (v) => (input.value = v ?? "") };
}

// Any kind of column without a control of its own.
function text(field) {
  const input = h("input", { type: "text", id: field.id, placeholder: "missing", "aria-describedby": field.why, oninput: field.changed });
  return { elements: [input], value: () => input.value || null, set: (v) => (input.value = v ?? "") };
}

const CONTROLS = { numeric, boolean: list, categorical: list, datetime: day };
