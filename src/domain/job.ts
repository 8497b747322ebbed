/**
 * The life of a job as a pure state machine: (state, event) → (state, effects).
 * The daemon's shell (daemon/jobs.ts) feeds it events and carries the effects out.
 */
import { pendingSignalsMax, realTimeSignalMin } from "../base/limits.ts";
import type { Exited, JobPolicy, RefusalCode } from "../protocol/messages.ts";
import { signalsWhenGone } from "./disconnection.ts";

/** A signal for a job, and whom it is for; see `SignalRequest`. */
export interface JobSignal {
  readonly signal: number;
  readonly toGroup: boolean;
  readonly value?: bigint | undefined;
}

export type JobState =
  /** Accepted by the daemon, not yet running; signals wait for the process. */
  | {
      readonly kind: "starting";
      readonly wait: boolean;
      readonly policy: JobPolicy;
      readonly signals: readonly JobSignal[];
    }
  | {
      readonly kind: "running";
      readonly wait: boolean;
      readonly policy: JobPolicy;
      readonly pid: number;
      /** It was asked to end, its time being up. */
      readonly timedOut: boolean;
      /** It was stopped, and so, by our word, is the client that waits for it. */
      readonly clientStopped: boolean;
      /** What was sent to its leader alone. */
      readonly toLeader: readonly number[];
    }
  | { readonly kind: "done"; readonly success: boolean };

export type JobEvent =
  | { readonly kind: "started"; readonly pid: number }
  | {
      readonly kind: "refused";
      readonly code: RefusalCode;
      readonly errno: number;
      readonly reason: string;
    }
  /** It has been stopped by this signal. */
  | { readonly kind: "stopped"; readonly signal: number }
  /** Somebody has continued it. */
  | { readonly kind: "continued" }
  /** Its leader has ended, and is still there to be reaped. */
  | { readonly kind: "ending"; readonly killedBy: number | undefined }
  | { readonly kind: "exited"; readonly exit: Omit<Exited, "timedOut">; readonly success: boolean }
  | ({ readonly kind: "signal" } & JobSignal)
  | { readonly kind: "clientGone" }
  /** The time a `timer` was set to has passed. */
  | { readonly kind: "timeUp" };

export type JobEffect =
  | { readonly kind: "accept"; readonly pid: number }
  | {
      readonly kind: "refuse";
      readonly code: RefusalCode;
      readonly errno: number;
      readonly reason: string;
    }
  | { readonly kind: "reportStop"; readonly signal: number }
  /** The client sleeps since it was told of a stop: it has to be continued to hear more. */
  | { readonly kind: "wakeClient" }
  | { readonly kind: "report"; readonly exit: Exited }
  | ({ readonly kind: "signal"; readonly pid: number } & JobSignal)
  /** Sets the job's one timer. */
  | { readonly kind: "timer"; readonly afterMs: number }
  /** Nothing more is owed to the client. */
  | { readonly kind: "release" };

const none: readonly JobEffect[] = [];

const SIGKILL = 9;
const SIGTERM = 15;
const SIGCONT = 18;

export function newJob(wait: boolean, policy: JobPolicy): JobState {
  return { kind: "starting", wait, policy, signals: [] };
}

/** The next state, and what is to be done on the way there. Events that come too late do nothing. */
export function step(state: JobState, event: JobEvent): [JobState, readonly JobEffect[]] {
  if (state.kind === "done") return [state, none];
  const { wait, policy } = state;
  switch (event.kind) {
    case "started": {
      if (state.kind === "running") return [state, none];
      const { pid } = event;
      const effects: JobEffect[] = [{ kind: "accept", pid }];
      for (const signal of state.signals) effects.push({ kind: "signal", pid, ...signal });
      if (policy.timeoutMs > 0) effects.push({ kind: "timer", afterMs: policy.timeoutMs });
      if (!wait) effects.push({ kind: "release" });
      return [{ kind: "running", wait, policy, pid, ...untouched(state.signals) }, effects];
    }
    case "refused": {
      const { code, errno, reason } = event;
      const effects: JobEffect[] = [{ kind: "refuse", code, errno, reason }, { kind: "release" }];
      return [{ kind: "done", success: false }, isOwed(state) ? effects : none];
    }
    case "stopped": {
      if (!wait || state.kind !== "running") return [state, none];
      return [{ ...state, clientStopped: true }, [{ kind: "reportStop", signal: event.signal }]];
    }
    case "continued": {
      // It may be about to stop, and miss this: it counts as stopped until it speaks.
      return [state, isClientStopped(state) ? [{ kind: "wakeClient" }] : none];
    }
    case "ending": {
      if (state.kind !== "running") return [state, none];
      if (policy.killGroup) return [state, toGroup(state.pid, [SIGKILL])];
      // Most who end a process by its number mean all of it.
      const isMeant = event.killedBy !== undefined && state.toLeader.includes(event.killedBy);
      return [state, isMeant ? toGroup(state.pid, [event.killedBy]) : none];
    }
    case "exited": {
      const timedOut = state.kind === "running" && state.timedOut;
      const effects: JobEffect[] = isClientStopped(state) ? [{ kind: "wakeClient" }] : [];
      if (wait) effects.push({ kind: "report", exit: { ...event.exit, timedOut } });
      if (isOwed(state)) effects.push({ kind: "release" });
      return [{ kind: "done", success: event.success && !timedOut }, effects];
    }
    case "signal": {
      const { kind: _, ...sent } = event;
      if (state.kind === "starting") {
        return [{ ...state, signals: withSignal(state.signals, sent) }, none];
      }
      const toLeader = sent.toGroup
        ? state.toLeader
        : [...new Set([...state.toLeader, sent.signal])];
      // Who speaks is awake.
      const next = { ...state, clientStopped: false, toLeader };
      return [next, [{ kind: "signal", pid: state.pid, ...sent }]];
    }
    case "clientGone": {
      // A detached job goes on; its client has left as it was to.
      if (!wait) return [state, none];
      const signals = signalsWhenGone[policy.onDisconnect];
      if (state.kind === "running") {
        return [{ ...state, wait: false }, toGroup(state.pid, signals)];
      }
      const pending = signals
        .map((signal) => ({ signal, toGroup: true }))
        .reduce(withSignal, state.signals);
      return [{ ...state, wait: false, signals: pending }, none];
    }
    case "timeUp": {
      if (state.kind !== "running") return [state, none];
      if (state.timedOut) return [state, toGroup(state.pid, [SIGKILL])];
      const effects = toGroup(state.pid, [SIGTERM, SIGCONT]);
      if (policy.killAfterMs > 0) effects.push({ kind: "timer", afterMs: policy.killAfterMs });
      return [{ ...state, timedOut: true }, effects];
    }
    default:
      return event satisfies never;
  }
}

function toGroup(pid: number, signals: readonly number[]): JobEffect[] {
  return signals.map((signal) => ({ kind: "signal", pid, signal, toGroup: true }));
}

/** What has not happened yet to a job that starts with these signals. */
function untouched(signals: readonly JobSignal[]) {
  const toLeader = signals.filter((one) => !one.toGroup).map(({ signal }) => signal);
  return { timedOut: false, clientStopped: false, toLeader };
}

function isClientStopped(state: JobState): boolean {
  return state.kind === "running" && state.wait && state.clientStopped;
}

/** Whether the client has not been told all it is to be told. */
function isOwed(state: JobState): boolean {
  return state.kind === "starting" || (state.kind === "running" && state.wait);
}

/**
 * As in the kernel a signal that is pending is not queued again, but for the real-time ones; the last order of two
 * counts.
 */
function withSignal(signals: readonly JobSignal[], added: JobSignal): readonly JobSignal[] {
  if (added.signal >= realTimeSignalMin) {
    return signals.length < pendingSignalsMax ? [...signals, added] : signals;
  }
  return [...signals.filter(({ signal }) => signal !== added.signal), added];
}
