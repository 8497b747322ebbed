import { describe, expect, test } from "bun:test";
import { isRelayable, type JobEffect, type JobEvent, newJob, step } from "../../src/domain/job.ts";
import { signalMax, signalNumbers } from "../../src/os/signals.ts";
import type { Exited } from "../../src/protocol/messages.ts";

const exit: Exited = {
  type: "exited",
  waitStatus: 0x100,
  userTimeUs: 1,
  systemTimeUs: 2,
  residentKiBMax: 3,
};
const { SIGHUP, SIGINT, SIGTERM, SIGCONT, SIGTSTP, SIGKILL } = signalNumbers;

const started: JobEvent = { kind: "started", pid: 7 };
const refused: JobEvent = { kind: "refused", code: "notFound", errno: 2, reason: "x: no" };
const exited: JobEvent = { kind: "exited", exit, success: false };
const clientGone: JobEvent = { kind: "clientGone" };
const signal = (number: number): JobEvent => ({ kind: "signal", signal: number });

const accept: JobEffect = { kind: "accept", pid: 7 };
const refuse: JobEffect = { kind: "refuse", code: "notFound", errno: 2, reason: "x: no" };
const report: JobEffect = { kind: "report", exit };
const release: JobEffect = { kind: "release" };
const send = (number: number): JobEffect => ({ kind: "signal", pid: 7, signal: number });

/** All effects of a life, in order. */
function live(wait: boolean, events: readonly JobEvent[]): JobEffect[] {
  let state = newJob(wait);
  return events.flatMap((event) => {
    const [next, effects] = step(state, event);
    state = next;
    return effects;
  });
}

describe("a job somebody waits for", () => {
  test.each<{ what: string; events: JobEvent[]; effects: JobEffect[] }>([
    { what: "starts and ends", events: [started, exited], effects: [accept, report, release] },
    { what: "cannot be started", events: [refused], effects: [refuse, release] },
    { what: "is lost later", events: [started, refused], effects: [accept, refuse, release] },
    {
      what: "is signalled while it runs",
      events: [started, signal(SIGINT), signal(SIGINT), exited],
      effects: [accept, send(SIGINT), send(SIGINT), report, release],
    },
    {
      what: "is signalled before it runs: one of a kind, where it came last",
      events: [signal(SIGTERM), signal(SIGINT), signal(SIGTERM), started],
      effects: [accept, send(SIGINT), send(SIGTERM)],
    },
    {
      what: "is signalled after its end",
      events: [started, exited, signal(SIGTERM)],
      effects: [accept, report, release],
    },
    {
      what: "is not signalled with what no client may send",
      events: [signal(SIGKILL), started, signal(SIGKILL), signal(0), signal(signalMax + 1)],
      effects: [accept],
    },
    {
      what: "loses its client while it runs",
      events: [started, clientGone, exited],
      effects: [accept, send(SIGHUP), send(SIGCONT)],
    },
    {
      what: "loses its client twice",
      events: [started, clientGone, clientGone],
      effects: [accept, send(SIGHUP), send(SIGCONT)],
    },
    {
      what: "loses its client after its end",
      events: [started, exited, clientGone],
      effects: [accept, report, release],
    },
    {
      what: "loses its client before it runs",
      events: [clientGone, started],
      effects: [accept, send(SIGHUP), send(SIGCONT), release],
    },
    {
      what: "is hung up by a terminal, and then loses its client, before it runs: one HUP",
      events: [signal(SIGHUP), clientGone, started],
      effects: [accept, send(SIGHUP), send(SIGCONT), release],
    },
    {
      what: "is stopped before it runs and loses its client: it is continued last",
      events: [signal(SIGCONT), signal(SIGTSTP), clientGone, started],
      effects: [accept, send(SIGTSTP), send(SIGHUP), send(SIGCONT), release],
    },
    { what: "starts twice", events: [started, started], effects: [accept] },
    {
      what: "ends twice",
      events: [started, exited, exited],
      effects: [accept, report, release],
    },
    { what: "starts after its refusal", events: [refused, started], effects: [refuse, release] },
    { what: "is refused twice", events: [refused, refused], effects: [refuse, release] },
  ])("$what", ({ events, effects }) => {
    expect(live(true, events)).toEqual(effects);
  });
});

describe("a detached job", () => {
  test.each<{ what: string; events: JobEvent[]; effects: JobEffect[] }>([
    { what: "starts and ends", events: [started, exited], effects: [accept, release] },
    { what: "cannot be started", events: [refused], effects: [refuse, release] },
    {
      what: "goes on when its client leaves",
      events: [started, clientGone, exited],
      effects: [accept, release],
    },
    {
      what: "starts although its client has left",
      events: [clientGone, started],
      effects: [accept, release],
    },
    {
      what: "is refused when its client has its answer already: too late",
      events: [started, refused],
      effects: [accept, release],
    },
  ])("$what", ({ events, effects }) => {
    expect(live(false, events)).toEqual(effects);
  });
});

test.each([true, false])("the end decides whether it was a success: %p", (success) => {
  const [running] = step(newJob(true), started);
  const [done] = step(running, { kind: "exited", exit, success });
  expect(done).toEqual({ kind: "done", success });
});

test("a refused job is no success", () => {
  const [done] = step(newJob(true), refused);
  expect(done).toEqual({ kind: "done", success: false });
});

const relayed = new Set([
  ...["SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM"],
  ...["SIGCONT", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGWINCH"],
]);
test.each(Object.entries<number>(signalNumbers))(
  "%s may be sent by a client, or not",
  (name, n) => {
    expect(isRelayable(n)).toBe(relayed.has(name));
  },
);

test.each([-1, 0, 1.5, Number.NaN, 32, 34, signalMax, signalMax + 1, 0xffff_ffff])(
  "%d is nothing a client may send",
  (number) => {
    expect(isRelayable(number)).toBe(false);
  },
);
