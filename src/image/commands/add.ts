/**
 * `add NUMBER…`: prints the exact sum of decimal numbers of any size. An argument that is not one
 * is complained about; then nothing is printed and the status is 1. The sum of nothing is 0.
 */
import type { CommandResult } from "./command.ts";

/** Digits with an optional sign and an optional fraction, with a digit on one side of the point. */
const decimalPattern = /^([+-]?)(\d*)(?:\.(\d*))?$/;

/** An exact decimal number: `units` × 10^-`scale`. */
interface Decimal {
  readonly units: bigint;
  readonly scale: number;
}

export function add(args: readonly string[]): CommandResult {
  let complaints = "";
  let sum: Decimal = { units: 0n, scale: 0 };
  for (const arg of args) {
    const number = parseDecimal(arg);
    if (number) sum = plus(sum, number);
    else complaints += `add: '${arg.replaceAll("\n", "\\n")}' is not a number\n`;
  }
  if (complaints !== "") return { output: "", complaints, status: 1 };
  return { output: `${formatDecimal(sum)}\n`, complaints, status: 0 };
}

function parseDecimal(text: string): Decimal | undefined {
  const match = decimalPattern.exec(text);
  if (!match) return undefined;
  const [, sign, whole = "", fraction = ""] = match;
  if (whole === "" && fraction === "") return undefined;
  const magnitude = BigInt(whole + fraction);
  return { units: sign === "-" ? -magnitude : magnitude, scale: fraction.length };
}

function plus(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale);
  return { units: unitsAt(a, scale) + unitsAt(b, scale), scale };
}

/** The units of `number` at a finer scale. */
function unitsAt({ units, scale }: Decimal, finer: number): bigint {
  return finer === scale ? units : units * 10n ** BigInt(finer - scale);
}

/** Without superfluous zeros behind the point: 0.1 + 0.2 is 0.3, and 0.5 + 0.5 is 1. */
function formatDecimal({ units, scale }: Decimal): string {
  const sign = units < 0n ? "-" : "";
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, "0");
  const point = digits.length - scale;
  const fraction = digits.slice(point).replace(/0+$/, "");
  return `${sign}${digits.slice(0, point)}${fraction === "" ? "" : `.${fraction}`}`;
}
