// The page's colours for canvases, in the current theme.

let colours = null;
const dark = matchMedia("(prefers-color-scheme: dark)");
let redraw = () => {};
dark.addEventListener("change", () => {
  colours = null;
  redraw();
});

// One trial exists at a time; it redraws itself when the theme changes.
export const onTheme = (now) => (redraw = now);

// Name -> [red, green, blue]; the style sheet defines them.
export function palette() {
  if (colours) return colours;
  const style = getComputedStyle(document.documentElement);
  const read = (name) => rgb(style.getPropertyValue(`--${name}`).trim());
  colours = Object.fromEntries(["paper", "ink", "muted", "accent", "for", "against", "above", "below", "cell"].map((name) => [name, read(name)]));
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
