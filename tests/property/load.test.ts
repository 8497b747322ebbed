/** What holds for the work that is done ahead of need, whatever the machine is like. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  imageIdleMs,
  imageIdleShortMs,
  inputQuietMs,
  inputQuietMsMax,
  memoryReserveKiBMax,
  refillDelayMsMax,
  refillDelayMsMin,
  spareIdleMs,
} from "../../src/base/limits.ts";
import { isShort, rebuildDelayMs, refillDelayMs, sparesKept } from "../../src/domain/load.ts";
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

const room = fc
  .tuple(fc.nat(2 ** 40), fc.float({ min: 0, max: 1, noNaN: true }))
  .map(([totalKiB, part]) => ({ totalKiB, availableKiB: Math.floor(totalKiB * part) }));

test("memory that is short stays so for a while, and plenty is never short", () => {
  holdsFor(room, (left) => {
    if (isShort(left, false)) expect(isShort(left, true)).toBe(true);
    const isPlenty =
      left.availableKiB >= left.totalKiB / 2 || left.availableKiB >= 2 * memoryReserveKiBMax;
    if (isPlenty) expect(isShort(left, true)).toBe(false);
    const isNearlyNone = left.totalKiB > 1000 && left.availableKiB < left.totalKiB / 1000;
    if (isNearlyNone && left.availableKiB < memoryReserveKiBMax) {
      expect(isShort(left, false)).toBe(true);
    }
  });
});

test("of a small machine a share is kept free, of a large one an amount", () => {
  const mib = 1024;
  expect(isShort({ totalKiB: 2048 * mib, availableKiB: 204 * mib }, false)).toBe(true);
  expect(isShort({ totalKiB: 2048 * mib, availableKiB: 205 * mib }, false)).toBe(false);
  expect(isShort({ totalKiB: 2048 * mib, availableKiB: 306 * mib }, true)).toBe(true);
  expect(isShort({ totalKiB: 2048 * mib, availableKiB: 308 * mib }, true)).toBe(false);
  expect(isShort({ totalKiB: 256 * 1024 * mib, availableKiB: 1023 * mib }, false)).toBe(true);
  expect(isShort({ totalKiB: 256 * 1024 * mib, availableKiB: 1024 * mib }, false)).toBe(false);
});

test.each([
  ["in use", 0, false, 3],
  ["used lately", spareIdleMs - 1, false, 3],
  ["not used for long", spareIdleMs, false, 0],
  ["hardly used", imageIdleMs - 1, false, 0],
  ["forgotten", imageIdleMs, false, undefined],
  ["in use while memory is short", 0, true, 0],
  ["used lately while memory is short", imageIdleShortMs - 1, true, 0],
  ["not in use while memory is short", imageIdleShortMs, true, undefined],
] as const)("what is kept of an image that is %s", (_, idleMs, isShortNow, kept) => {
  expect(sparesKept({ spares: 3, idleMs, isShort: isShortNow })).toBe(kept);
});

test("an image that is made anew again and again for nobody is made less and less often", () => {
  expect(rebuildDelayMs(0)).toBe(inputQuietMs);
  holdsFor(fc.nat(10_000), (rebuilt) => {
    const delayMs = rebuildDelayMs(rebuilt);
    expect(delayMs).toBeLessThanOrEqual(inputQuietMsMax);
    expect(rebuildDelayMs(rebuilt + 1)).toBe(Math.min(inputQuietMsMax, 2 * delayMs));
  });
});
