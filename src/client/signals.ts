/**
 * The signals of a waiting client: it holds them, and passes on to its job what is for the job. They have to be
 * blocked before anything else is done: the runtime starts helper threads as soon as scripts
 * allocate, and a thread that was started before would take the signal and die of it. Threads inherit
 * the mask of the one that starts them.
 */
import type { Sys } from "../../ffi/sys.ts";
import { signalMaskSize } from "../base/limits.ts";
import type { Fd } from "../os/fd.ts";
import {
  blockSignals,
  openSignalFd,
  type Pending,
  relayableSignals,
  signalNumbers,
} from "../os/signals.ts";
import type { SignalRequest } from "../protocol/messages.ts";

/** From here on a signal waits until the job is there to get it. @returns the caller's mask. */
export function holdSignals(sys: Sys): Uint8Array {
  return blockSignals(sys, relayableSignals()).subarray(0, signalMaskSize);
}

/** A descriptor that delivers the signals held. */
export function openHeldSignals(sys: Sys): Fd {
  return openSignalFd(sys, relayableSignals());
}

const { SIGCHLD, SIGXCPU } = signalNumbers;
const { SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH, SIGCONT } = signalNumbers;

/** What the kernel says by these is about us: our children, our processor time. */
const aboutUs: readonly number[] = [SIGCHLD, SIGXCPU];

/** What a terminal sends, it sends to a whole group. */
// biome-ignore format: a list
const fromTerminals: readonly number[] = [
  SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH,
];

/**
 * What the daemon is told of a signal that came to us; undefined: it is not for the job. What a process sends to our number
 * is for the one that stands behind it. A shell continues the group, but that cannot be told from the signal.
 */
export function signalForJob({ number, origin, value }: Pending): SignalRequest | undefined {
  if (origin === "self" || (origin === "kernel" && aboutUs.includes(number))) return undefined;
  const isFromTerminal = origin === "kernel" && fromTerminals.includes(number);
  const toGroup = isFromTerminal || number === SIGCONT;
  return { type: "signal", signal: number, toGroup, value: toGroup ? undefined : value };
}
