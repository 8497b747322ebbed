/** What holds for the work that is done ahead of need, whatever the machine is like. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { refillDelayMsMax, refillDelayMsMin } from "../../src/base/limits.ts";
import { refillDelayMs } from "../../src/domain/load.ts";
import { holdsFor } from "../helpers/property.ts";

const processors = fc.integer({ min: 1, max: 1024 });
const running = fc.nat(100_000);

test("a spare is replaced at once if, and only if, a processor is free", () => {
  holdsFor(fc.record({ processors, running }), (load) => {
    expect(refillDelayMs(load) === 0).toBe(load.running < load.processors);
  });
});

test("the delay of a busy machine has bounds", () => {
  holdsFor(fc.record({ processors, running }), (load) => {
    const delayMs = refillDelayMs(load);
    if (delayMs === 0) return;
    expect(delayMs).toBeGreaterThanOrEqual(refillDelayMsMin);
    expect(delayMs).toBeLessThanOrEqual(refillDelayMsMax);
  });
});

test("the more wants to run, the longer it is; the more processors, the shorter", () => {
  holdsFor(fc.tuple(processors, running, fc.nat(1000)), ([count, wanting, more]) => {
    const delayMs = refillDelayMs({ processors: count, running: wanting });
    expect(refillDelayMs({ processors: count, running: wanting + more })).toBeGreaterThanOrEqual(
      delayMs,
    );
    expect(refillDelayMs({ processors: count + more, running: wanting })).toBeLessThanOrEqual(
      delayMs,
    );
  });
});
