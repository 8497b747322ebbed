/**
 * Execution contexts by chance, each run directly and through the client of one daemon: nothing may
 * differ. `PREFORK_CASES` sets how many there are, `PREFORK_SEED` which.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { setting } from "../helpers/property.ts";
import { Sandbox } from "../helpers/sandbox.ts";
import { contexts } from "./arbitrary.ts";
import { type Aspect, aspects, type Difference, differences } from "./comparison.ts";
import type { Context } from "./context.ts";
import { Launcher } from "./launcher.ts";
import { describeFailure } from "./reproduction.ts";

const count = setting("PREFORK_CASES") ?? 500;
const seed = setting("PREFORK_SEED") ?? 20_251_124;

/** Generous: on a busy machine a case takes some 100 ms. */
const caseTimeoutMs = 400;
/** Looking for a smaller context that fails, too, ends here. */
const shrinkTimeoutMs = 15_000;

/** How many of the failures are told of besides the first. */
const othersShown = 20;

interface Failure {
  readonly index: number;
  readonly context: Context;
  readonly difference: Difference;
}

describe(`${count} contexts of seed ${seed}, directly and through prefork`, () => {
  const box = new Sandbox();
  const failures: Failure[] = [];
  let launcher: Launcher;
  let startedCount = 0;

  beforeAll(
    async () => {
      await box.serve();
      launcher = new Launcher(box);
      for (const [index, context] of fc.sample(contexts, { seed, numRuns: count }).entries()) {
        const pair = await launcher.runBoth(context);
        if (pair.direct.report) startedCount += 1;
        for (const difference of differences(context, pair)) {
          failures.push({ index, context, difference });
        }
      }
    },
    count * caseTimeoutMs + 20_000,
  );

  afterAll(async () => {
    await launcher[Symbol.asyncDispose]();
    await box[Symbol.asyncDispose]();
  });

  test("most are of programs that start", () => {
    expect(startedCount).toBeGreaterThan(count * 0.7);
  });

  test.each([...aspects])(
    "the same %s",
    async (aspect) => {
      const failing = failures.filter(({ difference }) => difference.aspect === aspect);
      const [first] = failing;
      if (!first) return;
      const smallest = await shrink(launcher, first, aspect);
      throw new Error(
        `${failing.length} of ${count} contexts differ in ${aspect}\n` +
          `the first one (PREFORK_SEED=${seed} PREFORK_CASES=${first.index + 1}) made smaller:\n` +
          `${describeFailure(smallest.context, smallest.difference)}\n` +
          `others:\n${failing
            .slice(1, 1 + othersShown)
            .map(summary)
            .join("")}`,
      );
    },
    shrinkTimeoutMs + 15_000,
  );
});

/** One line: which it is, and the first line in which it differs. */
function summary({ index, difference: { direct, viaClient } }: Failure): string {
  return `  case ${index}: directly ${direct[0] ?? "-"}, through prefork ${viaClient[0] ?? "-"}\n`;
}

/** The smallest context found that still differs in `aspect`; the given one when none is. */
async function shrink(launcher: Launcher, failure: Failure, aspect: Aspect): Promise<Failure> {
  let smallest = failure;
  await fc.check(
    fc.asyncProperty(contexts, async (context) => {
      const found = differences(context, await launcher.runBoth(context));
      const difference = found.find((one) => one.aspect === aspect);
      if (difference) smallest = { ...failure, context, difference };
      return difference === undefined;
    }),
    { seed, path: `${failure.index}`, interruptAfterTimeLimit: shrinkTimeoutMs },
  );
  return smallest;
}
