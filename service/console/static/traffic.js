// Rates from the server's own counters, over the last quarter of an hour: what it saw
// before the page was opened, then what each poll adds.

const SPAN = 900;
const STEP = 14;
const EMPTY = { answered: 0, rows: 0, failed: 0, reasons: {}, within: [] };

export class Traffic {
  constructor() {
    this.looks = [];
  }

  // Begin with the looks of the server.
  begin(looks) {
    this.looks = looks.map(({ at, counts }) => ({ at, counts: new Map(Object.entries(counts)) }));
  }

  add(state) {
    const counts = new Map();
    for (const model of state.models) {
      for (const version of model.versions) counts.set(key(model.name, version.version), version);
    }
    const last = this.looks.at(-1);
    // A restarted server counts from zero.
    if (last && [...counts].some(([k, v]) => v.answered < (last.counts.get(k) ?? EMPTY).answered)) this.looks = [];
    // Of frequent looks keep the latest, and one a step.
    if (this.looks.length > 1 && this.looks.at(-1).at - this.looks.at(-2).at < STEP) this.looks.pop();
    this.looks.push({ at: state.now, counts });
    while (this.looks.length > 2 && this.looks[1].at <= state.now - SPAN) this.looks.shift();
  }

  // The traffic of a version in the last quarter of an hour or, without any, since the start.
  of(name, version) {
    const k = key(name, version);
    const now = this.looks.at(-1).counts.get(k) ?? EMPTY;
    const first = this.looks[0];
    const recent = minus(now, first.counts.get(k) ?? EMPTY);
    const isRecent = this.looks.length > 1 && recent.answered + recent.failed > 0;
    const shown = isRecent ? recent : now;
    const asked = shown.answered + shown.failed;
    const rates = this.looks.slice(1).map((look, i) => rateBetween(this.looks[i], look, k));
    return {
      total: now.answered + now.failed,
      rows: now.rows,
      rate: rates.at(-1) ?? 0,
      asked,
      failed: shown.failed,
      reasons: Object.entries(shown.reasons).filter(([, n]) => n > 0).sort(([, a], [, b]) => b - a),
      minutes: isRecent ? Math.max(1, Math.round((this.looks.at(-1).at - first.at) / 60)) : null,
      errors: asked ? shown.failed / asked : null,
      median: quantile(shown.within, 0.5),
      slow: quantile(shown.within, 0.99),
      rates,
    };
  }
}

const key = (name, version) => `${name}/${version}`;

function rateBetween(before, after, k) {
  const [a, b] = [before, after].map((look) => look.counts.get(k) ?? EMPTY);
  return (b.answered + b.failed - a.answered - a.failed) / Math.max(after.at - before.at, 1e-3);
}

function minus(now, before) {
  const earlier = new Map(before.within.map(([bound, count]) => [bound, count]));
  return {
    answered: now.answered - before.answered,
    failed: now.failed - before.failed,
    reasons: Object.fromEntries(Object.entries(now.reasons).map(([reason, n]) => [reason, n - (before.reasons[reason] ?? 0)])),
    within: now.within.map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)]),
  };
}

// As Prometheus' histogram_quantile: evenly within a bucket, the last bound at most.
export function quantile(within, share) {
  const total = within.at(-1)?.[1] ?? 0;
  if (!total) return null;
  let [from, below] = [0, 0];
  for (const [bound, count] of within) {
    if (count >= share * total) {
      if (bound == null) return from;
      return from + (bound - from) * ((share * total - below) / Math.max(count - below, 1e-9));
    }
    [from, below] = [bound, count];
  }
  return from;
}
