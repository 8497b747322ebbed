import { describe, expect, test } from "bun:test";
import {
  starterBackoffMs,
  starterBackoffMsMax,
  starterDeathsFree,
  starterPatienceMsMax,
  starterPatienceMsMin,
} from "../../src/base/limits.ts";
import {
  anotherStarterInMs,
  nextAverageMs,
  patienceMs,
  programPolicy,
  respawnDelayMs,
  startersKept,
} from "../../src/domain/starter-pool.ts";

const policy = programPolicy(2);

describe("starters that are kept", () => {
  test.each([
    { what: "one, when nothing was wanted", peak: 0, processors: 8, kept: 1 },
    { what: "one for one after the other", peak: 1, processors: 8, kept: 1 },
    { what: "as many as were wanted at once", peak: 3, processors: 8, kept: 3 },
    { what: "no more than there are processors", peak: 200, processors: 8, kept: 8 },
    { what: "two on one processor", peak: 200, processors: 1, kept: 2 },
  ])("$what", ({ peak, processors, kept }) => {
    expect(startersKept(peak, programPolicy(processors))).toBe(kept);
  });
});

describe("patience with a starter", () => {
  test.each([
    { what: "has a least", average: 0, expected: starterPatienceMsMin },
    { what: "grows with what a start takes", average: 20, expected: 80 },
    { what: "has a bound", average: 10_000, expected: starterPatienceMsMax },
  ])("$what", ({ average, expected }) => {
    expect(patienceMs(average, policy)).toBe(expected);
  });

  test("a start that hung for long hardly counts", () => {
    expect(nextAverageMs(1, 45_000, policy)).toBeLessThan(10);
  });

  test("a machine on which everything takes longer is believed after a while", () => {
    let average = 1;
    for (let start = 0; start < 50; start++) average = nextAverageMs(average, 100, policy);
    expect(average).toBeGreaterThan(90);
  });
});

describe("another starter for a job that waits", () => {
  test.each([
    { what: "at once, when none is at work", agesMs: [], inMs: 0 },
    { what: "at once, when few are", agesMs: [1], inMs: 0 },
    { what: "when the first of those at work has been so for too long", agesMs: [20, 5], inMs: 10 },
    { what: "at once, when one of them hangs", agesMs: [1000, 5], inMs: 0 },
    { what: "at once, when all of them hang", agesMs: [1000, 1000, 1000], inMs: 0 },
    { what: "not before time, however many hang besides", agesMs: [1000, 3, 2, 1000], inMs: 27 },
  ])("$what", ({ agesMs, inMs }) => {
    expect(anotherStarterInMs({ agesMs, averageMs: 0 }, policy)).toBe(inMs);
  });

  test("later where each start takes long", () => {
    expect(anotherStarterInMs({ agesMs: [50, 40], averageMs: 50 }, policy)).toBe(150);
  });
});

describe("the delay after starters that died", () => {
  test.each([
    { deaths: 0, delayMs: 0 },
    { deaths: starterDeathsFree, delayMs: 0 },
    { deaths: starterDeathsFree + 1, delayMs: starterBackoffMs },
    { deaths: starterDeathsFree + 2, delayMs: 2 * starterBackoffMs },
    { deaths: 1000, delayMs: starterBackoffMsMax },
  ])("is $delayMs ms after $deaths", ({ deaths, delayMs }) => {
    expect(respawnDelayMs(deaths)).toBe(delayMs);
  });
});
