/** What holds for a job's life whatever happens to it, in whatever order. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type JobEffect,
  type JobEvent,
  type JobSignal,
  type JobState,
  newJob,
  step,
} from "../../src/domain/job.ts";
import type { Disconnection, JobPolicy } from "../../src/protocol/messages.ts";
import { disconnectionNames } from "../helpers/messages.ts";
import { holdsFor } from "../helpers/property.ts";

const [SIGHUP, SIGKILL, SIGTERM, SIGCONT] = [1, 9, 15, 18];

/** What a job gets when its client is gone. Written without the code under test. */
const farewells: Readonly<Record<Disconnection, readonly number[]>> = {
  hangup: [SIGHUP, SIGCONT],
  continue: [],
  term: [SIGTERM, SIGCONT],
  kill: [SIGKILL],
};

const signal: fc.Arbitrary<JobSignal> = fc.record(
  {
    signal: fc.oneof(
      fc.integer({ min: 1, max: 64 }),
      fc.constantFrom(1, 2, 15, 18, 20, 31, 32, 34, 64),
    ),
    toGroup: fc.boolean(),
    value: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
  },
  { requiredKeys: ["signal", "toGroup"] },
);

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
    arbitrary: signal.map((one): JobEvent => ({ kind: "signal", ...one })),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "clientGone" }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("ending"),
      killedBy: fc.constantFrom(undefined, 1, 2, 9, 11, 15),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "continued" }) },
  { weight: 2, arbitrary: fc.constant({ kind: "timeUp" }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("stopped"), signal: fc.constantFrom(19, 20, 21, 22) }),
  },
);
/** Half of them have what is rarely asked for. */
const policy: fc.Arbitrary<JobPolicy> = fc.record({
  timeoutMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 1_000_000 })),
  killAfterMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 1_000_000 })),
  killGroup: fc.boolean(),
  onDisconnect: fc.constantFrom(...disconnectionNames),
});

/** Any events in any order: more than a daemon will ever see. */
const events = fc.array(event, { maxLength: 14 });

interface Step {
  readonly event: JobEvent;
  readonly before: JobState;
  readonly after: JobState;
  readonly effects: readonly JobEffect[];
}

/** How a job was asked for. */
interface Order {
  readonly wait: boolean;
  readonly policy: JobPolicy;
}

const order: fc.Arbitrary<Order> = fc.record({ wait: fc.boolean(), policy });

function live({ wait, policy: own }: Order, all: readonly JobEvent[]): Step[] {
  let state = newJob(wait, own);
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

/** Checks every life, waited for or detached, under any policy. */
function holdsForLives(check: (steps: Step[], order: Order, all: JobEvent[]) => void): void {
  holdsFor(fc.tuple(order, events), ([made, all]) => check(live(made, all), made, all));
}

const signalsIn = (effects: readonly JobEffect[]): number[] =>
  effects.flatMap((effect) => (effect.kind === "signal" ? [effect.signal] : []));

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

  test("nothing follows the release but signals to the job, and its timer", () => {
    holdsForLives((steps) => {
      const kinds = effectsOf(steps).map(({ kind }) => kind);
      const release = kinds.indexOf("release");
      if (release < 0) return;
      const rest = kinds.slice(release + 1);
      expect(rest.filter((kind) => kind !== "signal" && kind !== "timer")).toEqual([]);
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

  test("only a job that runs is signalled, and only it", () => {
    holdsForLives((steps) => {
      for (const { after, effects } of steps) {
        for (const effect of effects) {
          if (effect.kind !== "signal") continue;
          expect(after).toMatchObject({ kind: "running", pid: effect.pid });
        }
      }
    });
  });

  test("with KILL by its policy or its time limit, unless its client sends it", () => {
    holdsForLives((steps, { policy: { onDisconnect, killGroup } }) => {
      let timesUp = 0;
      let sendsKill = false;
      let isClientGone = false;
      for (const { event: one, before, effects } of steps) {
        isClientGone ||= one.kind === "clientGone";
        sendsKill ||= one.kind === "signal" && one.signal === SIGKILL;
        const isKilled = signalsIn(effects).includes(SIGKILL) && !sendsKill;
        if (one.kind === "timeUp" && before.kind === "running") timesUp += 1;
        if (!isKilled) continue;
        const isFarewell = onDisconnect === "kill" && isClientGone;
        const reasons = {
          timeUp: timesUp > 1,
          ending: killGroup,
          clientGone: isFarewell,
          started: isFarewell,
        };
        expect(reasons).toHaveProperty(one.kind, true);
      }
    });
  });

  test("a timer is set when the job starts, and once more when its time is up", () => {
    holdsForLives((steps, { policy: { timeoutMs, killAfterMs } }) => {
      const timers = steps.flatMap(({ event: one, effects }) =>
        effects.flatMap((effect) =>
          effect.kind === "timer" ? [{ after: one.kind, ms: effect.afterMs }] : [],
        ),
      );
      const hasStarted = countOf(steps, "accept") > 0;
      const firstUp = steps.find(
        ({ event: one, before }) => one.kind === "timeUp" && before.kind === "running",
      );
      expect(timers).toEqual([
        ...(hasStarted && timeoutMs > 0 ? [{ after: "started" as const, ms: timeoutMs }] : []),
        ...(firstUp && killAfterMs > 0 ? [{ after: "timeUp" as const, ms: killAfterMs }] : []),
      ]);
    });
  });

  test("a job whose time is up is asked to end once, and then killed", () => {
    holdsForLives((steps) => {
      const ups = steps.filter(
        ({ event: one, before }) => one.kind === "timeUp" && before.kind === "running",
      );
      const signals = ups.map(({ effects }) => signalsIn(effects));
      expect(signals).toEqual(ups.map((_, at) => (at === 0 ? [SIGTERM, SIGCONT] : [SIGKILL])));
    });
  });

  test("a job was asked to end when it is told so, and is no success then", () => {
    holdsForLives((steps) => {
      const wasAsked = steps.some(
        ({ event: one, before }) => one.kind === "timeUp" && before.kind === "running",
      );
      const told = effectsOf(steps).find((effect) => effect.kind === "report");
      if (told) expect(told.exit.timedOut).toBe(wasAsked);
      const last = steps.at(-1)?.after;
      if (wasAsked && last?.kind === "done") expect(last.success).toBe(false);
    });
  });

  test("its client is told of each stop while the job runs, and nobody else", () => {
    holdsForLives((steps, { wait }) => {
      let hasClient = wait;
      for (const { event: one, before, effects } of steps) {
        if (one.kind === "clientGone") hasClient = false;
        const told = effects.filter(({ kind }) => kind === "reportStop");
        const isTold = one.kind === "stopped" && before.kind === "running" && hasClient;
        expect(told).toEqual(isTold ? [{ kind: "reportStop", signal: one.signal }] : []);
      }
    });
  });

  test("what is left in a group is killed when its leader ends, if asked for", () => {
    holdsForLives((steps, { policy: { killGroup } }) => {
      if (!killGroup) return;
      for (const { event: one, before, effects } of steps) {
        if (one.kind !== "ending") continue;
        expect(signalsIn(effects)).toEqual(before.kind === "running" ? [SIGKILL] : []);
      }
    });
  });

  test("what ended the leader alone is for its group, too, when it was sent by the client", () => {
    holdsForLives((steps, { policy: { killGroup } }) => {
      if (killGroup) return;
      const sentToLeader = new Set<number>();
      for (const { event: one, before, effects } of steps) {
        for (const effect of effects) {
          if (effect.kind === "signal" && !effect.toGroup) sentToLeader.add(effect.signal);
        }
        if (one.kind !== "ending") continue;
        const isMeant =
          before.kind === "running" && one.killedBy !== undefined && sentToLeader.has(one.killedBy);
        expect(signalsIn(effects)).toEqual(isMeant ? [one.killedBy ?? 0] : []);
      }
    });
  });

  test("a signal is for one process only when its client says so; ours are for the group", () => {
    holdsForLives((steps) => {
      const alone = new Set<number>();
      for (const { event: one, effects } of steps) {
        if (one.kind === "signal" && !one.toGroup) alone.add(one.signal);
        for (const effect of effects) {
          if (effect.kind !== "signal" || effect.toGroup) continue;
          expect(one.kind).toBeOneOf(["signal", "started"]);
          expect(alone).toContain(effect.signal);
        }
      }
    });
  });

  test("a client that sleeps since it was told of a stop is woken by what happens next", () => {
    holdsForLives((steps, { wait }) => {
      let isAsleep = false;
      let hasClient = wait;
      for (const { event: one, before, effects } of steps) {
        const isOver = before.kind === "done";
        if (one.kind === "clientGone") hasClient = false;
        if (one.kind === "signal") isAsleep = false; // it speaks
        const hasNews = one.kind === "continued" || one.kind === "exited";
        const isWoken = isAsleep && hasClient && hasNews && !isOver;
        const woken = effects.filter(({ kind }) => kind === "wakeClient");
        expect(woken.length).toBe(isWoken ? 1 : 0);
        if (isWoken) expect(effects[0]?.kind).toBe("wakeClient");
        if (effects.some(({ kind }) => kind === "reportStop")) isAsleep = true;
      }
    });
  });

  test("the job that was accepted is the one that was started first", () => {
    holdsForLives((steps, _order, all) => {
      const accepted = effectsOf(steps).find((effect) => effect.kind === "accept");
      if (!accepted) return;
      expect(accepted.pid).toBe(all.find((one) => one.kind === "started")?.pid ?? 0);
    });
  });

  test("a client that is still there when the job is done has been released", () => {
    holdsForLives((steps, _order, all) => {
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
  const signals = fc.array(signal, { maxLength: 12 });
  const started: JobEvent = { kind: "started", pid: 99 };
  const toEvent = (signal: JobSignal): JobEvent => ({ kind: "signal", ...signal });

  function delivered(made: Order, all: readonly JobEvent[]): JobSignal[] {
    const steps = live(made, [...all, started]);
    expect(effectsOf(steps.slice(0, -1))).toEqual([]);
    const effects = steps.at(-1)?.effects ?? [];
    expect(effects[0]).toEqual({ kind: "accept", pid: 99 });
    return effects.flatMap((effect) => {
      if (effect.kind !== "signal") return [];
      const { kind: _kind, pid: _pid, ...sent } = effect;
      return [sent];
    });
  }

  /**
   * Each kind once, where it stood last: a stop and a continue end as the later one says. But for real-time signals:
   * they are all there.
   */
  function pending(sent: readonly JobSignal[]): JobSignal[] {
    return sent.filter(
      ({ signal: number }, at) =>
        number >= 32 || !sent.slice(at + 1).some((later) => later.signal === number),
    );
  }

  test("are delivered after it, each kind once, in the order in which they came last", () => {
    holdsFor(fc.tuple(order, signals), ([made, sent]) => {
      const expected = pending(sent);
      expect(delivered(made, sent.map(toEvent))).toEqual(expected);
    });
  });

  test("and then a client that left: each once, and what its policy says last", () => {
    holdsFor(fc.tuple(policy, signals), ([own, sent]) => {
      const last = farewells[own.onDisconnect].map((number) => ({ signal: number, toGroup: true }));
      const others = sent.filter((one) => !last.some((later) => later.signal === one.signal));
      const all: JobEvent[] = [...sent.map(toEvent), { kind: "clientGone" }];
      expect(delivered({ wait: true, policy: own }, all)).toEqual([...pending(others), ...last]);
    });
  });
});

test("each signal to a running job is delivered at once", () => {
  holdsFor(fc.tuple(order, fc.array(signal)), ([made, sent]) => {
    const steps = live(made, [
      { kind: "started", pid: 5 },
      ...sent.map((one) => ({ kind: "signal", ...one }) as const),
    ]);
    for (const [index, one] of sent.entries()) {
      const expected: JobEffect[] = [{ kind: "signal", pid: 5, ...one }];
      expect(steps[index + 1]?.effects).toEqual(expected);
    }
  });
});

test("a detached job is never signalled because its client is gone", () => {
  holdsFor(fc.tuple(policy, events), ([own, all]) => {
    for (const { event: one, before, after, effects } of live({ wait: false, policy: own }, all)) {
      if (one.kind !== "clientGone") continue;
      expect(effects).toEqual([]);
      expect(after).toEqual(before);
    }
  });
});

test("a job somebody waited for gets what its policy says once when its client is gone", () => {
  holdsForLives((steps, { wait, policy: { onDisconnect } }) => {
    const lost = steps.filter(
      ({ event: one, before }) => one.kind === "clientGone" && before.kind === "running",
    );
    const wasLostBefore = steps.some(
      ({ event: one, before }) => one.kind === "clientGone" && before.kind === "starting",
    );
    const expected = lost.map((_, index) =>
      index === 0 && wait && !wasLostBefore ? farewells[onDisconnect] : [],
    );
    expect(lost.map(({ effects }) => signalsIn(effects))).toEqual(expected.map((all) => [...all]));
    for (const { effects } of lost) expect(effects.length).toBe(signalsIn(effects).length);
  });
});
