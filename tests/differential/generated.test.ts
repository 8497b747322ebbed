/**
 * Execution contexts by chance, each run directly and through the client of one daemon: nothing may
 * differ. `PREFORK_CASES` sets how many there are, `PREFORK_SEED` which. Half as many again run in a
 * daemon whose own state is odd, since none of that may reach a job. Where the binary has two clients,
 * these tests are run for each (see ../run.ts), and the cases are divided between them.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { clientKinds } from "../helpers/client-kinds.ts";
import { setting } from "../helpers/property.ts";
import { clientChoice, clientVariable, type Daemon, Sandbox } from "../helpers/sandbox.ts";
import { contexts } from "./arbitrary.ts";
import { aspects, type Difference, differences } from "./comparison.ts";
import type { Context } from "./context.ts";
import { Launcher } from "./launcher.ts";
import { serveOddly } from "./odd-daemon.ts";
import { describeFailure } from "./reproduction.ts";

const casesWanted = setting("PREFORK_CASES") ?? 300 / clientKinds.length;
const seedWanted =
  setting("PREFORK_SEED") ?? (clientVariable in clientChoice ? 20_261_128 : 20_251_124);

/** Generous: a case takes some 100 ms. */
const caseTimeoutMs = 2000;
/** Looking for a smaller context that fails, too, ends here. */
const shrinkTimeoutMs = 15_000;

/** How many of the failures are told of besides the first. */
const othersShown = 20;

interface Failure {
  readonly index: number;
  readonly context: Context;
  readonly difference: Difference;
}

interface Run {
  readonly name: string;
  readonly serve: (box: Sandbox) => Promise<Daemon>;
  readonly seed: number;
  readonly count: number;
}

const runs: readonly Run[] = [
  { name: "a plain", serve: (box) => box.serve(), seed: seedWanted, count: casesWanted },
  { name: "an odd", serve: serveOddly, seed: seedWanted + 1, count: Math.ceil(casesWanted / 2) },
];

describe.each([...runs])("$count contexts in $name daemon", ({ serve, seed, count }) => {
  const box = new Sandbox();
  const failures: Failure[] = [];
  let launcher: Launcher;
  let startedCount = 0;

  beforeAll(
    async () => {
      await serve(box);
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
      const smallest = await shrink(launcher, first, seed);
      throw new Error(
        `${failing.length} of ${count} contexts differ in ${aspect}\n` +
          `the first one (number ${first.index} of PREFORK_SEED=${seedWanted}) made smaller:\n` +
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

/** The smallest context found that still differs in the same aspect; the given one when none is. */
async function shrink(launcher: Launcher, failure: Failure, seed: number): Promise<Failure> {
  let smallest = failure;
  await fc.check(
    fc.asyncProperty(contexts, async (context) => {
      const found = differences(context, await launcher.runBoth(context));
      const difference = found.find(({ aspect }) => aspect === failure.difference.aspect);
      if (difference) smallest = { ...failure, context, difference };
      return difference === undefined;
    }),
    { seed, path: `${failure.index}`, interruptAfterTimeLimit: shrinkTimeoutMs },
  );
  return smallest;
}
