/** What is made of samples. Pure. */

/** The nearest rank: a value that was measured; NaN without any. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(Math.ceil(part * sorted.length) - 1, 0)] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** A permutation of `items`; `random` gives numbers from 0 to less than 1. */
export function shuffled<Item>(items: readonly Item[], random: () => number): Item[] {
  const left = [...items];
  const taken: Item[] = [];
  while (left.length > 0) taken.push(...left.splice(Math.floor(random() * left.length), 1));
  return taken;
}

/** A limit that the project has set itself, and what was measured. */
export interface Goal {
  readonly what: string;
  readonly limit: number;
  readonly is: "at most" | "at least";
  /** NaN or undefined: it was not measured. */
  readonly measured: number | undefined;
  /** What `limit` and `measured` are in; a ratio when left out. */
  readonly unit?: string;
}

export type Verdict = "met" | "missed" | "not measured";

export function verdictOf({ measured, limit, is }: Goal): Verdict {
  if (measured === undefined || Number.isNaN(measured)) return "not measured";
  return (is === "at most" ? measured <= limit : measured >= limit) ? "met" : "missed";
}

/** The cells of one goal: what, the limit, what was measured, the verdict. */
export function goalCells(goal: Goal): string[] {
  const { what, limit, is, measured, unit } = goal;
  const verdict = verdictOf(goal);
  const suffix = unit === undefined ? "" : ` ${unit}`;
  return [
    what,
    `${is === "at most" ? "≤" : "≥"} ${limit}${suffix}`,
    verdict === "not measured" ? "" : `${shortNumber(measured)}${suffix}`,
    verdict,
  ];
}

/** Three digits, or all before the point; nothing for what was not measured. */
export function shortNumber(value = Number.NaN): string {
  if (Number.isNaN(value)) return "";
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toFixed(digits);
}
