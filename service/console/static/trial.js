// A panel to try one version: input, prediction, explanation and activations.

import { h, say } from "./dom.js";
import { ask, versionPath } from "./api.js";
import { Answer, points } from "./answer.js";
import { Code } from "./code.js";
import { Drawing } from "./drawing.js";
import { Form } from "./form.js";
import { onTheme } from "./ink.js";
import { Layers } from "./layers.js";
import { hasSurface, Surface } from "./surface.js";
import { seconds } from "./words.js";

// More fields than fit beside the answer.
const MANY = 11;

export class Trial {
  constructor() {
    this.element = h("div", { class: "trial" });
    onTheme(() => [this.input, this.layers, this.surface].forEach((part) => part?.redraw?.()));
  }

  async show(name, version) {
    if (this.name === name && this.version === version) return;
    const kept = this.name === name ? this.input : null;
    Object.assign(this, { name, version, target: null });
    const about = await ask(`console/${versionPath(name, version)}`);
    if (this.name !== name || this.version !== version) return;
    this.build(about, kept);
  }

  build(about, kept) {
    this.about = about;
    this.answer = new Answer(about, (target) => { this.target = target; this.ask(); });
    this.layers = new Layers(about);
    this.took = h("span", { class: "took" });
    this.code = new Code(this.name);
    const ours = about;
    this.input = inputFor(about, () => this.about === ours && this.ask());
    this.surface = this.input instanceof Form && hasSurface(about) ? new Surface(about, this.name, this.input) : null;
    const asTable = this.input instanceof Form;
    const tools = asTable && h("div", { class: "buttons" },
      this.input.fields.length > MANY ? h("button", { type: "button", onclick: () => this.input.sort() }, "Largest first") : null,
      h("button", { type: "button", onclick: () => this.input.typical() }, "Typical row"),
      h("button", { type: "button", onclick: () => this.input.invent() }, "Another row"));
    const inside = this.input && h("div", { class: "under" }, this.surface?.element, this.layers.element);
    this.element.replaceChildren(
      h("section", { class: "card try", "aria-label": "Try it" },
        h("div", { class: "head" }, h("h3", {}, "Try it"), this.took, tools || null),
        this.input ? h("div", { class: `both${asTable ? "" : " drawn"}` }, this.input.element, this.answer.element)
          : h("p", {}, `This model takes arrays of ${about.signature.shape.join(" × ")}. Use POST v1/models/${this.name}:predict.`),
        this.input ? this.code.element : null),
      ...(inside ? [inside] : []));
    if (kept?.constructor === this.input?.constructor) this.input?.take(kept);
    else this.input?.begin();
  }

  // One request at a time; of changes made meanwhile only the last is sent.
  async ask() {
    if (!this.input) return;
    this.again = true;
    if (this.asking) return;
    this.asking = true;
    this.element.setAttribute("aria-busy", true);
    while (this.again) {
      this.again = false;
      await this.once();
    }
    this.asking = false;
    this.element.setAttribute("aria-busy", false);
  }

  async once() {
    const { about, input, answer, layers } = this;
    const path = `v1/${versionPath(this.name, about.version)}`;
    const body = { instances: [input.row()] };
    const began = performance.now();
    const ours = () => this.about === about;
    this.surface?.redraw();
    this.code.show(path, body);
    try {
      const { predictions } = await ask(`${path}:predict`, body);
      if (!ours()) return;
      answer.show(predictions[0]);
      say(this.took, `answered in ${seconds((performance.now() - began) / 1000)}`);
      const asked = { ...body, target: this.target ?? undefined, activations: true };
      const { explanations: [found], warnings } = await ask(`${path}:explain`, asked);
      if (!ours()) return;
      input.explain(found.attributions, about.classes ? `“${found.target}”` : about.target, (part) => points(part, about.classes).replace(" points", ""));
      // Of two classes the surface shows one, so that its colours stay where they are.
      this.surface?.of(about.classes?.length === 2 ? this.target ?? about.classes[1] : found.target);
      layers.show(found.activations);
      answer.explain(found);
      answer.warn(warnings);
      input.warn?.(warnings);
    } catch (error) {
      if (ours()) answer.fault(error.message);
    }
  }
}

function inputFor(about, changed) {
  const { kind, shape } = about.signature;
  if (kind === "table") return new Form(about, changed);
  if (shape.length === 1 && shape[0] <= 100) return new Form(about, changed);
  if (shape.filter((size) => size > 1).length === 2) return new Drawing(about, changed);
  return null;
}
