/**
 * How property tests run: `FC_RUNS` sets how many cases each property sees, `FC_SEED` repeats the
 * run whose seed a failure printed.
 */
import fc from "fast-check";

const runsDefault = 300;
/** Looking for the smallest failing case ends here, unless `FC_RUNS` says how long to look. */
const timeLimitMs = 10_000;

/** The whole number in an environment variable; undefined when there is none. */
export function setting(name: string): number | undefined {
  const text = process.env[name];
  if (text === undefined || text === "") return undefined;
  const number = Number(text);
  if (Number.isSafeInteger(number)) return number;
  throw new TypeError(`${name} is a whole number, not '${text}'`);
}

const seed = setting("FC_SEED");
const runs = setting("FC_RUNS");

/** Checks that `predicate` holds (does not throw) for values of `arbitrary`. */
export function holdsFor<Value>(
  arbitrary: fc.Arbitrary<Value>,
  predicate: (value: Value) => void,
): void {
  fc.assert(fc.property(arbitrary, predicate), {
    numRuns: runs ?? runsDefault,
    ...(runs === undefined
      ? { interruptAfterTimeLimit: timeLimitMs, markInterruptAsFailure: true }
      : {}),
    ...(seed === undefined ? {} : { seed }),
  });
}
