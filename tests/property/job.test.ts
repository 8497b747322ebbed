/** What holds for a job's life whatever happens to it, in whatever order. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  isRelayable,
  type JobEffect,
  type JobEvent,
  type JobState,
  newJob,
  step,
} from "../../src/domain/job.ts";
import { holdsFor } from "../helpers/property.ts";

const [hangUp, proceed] = [1, 18];

const event: fc.Arbitrary<JobEvent> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("started"), pid: fc.integer({ min: 2 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("refused"),
      code: fc.constantFrom("notFound", "lost", "failed"),
      errno: fc.nat(133),
      reason: fc.string(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("exited"),
      exit: fc.record({
        type: fc.constant("exited"),
        waitStatus: fc.nat(0xffff),
        userTimeUs: fc.nat(),
        systemTimeUs: fc.nat(),
        residentKiBMax: fc.nat(),
      }),
      success: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("signal"),
      signal: fc.oneof(fc.nat(66), fc.constantFrom(1, 2, 15, 18, 20)),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "clientGone" }) },
);
/** Any events in any order: more than a daemon will ever see. */
const events = fc.array(event, { maxLength: 14 });

interface Step {
  readonly event: JobEvent;
  readonly before: JobState;
  readonly after: JobState;
  readonly effects: readonly JobEffect[];
}

function live(wait: boolean, all: readonly JobEvent[]): Step[] {
  let state = newJob(wait);
  return all.map((one) => {
    const before = state;
    const [after, effects] = step(before, one);
    state = after;
    return { event: one, before, after, effects };
  });
}

const effectsOf = (steps: readonly Step[]): JobEffect[] => steps.flatMap(({ effects }) => effects);
const countOf = (steps: readonly Step[], kind: JobEffect["kind"]): number =>
  effectsOf(steps).filter((effect) => effect.kind === kind).length;

/** Checks every life, waited for or detached. */
function holdsForLives(check: (steps: Step[], wait: boolean, all: JobEvent[]) => void): void {
  holdsFor(fc.tuple(fc.boolean(), events), ([wait, all]) => check(live(wait, all), wait, all));
}

describe("whatever happens", () => {
  test.each(["accept", "refuse", "report", "release"] as const)(
    "there is one %s at most",
    (kind) => {
      holdsForLives((steps) => {
        expect(countOf(steps, kind)).toBeLessThanOrEqual(1);
      });
    },
  );

  test("an end is told once: reported or refused", () => {
    holdsForLives((steps) => {
      expect(countOf(steps, "report") + countOf(steps, "refuse")).toBeLessThanOrEqual(1);
    });
  });

  test("nothing follows the release but signals to the job", () => {
    holdsForLives((steps) => {
      const kinds = effectsOf(steps).map(({ kind }) => kind);
      const release = kinds.indexOf("release");
      if (release < 0) return;
      expect(kinds.slice(release + 1).filter((kind) => kind !== "signal")).toEqual([]);
    });
  });

  test("nothing happens after the end", () => {
    holdsForLives((steps) => {
      for (const { before, after, effects } of steps) {
        if (before.kind !== "done") continue;
        expect(after).toBe(before);
        expect(effects).toEqual([]);
      }
    });
  });

  test("a job goes from starting to running to done, and never back", () => {
    const order = ["starting", "running", "done"];
    holdsForLives((steps) => {
      for (const { before, after } of steps) {
        expect(order.indexOf(after.kind)).toBeGreaterThanOrEqual(order.indexOf(before.kind));
      }
    });
  });

  test("only a job that runs is signalled, and only it, with what a client may send", () => {
    holdsForLives((steps) => {
      for (const { after, effects } of steps) {
        for (const effect of effects) {
          if (effect.kind !== "signal") continue;
          expect(after).toMatchObject({ kind: "running", pid: effect.pid });
          expect(isRelayable(effect.signal)).toBe(true);
        }
      }
    });
  });

  test("the job that was accepted is the one that was started first", () => {
    holdsForLives((steps, _wait, all) => {
      const accepted = effectsOf(steps).find((effect) => effect.kind === "accept");
      if (!accepted) return;
      expect(accepted.pid).toBe(all.find((one) => one.kind === "started")?.pid ?? 0);
    });
  });

  test("a client that is still there when the job is done has been released", () => {
    holdsForLives((steps, _wait, all) => {
      if (steps.at(-1)?.after.kind !== "done" || all.some(({ kind }) => kind === "clientGone"))
        return;
      expect(countOf(steps, "release")).toBe(1);
    });
  });

  test("a state is a value: a step does not change the one it came from", () => {
    holdsForLives((steps) => {
      for (const { before, event: one, after, effects } of steps) {
        expect(step(before, one)).toEqual([after, effects]);
      }
    });
  });
});

describe("signals that came before the start", () => {
  const signals = fc.array(fc.oneof(fc.nat(40), fc.constantFrom(1, 2, 15, 18, 20)), {
    maxLength: 12,
  });
  const started: JobEvent = { kind: "started", pid: 99 };
  const toEvent = (signal: number): JobEvent => ({ kind: "signal", signal });

  function delivered(wait: boolean, all: readonly JobEvent[]): number[] {
    const steps = live(wait, [...all, started]);
    expect(effectsOf(steps.slice(0, -1))).toEqual([]);
    const effects = steps.at(-1)?.effects ?? [];
    expect(effects[0]).toEqual({ kind: "accept", pid: 99 });
    return effects.flatMap((effect) => (effect.kind === "signal" ? [effect.signal] : []));
  }

  /** Each kind once, where it stood last: a stop and a continue end as the later one says. */
  function pending(sent: readonly number[]): number[] {
    return [...new Set(sent.filter(isRelayable).reverse())].reverse();
  }

  test("are delivered after it, each once, in the order in which they came last", () => {
    holdsFor(fc.tuple(fc.boolean(), signals), ([wait, sent]) => {
      const expected = pending(sent);
      expect(delivered(wait, sent.map(toEvent))).toEqual(expected);
    });
  });

  test("and then a client that left: each once, and HUP and CONT last", () => {
    holdsFor(signals, (sent) => {
      const others = sent.filter((signal) => signal !== hangUp && signal !== proceed);
      const expected = [...pending(others), hangUp, proceed];
      const got = delivered(true, [...sent.map(toEvent), { kind: "clientGone" }]);
      expect(got).toEqual(expected);
    });
  });
});

test("each signal to a running job is delivered at once", () => {
  holdsFor(fc.array(fc.nat(66)), (sent) => {
    const steps = live(true, [
      { kind: "started", pid: 5 },
      ...sent.map((signal) => ({ kind: "signal", signal }) as const),
    ]);
    for (const [index, signal] of sent.entries()) {
      const expected = isRelayable(signal) ? [{ kind: "signal", pid: 5, signal }] : [];
      expect<readonly object[] | undefined>(steps[index + 1]?.effects).toEqual(expected);
    }
  });
});

test("a detached job is never signalled because its client is gone", () => {
  holdsFor(events, (all) => {
    for (const { event: one, before, after, effects } of live(false, all)) {
      if (one.kind !== "clientGone") continue;
      expect(effects).toEqual([]);
      expect(after).toEqual(before);
    }
  });
});

test("a job somebody waited for is hung up once when its client is gone while it runs", () => {
  holdsForLives((steps, wait) => {
    const lost = steps.filter(
      ({ event: one, before }) => one.kind === "clientGone" && before.kind === "running",
    );
    const counts = lost.map(({ effects }) => effects.length);
    const wasLostBefore = steps.some(
      ({ event: one, before }) => one.kind === "clientGone" && before.kind === "starting",
    );
    const expected = lost.map((_, index) => (index === 0 && wait && !wasLostBefore ? 2 : 0));
    expect(counts).toEqual(expected);
  });
});
