import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  anotherStarterInMs,
  commandPolicy,
  nextAverageMs,
  patienceMs,
  programPolicy,
  respawnDelayMs,
  startersKept,
} from "../../src/domain/starter-pool.ts";
import { holdsFor } from "../helpers/property.ts";

const policies = fc.oneof(
  fc.constant(commandPolicy),
  fc.integer({ min: 1, max: 256 }).map((processors) => programPolicy(processors)),
);
const averageMs = fc.double({ min: 0, max: 100_000, noNaN: true });
const agesMs = fc.array(fc.double({ min: 0, max: 100_000, noNaN: true }), { maxLength: 300 });

test("some starters are kept, and never more than could be at work", () => {
  holdsFor(fc.tuple(fc.nat(), policies), ([peak, policy]) => {
    const kept = startersKept(peak, policy);
    expect(kept).toBeGreaterThanOrEqual(1);
    expect(kept).toBeLessThanOrEqual(policy.busyMax);
    expect(startersKept(peak + 1, policy)).toBeGreaterThanOrEqual(kept);
  });
});

test("a job that waits gets another starter within the patience, also when all hang", () => {
  holdsFor(fc.tuple(agesMs, averageMs, policies), ([ages, average, policy]) => {
    const inMs = anotherStarterInMs({ agesMs: ages, averageMs: average }, policy);
    expect(inMs).toBeGreaterThanOrEqual(0);
    expect(inMs).toBeLessThanOrEqual(patienceMs(average, policy));
    // If none of them has made room when that time has passed, there is one.
    const later = ages.map((age) => age + patienceMs(average, policy));
    const work = { agesMs: later, averageMs: average };
    expect(anotherStarterInMs(work, policy)).toBe(0);
  });
});

test("the average stays between what it was and what a start took", () => {
  holdsFor(fc.tuple(averageMs, averageMs, policies), ([average, took, policy]) => {
    const next = nextAverageMs(average, took, policy);
    expect(next).toBeGreaterThanOrEqual(Math.min(average, took) * 0.8);
    expect(next).toBeLessThanOrEqual(Math.max(average, took) + 1e-6);
  });
});

test("who dies more often is not made sooner", () => {
  holdsFor(fc.tuple(fc.integer({ min: 0, max: 5000 })), ([deaths]) => {
    expect(respawnDelayMs(deaths + 1)).toBeGreaterThanOrEqual(respawnDelayMs(deaths));
  });
});
