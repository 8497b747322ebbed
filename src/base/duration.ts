/** Times as people write them. */

/**
 * The milliseconds that a text means: seconds with a fraction if need be, or another unit, as
 * timeout(1) takes it; undefined when it is no time. There is no upper bound here.
 */
export function parseDuration(text: string): number | undefined {
  const [, digits, unit = "s"] = /^(\d+(?:\.\d*)?|\.\d+)([smhd]?)$/.exec(text) ?? [];
  if (digits === undefined) return undefined;
  return milliseconds(Number(digits), millisecondsOf[unit] ?? 1000);
}

/** `amount` seconds, or another unit, as whole milliseconds. */
export function milliseconds(amount: number, unitMs = 1000): number {
  const exact = amount * unitMs;
  return exact > 0 ? Math.max(1, Math.round(exact)) : 0; // zero has a meaning of its own
}

const millisecondsOf: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
