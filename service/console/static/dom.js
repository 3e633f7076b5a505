// Build elements from text. Names, categories and labels come from users' files: here
// they only become text nodes and attribute values, never markup.

const SVG = "http://www.w3.org/2000/svg";

export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

// Writing unchanged text would make a screen reader repeat it.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const swatch = (name) => h("i", { class: `swatch ${name}` });

let last = 0;
export const id = () => `n${++last}`;

// A line of past values; the text beside it says the same.
export function sparkline(values, width = 72, height = 18) {
  if (values.length < 2 || !values.some(Boolean)) return "";
  const most = Math.max(...values, 1e-9);
  const step = width / Math.max(values.length - 1, 1);
  const points = values.map((v, i) => `${(i * step).toFixed(1)},${(height - 1 - (v / most) * (height - 2)).toFixed(1)}`);
  return svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    svg("polyline", { points: points.join(" ") }));
}
