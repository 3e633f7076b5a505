// Rates from counters: their change between polls, over the last minute.

const WINDOW = 60;
const EMPTY = { answered: 0, rows: 0, failed: 0, within: [] };

export class Traffic {
  constructor() {
    this.looks = [];
  }

  add(state) {
    const counts = new Map();
    for (const model of state.models) {
      for (const version of model.versions) counts.set(key(model.name, version.version), version);
    }
    const last = this.looks.at(-1);
    // A restarted server counts from zero.
    if (last && [...counts].some(([k, v]) => v.answered < (last.counts.get(k) ?? EMPTY).answered)) this.looks = [];
    this.looks.push({ at: state.now, counts });
    while (this.looks.length > 2 && this.looks[1].at <= state.now - WINDOW) this.looks.shift();
  }

  // The traffic of a version in the last minute or, without any, since the start.
  of(name, version) {
    const k = key(name, version);
    const now = this.looks.at(-1).counts.get(k) ?? EMPTY;
    const first = this.looks[0];
    const recent = minus(now, first.counts.get(k) ?? EMPTY);
    const elapsed = this.looks.at(-1).at - first.at;
    const shown = recent.answered + recent.failed > 0 ? recent : now;
    const asked = shown.answered + shown.failed;
    return {
      total: now.answered + now.failed,
      rows: now.rows,
      rate: elapsed ? (recent.answered + recent.failed) / elapsed : 0,
      recent: shown === recent,
      errors: asked ? shown.failed / asked : null,
      median: quantile(shown.within, 0.5),
      slow: quantile(shown.within, 0.99),
      rates: this.looks.slice(1).map((look, i) => rateBetween(this.looks[i], look, k)),
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
