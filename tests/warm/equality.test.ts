/**
 * What a script does in a child of a warm image is what it does in a Bun of its own: the same bytes
 * on stdout and stderr, the same end, the same files. Cases are drawn by chance: `PREFORK_CASES` sets
 * how many warm runs each tool gets (200 is the long form), `PREFORK_SEED` which.
 * `PREFORK_AGAINST=direct` compares Bun with itself.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { setting } from "../helpers/property.ts";
import { Sandbox } from "../helpers/sandbox.ts";
import { copyScripts, equip } from "../helpers/warm.ts";
import { surroundings, tools } from "./cases.ts";
import {
  aspects,
  type Case,
  type Comparison,
  compare,
  describeCase,
  firstDifference,
  makePlaces,
} from "./comparison.ts";

const casesWanted = setting("PREFORK_CASES") ?? 2;
const seed = setting("PREFORK_SEED") ?? 20_251_127;

/** So many cases have their surroundings in common: an image is made for them, and then serves them. */
const casesPerSurroundings = 6;
/** A case is one direct run and at most eight others, with images built in between. */
const caseTimeoutMs = 30_000;
/** How many of the failures are told of. */
const shownMax = 5;

describe.each([...tools])("$name", (tool) => {
  const box = new Sandbox();
  const results: { one: Case; comparison: Comparison }[] = [];
  const count = Math.max(Math.ceil(casesWanted * (tool.part ?? 1)), 2);

  beforeAll(
    async () => {
      equip(box);
      makePlaces(box);
      const scripts = copyScripts(box);
      await box.serve();
      const around = fc.sample(surroundings, {
        seed,
        numRuns: Math.max(Math.ceil(count / casesPerSurroundings), 2),
      });
      const calls = fc.sample(tool.calls, { seed, numRuns: count });
      for (const [number, own] of around.entries()) {
        const isOnTerminal = tool.isForTerminals === true && number % 2 === 1;
        const first = Math.floor((number * count) / around.length);
        const end = Math.floor(((number + 1) * count) / around.length);
        for (const [offset, call] of calls.slice(first, end).entries()) {
          const one = { index: first + offset, tool, around: own, call, isOnTerminal };
          results.push({ one, comparison: await compare(box, scripts, one) });
        }
      }
    },
    60_000 + count * caseTimeoutMs,
  );

  afterAll(async () => {
    await box[Symbol.asyncDispose]();
  });

  test(`${count} runs are warm`, () => {
    const cold = results.filter(({ comparison }) => !comparison.isWarm);
    const told = cold
      .slice(0, shownMax)
      .map(({ one, comparison: { reason } }) => `${describeCase(one)}${reason}`);
    expect(told).toEqual([]);
    expect(results.length - cold.length).toBe(count);
  });

  test.each([...aspects])("the same %s", (aspect) => {
    const told = results.flatMap(({ one, comparison: { direct, ours, isWarm } }) =>
      ours.flatMap((observation, run) => {
        if (observation[aspect] === direct[aspect]) return [];
        const kind = isWarm && run === ours.length - 1 ? "warm" : "cold";
        const where = firstDifference(`${direct[aspect]}`, `${observation[aspect]}`);
        return [`${describeCase(one)}run ${run + 1}, ${kind}: ${where}`];
      }),
    );
    if (told.length > 0) {
      throw new Error(
        `${told.length} runs of PREFORK_SEED=${seed} differ in ${aspect}\n${told.slice(0, shownMax).join("\n")}`,
      );
    }
  });
});
