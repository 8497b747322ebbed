/**
 * The signals a waiting client passes on to its job instead of acting on them. They have to be
 * blocked before anything else is done: the runtime starts helper threads as soon as scripts
 * allocate, and a thread that was started before would take the signal and die of it. Threads inherit
 * the mask of the one that starts them.
 */
import type { Sys } from "../../ffi/sys.ts";
import { signalMaskSize } from "../base/limits.ts";
import type { Fd } from "../os/fd.ts";
import { blockSignals, openSignalFd, type SignalName } from "../os/signals.ts";

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

/** From here on a signal waits until the job is there to get it. @returns the caller's mask. */
export function holdSignals(sys: Sys): Uint8Array {
  return blockSignals(sys, relayed).subarray(0, signalMaskSize);
}

/** A descriptor that delivers the signals held. */
export function openHeldSignals(sys: Sys): Fd {
  return openSignalFd(sys, relayed);
}
