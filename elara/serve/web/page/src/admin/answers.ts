// What the server tells an administrator, and how its counts are read.

export interface Loaded {
  adapter: { weights_sha256: string; training_run: string | null } | null;
  model: string | null;
  gate: string;
  serves: boolean;
}

export interface Upstream {
  url: string;
  model: string;
  problem: string;
  under_way: number;
  answered: number;
  failed: number;
}

export interface Queue {
  waiting: number;
  writing: number;
  queue_limit: number;
  ready: boolean;
  state: string;
}

export interface Audited {
  ok: boolean | null;
  lines: string[];
}

export interface Key {
  id: string;
  name: string;
  scopes: string[];
  state: string;
  created: string;
  expires: string | null;
  requests_per_minute: number | null;
  tokens_per_day: number | null;
  tokens_today: number | null;
}

/** One line of the counts: a name, labels and a value. */
export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Read counts in Prometheus' text format; comments and what is no sample are left out. */
export function samples(text: string): Sample[] {
  return text.split("\n").flatMap((line) => {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!found) return [];
    const [, name, inside = "", value] = found;
    const labels = [...inside.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, told]) => [
      label,
      told.replace(/\\(.)/g, (_, sign) => (sign === "n" ? "\n" : sign)),
    ]);
    return [{ name, labels: Object.fromEntries(labels), value: Number(value) }];
  });
}

export interface Bar {
  upTo: string;
  count: number;
}

/** How many fell into each step of a histogram, whose own counts are sums from its beginning. */
export function steps(all: Sample[], name: string): Bar[] {
  const sums = all.filter((sample) => sample.name === `${name}_bucket`);
  return sums.map((sum, i) => ({
    upTo: sum.labels.le,
    count: sum.value - (i > 0 ? sums[i - 1].value : 0),
  }));
}
