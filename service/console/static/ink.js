// The page's colours on a canvas, in the theme of now.

let colours = null;
const dark = matchMedia("(prefers-color-scheme: dark)");
let redraw = () => {};
dark.addEventListener("change", () => {
  colours = null;
  redraw();
});

// There is one trial at a time, and it knows what of it is drawn.
export const onTheme = (now) => (redraw = now);

// Name -> [red, green, blue]; the style sheet alone knows them.
export function palette() {
  if (colours) return colours;
  const style = getComputedStyle(document.documentElement);
  const read = (name) => rgb(style.getPropertyValue(`--${name}`).trim());
  colours = Object.fromEntries(["paper", "ink", "muted", "for", "against", "cell"].map((name) => [name, read(name)]));
  colours.classes = Array.from({ length: 10 }, (_, n) => read(`class-${n}`));
  return colours;
}

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

export const mix = (from, to, share) => from.map((value, n) => value + (to[n] - value) * share);
export const css = (colour, alpha = 1) => `rgb(${colour.map(Math.round).join(" ")} / ${alpha})`;

// A canvas as sharp as the screen; returns its context in CSS pixels.
export function sharpen(canvas, width, height) {
  const scale = devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.aspectRatio = `${width} / ${height}`;
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return context;
}
