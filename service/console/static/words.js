// Format numbers, times and metrics.

const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 4, useGrouping: "min2" });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0, useGrouping: "min2" });
const date = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

export function number(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1000 && size < 1e15) return whole.format(value);
  return size >= 1e15 || size < 1e-4 ? value.toExponential(2) : plain.format(value);
}

export function percent(share) {
  const value = share * 100;
  if (share > 0.9995 && share < 1) return "> 99.9 %";
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return `${value.toFixed(share === 1 || share === 0 ? 0 : 1)} %`;
}

export const signed = (value, format) => `${value < 0 ? "−" : "+"}${format(Math.abs(value))}`;

export function seconds(value) {
  if (value == null) return "–";
  const ms = value * 1000;
  return ms < 1000 ? `${plain.format(Number(ms.toPrecision(2)))} ms` : `${plain.format(Number(value.toPrecision(2)))} s`;
}

export function rate(value) {
  return `${value >= 10 ? whole.format(value) : plain.format(Number(value.toFixed(1)))} /s`;
}

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

export function ago(iso, now) {
  const passed = now - Date.parse(iso) / 1000;
  for (const [unit, size] of UNITS) {
    const n = Math.floor(passed / size);
    if (n >= 1) return `${n} ${unit}${n > 1 ? "s" : ""} ago`;
  }
  return "just now";
}

// A length of time after "the last".
export function span(seconds) {
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? ["second", 1];
  const n = number(seconds / size);
  return n === "1" ? unit : `${n} ${unit}s`;
}

export const moment = (iso) => date.format(new Date(iso));
export const spelled = (label) => String(label);

// The main metric, and its name.
export function headline(metrics) {
  const { accuracy, r2, rmse } = metrics;
  if (accuracy != null) return { name: "Accuracy", value: percent(accuracy), short: `${percent(accuracy)} accurate` };
  if (r2 != null) return { name: "R²", value: r2.toFixed(3), short: `R² ${r2.toFixed(3)}` };
  if (rmse != null) return { name: "RMSE", value: number(rmse), short: `RMSE ${number(rmse)}` };
  return { name: "Metrics", value: "–", short: "" };
}

// Metrics shown in a row of the table.
const NAMES = { accuracy: "accuracy", auc: "AUC", log_loss: "log loss", r2: "R²", rmse: "RMSE", mae: "MAE" };

export const figures = (metrics) =>
  Object.keys(NAMES).filter((key) => metrics[key] != null).map((key) => [NAMES[key], number(Number(metrics[key].toPrecision(3)))]);
