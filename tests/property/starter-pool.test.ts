import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  anotherStarterInMs,
  nextAverageMs,
  patienceMs,
  respawnDelayMs,
  startersBusyMax,
  startersKept,
} from "../../src/domain/starter-pool.ts";
import { holdsFor } from "../helpers/property.ts";

const processors = fc.integer({ min: 1, max: 256 });
const averageMs = fc.double({ min: 0, max: 100_000, noNaN: true });
const agesMs = fc.array(fc.double({ min: 0, max: 100_000, noNaN: true }), { maxLength: 300 });

test("some starters are kept, and never more than could be at work", () => {
  holdsFor(fc.tuple(fc.nat(), processors), ([peak, count]) => {
    const kept = startersKept(peak, count);
    expect(kept).toBeGreaterThanOrEqual(1);
    expect(kept).toBeLessThanOrEqual(startersBusyMax(count));
    expect(startersKept(peak + 1, count)).toBeGreaterThanOrEqual(kept);
  });
});

test("a job that waits gets another starter within the patience, also when all hang", () => {
  holdsFor(fc.tuple(agesMs, averageMs, processors), ([ages, average, count]) => {
    const inMs = anotherStarterInMs({ agesMs: ages, averageMs: average, processors: count });
    expect(inMs).toBeGreaterThanOrEqual(0);
    expect(inMs).toBeLessThanOrEqual(patienceMs(average));
    // If none of them has made room when that time has passed, there is one.
    const later = ages.map((age) => age + patienceMs(average));
    const work = { agesMs: later, averageMs: average, processors: count };
    expect(anotherStarterInMs(work)).toBe(0);
  });
});

test("the average stays between what it was and what a start took", () => {
  holdsFor(fc.tuple(averageMs, averageMs), ([average, took]) => {
    const next = nextAverageMs(average, took);
    expect(next).toBeGreaterThanOrEqual(Math.min(average, took) * 0.8);
    expect(next).toBeLessThanOrEqual(Math.max(average, took) + 1e-6);
  });
});

test("who dies more often is not made sooner", () => {
  holdsFor(fc.tuple(fc.integer({ min: 0, max: 5000 })), ([deaths]) => {
    expect(respawnDelayMs(deaths + 1)).toBeGreaterThanOrEqual(respawnDelayMs(deaths));
  });
});
