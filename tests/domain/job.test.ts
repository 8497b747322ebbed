import { describe, expect, test } from "bun:test";
import { pendingSignalsMax } from "../../src/base/limits.ts";
import {
  type JobEffect,
  type JobEvent,
  type JobState,
  newJob,
  step,
} from "../../src/domain/job.ts";
import { signalNumbers } from "../../src/os/signals.ts";
import type { Disconnection, Exited, JobPolicy } from "../../src/protocol/messages.ts";
import { policy } from "../helpers/requests.ts";

const exit: Omit<Exited, "timedOut"> = {
  type: "exited",
  waitStatus: 0x100,
  userTimeUs: 1,
  systemTimeUs: 2,
  residentKiBMax: 3,
};
const { SIGHUP, SIGINT, SIGTERM, SIGCONT, SIGTSTP, SIGSTOP, SIGKILL } = signalNumbers;
const { SIGALRM, SIGCHLD } = signalNumbers;

const started: JobEvent = { kind: "started", pid: 7 };
const refused: JobEvent = { kind: "refused", code: "notFound", errno: 2, reason: "x: no" };
const exited: JobEvent = { kind: "exited", exit, success: false };
const stopped: JobEvent = { kind: "stopped", signal: SIGSTOP };
const continued: JobEvent = { kind: "continued" };
const ending: JobEvent = { kind: "ending", killedBy: undefined };
const endingBy = (killedBy: number): JobEvent => ({ kind: "ending", killedBy });
const timeUp: JobEvent = { kind: "timeUp" };
const clientGone: JobEvent = { kind: "clientGone" };
/** To the whole group, as from a terminal. */
const signal = (number: number): JobEvent => ({ kind: "signal", signal: number, toGroup: true });
/** To the process the job began with, as from who called kill(2). */
const toLeader = (number: number): JobEvent => ({ kind: "signal", signal: number, toGroup: false });

const accept: JobEffect = { kind: "accept", pid: 7 };
const refuse: JobEffect = { kind: "refuse", code: "notFound", errno: 2, reason: "x: no" };
const report: JobEffect = { kind: "report", exit: { ...exit, timedOut: false } };
const reportLate: JobEffect = { kind: "report", exit: { ...exit, timedOut: true } };
const reportStop: JobEffect = { kind: "reportStop", signal: SIGSTOP };
const timer = (afterMs: number): JobEffect => ({ kind: "timer", afterMs });
const release: JobEffect = { kind: "release" };
const wakeClient: JobEffect = { kind: "wakeClient" };
const send = (number: number, toGroup = true): JobEffect => ({
  kind: "signal",
  pid: 7,
  signal: number,
  toGroup,
});
/** As by sigqueue(3). */
const queued = (number: number, value: bigint): JobEvent => ({
  kind: "signal",
  signal: number,
  toGroup: false,
  value,
});
const queue = (number: number, value: bigint): JobEffect => ({
  kind: "signal",
  pid: 7,
  signal: number,
  toGroup: false,
  value,
});
const sendLeader = (number: number): JobEffect => send(number, false);

interface Life {
  /** All effects, in order. */
  readonly effects: readonly JobEffect[];
  readonly end: JobState;
}

function lifeOf(wait: boolean, events: readonly JobEvent[], own: Partial<JobPolicy> = {}): Life {
  let state = newJob(wait, { ...policy, ...own });
  const effects = events.flatMap((event) => {
    const [next, following] = step(state, event);
    state = next;
    return following;
  });
  return { effects, end: state };
}

function live(wait: boolean, events: readonly JobEvent[], own?: Partial<JobPolicy>) {
  return lifeOf(wait, events, own).effects;
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
      what: "is signalled with what is no terminal's, also before it runs",
      events: [toLeader(SIGALRM), toLeader(SIGKILL), started, toLeader(SIGCHLD)],
      effects: [accept, sendLeader(SIGALRM), sendLeader(SIGKILL), sendLeader(SIGCHLD)],
    },
    {
      what: "is sent real-time signals before it runs: all of them, in their order",
      events: [...[toLeader(34), queued(64, 1n), toLeader(34), queued(64, 2n)], started],
      effects: [accept, sendLeader(34), queue(64, 1n), sendLeader(34), queue(64, 2n)],
    },
    {
      what: "is sent values with a signal that is not real-time: the last one before it runs, each when it runs",
      events: [queued(10, 1n), queued(10, 2n), started, queued(10, 3n), queued(10, 4n)],
      effects: [accept, queue(10, 2n), queue(10, 3n), queue(10, 4n)],
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
    {
      what: "is signalled by its number, which is its first process's",
      events: [started, toLeader(SIGINT), signal(SIGINT), toLeader(SIGTERM)],
      effects: [accept, sendLeader(SIGINT), send(SIGINT), sendLeader(SIGTERM)],
    },
    {
      what: "is signalled by its number before it runs: the later of two says for whom",
      events: [...[toLeader(SIGINT), signal(SIGINT), signal(SIGTERM), toLeader(SIGTERM)], started],
      effects: [accept, send(SIGINT), sendLeader(SIGTERM)],
    },
    {
      what: "is ended by its number: so is all of it",
      events: [started, toLeader(SIGTERM), endingBy(SIGTERM), exited],
      effects: [accept, sendLeader(SIGTERM), send(SIGTERM), report, release],
    },
    {
      what: "is ended by its number before it runs: so is all of it",
      events: [toLeader(SIGTERM), started, endingBy(SIGTERM)],
      effects: [accept, sendLeader(SIGTERM), send(SIGTERM)],
    },
    {
      what: "was sent a signal to end by, and ended by another, or by itself: not so",
      events: [started, toLeader(SIGTERM), endingBy(SIGINT), ending, endingBy(SIGKILL)],
      effects: [accept, sendLeader(SIGTERM)],
    },
    {
      what: "is ended by a signal to its group, which all of it has got",
      events: [started, signal(SIGTERM), endingBy(SIGTERM)],
      effects: [accept, send(SIGTERM)],
    },
    {
      what: "is ended by a real-time signal to its number",
      events: [queued(34, 1n), started, endingBy(34)],
      effects: [accept, queue(34, 1n), send(34)],
    },
    {
      what: "is stopped while it runs, and again",
      events: [started, stopped, signal(SIGCONT), stopped, signal(SIGCONT), exited],
      effects: [
        ...[accept, reportStop, send(SIGCONT), reportStop, send(SIGCONT)],
        ...[report, release],
      ],
    },
    {
      what: "is stopped, and continued by others: its client is to wake",
      events: [continued, started, continued, stopped, continued, continued],
      effects: [accept, reportStop, wakeClient, wakeClient],
    },
    {
      what: "is continued by its client, which is awake",
      events: [started, stopped, toLeader(SIGCONT), continued, exited, continued],
      effects: [accept, reportStop, sendLeader(SIGCONT), report, release],
    },
    {
      what: "ends while it is stopped: its client is to wake and hear of it",
      events: [started, stopped, exited, continued],
      effects: [accept, reportStop, wakeClient, report, release],
    },
    {
      what: "is stopped, loses its client, and is continued by others",
      events: [started, stopped, clientGone, continued, exited],
      effects: [accept, reportStop, send(SIGHUP), send(SIGCONT)],
    },
    {
      what: "is stopped before it is known to run, and after its end",
      events: [stopped, started, exited, stopped],
      effects: [accept, report, release],
    },
    {
      what: "is stopped when its client is gone",
      events: [started, clientGone, stopped, exited],
      effects: [accept, send(SIGHUP), send(SIGCONT)],
    },
    {
      what: "leaves others in its group, which are left alone",
      events: [started, ending, exited],
      effects: [accept, report, release],
    },
    {
      what: "has no time that could be up",
      events: [timeUp, started, exited, timeUp],
      effects: [accept, report, release],
    },
    { what: "starts after its refusal", events: [refused, started], effects: [refuse, release] },
    { what: "is refused twice", events: [refused, refused], effects: [refuse, release] },
  ])("$what", ({ events, effects }) => {
    expect(live(true, events)).toEqual(effects);
  });
});

describe("without its client, a job somebody waited for", () => {
  const sent: Readonly<Record<Disconnection, readonly number[]>> = {
    hangup: [SIGHUP, SIGCONT],
    continue: [],
    term: [SIGTERM, SIGCONT],
    kill: [SIGKILL],
  };
  const rows = (Object.keys(sent) as Disconnection[]).map((onDisconnect) => ({
    onDisconnect,
    signals: sent[onDisconnect].map((number) => send(number)),
  }));

  test.each(rows)("gets what '$onDisconnect' says, once", ({ onDisconnect, signals }) => {
    const events = [started, clientGone, clientGone, exited, clientGone];
    expect(live(true, events, { onDisconnect })).toEqual([accept, ...signals]);
  });

  test.each(rows)("gets it once it runs: '$onDisconnect'", ({ onDisconnect, signals }) => {
    const effects = live(true, [clientGone, started, exited], { onDisconnect });
    expect(effects).toEqual([accept, ...signals, release]);
  });

  test.each(rows)("is signalled by nobody else's: '$onDisconnect'", ({ onDisconnect }) => {
    const effects = live(false, [clientGone, started, clientGone, exited], { onDisconnect });
    expect(effects).toEqual([accept, release]);
  });

  test.each(rows)("after other signals, before it runs: '$onDisconnect'", (row) => {
    const before = [signal(SIGCONT), signal(SIGINT), clientGone];
    const kept = row.signals.some((one) => one.kind === "signal" && one.signal === SIGCONT)
      ? [send(SIGINT)]
      : [send(SIGCONT), send(SIGINT)];
    const { onDisconnect } = row;
    const effects = live(true, [...before, started], { onDisconnect });
    expect(effects).toEqual([accept, ...kept, ...row.signals, release]);
  });
});

describe.each([
  { who: "a job somebody waits for", wait: true },
  { who: "a detached job", wait: false },
])("with a time limit, $who", ({ wait }) => {
  const first = wait ? [accept, timer(70)] : [accept, timer(70), release];
  const last = (told: JobEffect): JobEffect[] => (wait ? [told, release] : []);
  const term = [send(SIGTERM), send(SIGCONT)];

  test("may end before", () => {
    const { effects } = lifeOf(wait, [started, exited, timeUp], { timeoutMs: 70 });
    expect(effects).toEqual([...first, ...last(report)]);
  });

  test("is asked to end, and is given all the time it takes", () => {
    const { effects, end } = lifeOf(
      wait,
      [started, timeUp, { kind: "exited", exit, success: true }],
      { timeoutMs: 70 },
    );
    expect(effects).toEqual([...first, ...term, ...last(reportLate)]);
    expect(end).toEqual({ kind: "done", success: false });
  });

  test("is asked to end, and then killed", () => {
    const own = { timeoutMs: 70, killAfterMs: 30 };
    const { effects } = lifeOf(wait, [started, timeUp, timeUp, exited], own);
    const all = [...first, ...term, timer(30), send(SIGKILL), ...last(reportLate)];
    expect(effects).toEqual(all);
  });

  test("ends before it is killed", () => {
    const own = { timeoutMs: 70, killAfterMs: 30 };
    const { effects } = lifeOf(wait, [started, timeUp, exited, timeUp], own);
    expect(effects).toEqual([...first, ...term, timer(30), ...last(reportLate)]);
  });

  test("has no time limit before it runs", () => {
    const { effects } = lifeOf(wait, [timeUp, refused, timeUp], { timeoutMs: 70 });
    expect(effects).toEqual([refuse, release]);
  });

  test("is not killed for lack of time to end", () => {
    const { effects } = lifeOf(wait, [started, timeUp], { timeoutMs: 70, killAfterMs: 0 });
    expect(effects).toEqual([...first, ...term]);
  });
});

test("a job whose client is gone still has its time limit", () => {
  const own: Partial<JobPolicy> = { timeoutMs: 70, onDisconnect: "continue" };
  const { effects, end } = lifeOf(true, [started, clientGone, timeUp, exited], own);
  expect(effects).toEqual([accept, timer(70), send(SIGTERM), send(SIGCONT)]);
  expect(end).toEqual({ kind: "done", success: false });
});

test.each([
  { who: "somebody waits for", wait: true, last: [report, release] },
  { who: "nobody waits for", wait: false, last: [] },
])("what a job that $who leaves in its group is killed when it ends", ({ wait, last }) => {
  const events = [ending, started, toLeader(SIGINT), endingBy(SIGINT), exited, ending];
  const effects = live(wait, events, { killGroup: true });
  const released = wait ? [] : [release];
  expect(effects).toEqual([accept, ...released, sendLeader(SIGINT), send(SIGKILL), ...last]);
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
      what: "is stopped, which nobody is told",
      events: [started, stopped, continued, exited],
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
  const [running] = step(newJob(true, policy), started);
  const [done] = step(running, { kind: "exited", exit, success });
  expect<JobState>(done).toEqual({ kind: "done", success });
});

test("a refused job is no success", () => {
  const [done] = step(newJob(true, policy), refused);
  expect(done).toEqual({ kind: "done", success: false });
});

test("there is a bound for the signals that wait for a start, and none for a farewell", () => {
  const many = Array.from({ length: pendingSignalsMax + 5 }, () => toLeader(40));
  const effects = live(true, [...many, clientGone, started]);
  const kept = Array.from({ length: pendingSignalsMax }, () => sendLeader(40));
  expect(effects).toEqual([accept, ...kept, send(SIGHUP), send(SIGCONT), release]);
});
