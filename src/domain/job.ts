/**
 * The life of a job as a pure state machine: (state, event) → (state, effects).
 * The daemon's shell (daemon/jobs.ts) feeds it events and carries the effects out.
 */
import type { Exited, RefusalCode } from "../protocol/messages.ts";

/** Signals a client may send to its job: what a terminal, a supervisor or a user would. */
const relayable: ReadonlySet<number> = new Set([
  1, // HUP
  2, // INT
  3, // QUIT
  10, // USR1
  12, // USR2
  15, // TERM
  18, // CONT
  20, // TSTP
  21, // TTIN
  22, // TTOU
  28, // WINCH
]);

export type JobState =
  /** Accepted by the daemon, not yet running; signals wait for the process. */
  | { readonly kind: "starting"; readonly wait: boolean; readonly signals: readonly number[] }
  | { readonly kind: "running"; readonly wait: boolean; readonly pid: number }
  | { readonly kind: "done"; readonly success: boolean };

export type JobEvent =
  | { readonly kind: "started"; readonly pid: number }
  | {
      readonly kind: "refused";
      readonly code: RefusalCode;
      readonly errno: number;
      readonly reason: string;
    }
  | { readonly kind: "exited"; readonly exit: Exited; readonly success: boolean }
  | { readonly kind: "signal"; readonly signal: number }
  | { readonly kind: "clientGone" };

export type JobEffect =
  | { readonly kind: "accept"; readonly pid: number }
  | {
      readonly kind: "refuse";
      readonly code: RefusalCode;
      readonly errno: number;
      readonly reason: string;
    }
  | { readonly kind: "report"; readonly exit: Exited }
  /** To the job's process group. */
  | { readonly kind: "signal"; readonly pid: number; readonly signal: number }
  /** Nothing more is owed to the client. */
  | { readonly kind: "release" };

const none: readonly JobEffect[] = [];

/** HUP, and CONT so that a stopped job can act on it. */
const hangUp: readonly number[] = [1, 18];

export function isRelayable(signal: number): boolean {
  return relayable.has(signal);
}

export function newJob(wait: boolean): JobState {
  return { kind: "starting", wait, signals: [] };
}

/** The next state, and what is to be done on the way there. Events that come too late do nothing. */
export function step(state: JobState, event: JobEvent): [JobState, readonly JobEffect[]] {
  if (state.kind === "done") return [state, none];
  switch (event.kind) {
    case "started": {
      if (state.kind === "running") return [state, none];
      const { pid } = event;
      const effects: JobEffect[] = [{ kind: "accept", pid }];
      for (const signal of state.signals) effects.push({ kind: "signal", pid, signal });
      if (!state.wait) effects.push({ kind: "release" });
      return [{ kind: "running", wait: state.wait, pid }, effects];
    }
    case "refused": {
      const { code, errno, reason } = event;
      const effects: JobEffect[] = [{ kind: "refuse", code, errno, reason }, { kind: "release" }];
      return [{ kind: "done", success: false }, isOwed(state) ? effects : none];
    }
    case "exited": {
      const effects: JobEffect[] = [];
      if (state.wait) effects.push({ kind: "report", exit: event.exit });
      if (isOwed(state)) effects.push({ kind: "release" });
      return [{ kind: "done", success: event.success }, effects];
    }
    case "signal": {
      const { signal } = event;
      if (!isRelayable(signal)) return [state, none];
      if (state.kind === "running") return [state, [{ kind: "signal", pid: state.pid, signal }]];
      return [{ ...state, signals: withSignal(state.signals, signal) }, none];
    }
    case "clientGone": {
      // A job somebody waited for ends as it would when a terminal closes; a detached one goes on.
      if (!state.wait) return [state, none];
      if (state.kind === "starting") {
        const signals = hangUp.reduce(withSignal, state.signals);
        return [{ ...state, wait: false, signals }, none];
      }
      const { pid } = state;
      const effects = hangUp.map((signal) => ({ kind: "signal", pid, signal }) as const);
      return [{ ...state, wait: false }, effects];
    }
    default:
      return event satisfies never;
  }
}

/** Whether the client has not been told all it is to be told. */
function isOwed(state: JobState): boolean {
  return state.kind === "starting" || (state.kind === "running" && state.wait);
}

/** As in the kernel a signal that is pending is not queued again; the last order of two counts. */
function withSignal(signals: readonly number[], signal: number): readonly number[] {
  return [...signals.filter((pending) => pending !== signal), signal];
}
