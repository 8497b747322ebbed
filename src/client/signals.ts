/**
 * The signals a waiting client passes on to its job instead of acting on them.
 *
 * They have to be blocked before anything else is done: the runtime starts helper threads as soon
 * as scripts allocate, and a thread that was started before would take the signal and die of it.
 * Threads inherit the mask of the one that starts them.
 */
import type { Sys } from "../../ffi/sys.ts";
import type { Fd } from "../os/fd.ts";
import {
  blockSignals,
  openSignalFd,
  type SignalName,
  signalNumbers,
  unblockSignals,
} from "../os/signals.ts";

const relayed: readonly SignalName[] = [
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGTERM",
  "SIGUSR1",
  "SIGUSR2",
  "SIGWINCH",
  "SIGCONT",
  "SIGTSTP",
  "SIGTTIN",
  "SIGTTOU",
];

/** Of these, the ones that stop the client too, so that the shell gets its prompt. */
export const stopping: ReadonlySet<number> = new Set([
  signalNumbers.SIGTSTP,
  signalNumbers.SIGTTIN,
  signalNumbers.SIGTTOU,
]);

/** From here on a signal waits until the job is there to get it. The first call of a client. */
export function holdSignals(sys: Sys): void {
  blockSignals(sys, relayed);
}

/** A client that does not wait for its job acts on signals as any program. */
export function releaseSignals(sys: Sys): void {
  unblockSignals(sys, relayed);
}

/** A descriptor that delivers the signals held. */
export function openHeldSignals(sys: Sys): Fd {
  return openSignalFd(sys, relayed);
}
