/** Signals: names, masks, dispositions, and a descriptor that delivers them. See signal(7). */
import { errno } from "../../ffi/errno.ts";
import {
  SFD_CLOEXEC,
  SFD_NONBLOCK,
  SIG_BLOCK,
  SIG_DFL,
  SIG_UNBLOCK,
} from "../../ffi/linux/constants.ts";
import { allocate, type Memory } from "../../ffi/memory.ts";
import { sigaction, signalfdSiginfo, sigsetSize } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { check, retry } from "./errors.ts";
import { type Fd, own, type RawFd } from "./fd.ts";

/** Signal numbers of Linux on x86-64 and arm64. */
// biome-ignore format: a table
export const signalNumbers = {
  SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGILL: 4, SIGTRAP: 5, SIGABRT: 6, SIGBUS: 7, SIGFPE: 8,
  SIGKILL: 9, SIGUSR1: 10, SIGSEGV: 11, SIGUSR2: 12, SIGPIPE: 13, SIGALRM: 14, SIGTERM: 15,
  SIGSTKFLT: 16, SIGCHLD: 17, SIGCONT: 18, SIGSTOP: 19, SIGTSTP: 20, SIGTTIN: 21, SIGTTOU: 22,
  SIGURG: 23, SIGXCPU: 24, SIGXFSZ: 25, SIGVTALRM: 26, SIGPROF: 27, SIGWINCH: 28, SIGIO: 29,
  SIGPWR: 30, SIGSYS: 31,
} as const;
export type SignalName = keyof typeof signalNumbers;

/** The highest signal number, real-time ones included. */
export const signalMax = 64;

export function signalName(number: number): string {
  for (const name in signalNumbers) if (signalNumbers[name as SignalName] === number) return name;
  return `signal ${number}`;
}

/** A sigset_t of some signals, by name or number. */
export function signalSet(signals: readonly (SignalName | number)[]): Memory {
  const set = allocate(sigsetSize);
  for (const signal of signals) {
    const bit = (typeof signal === "number" ? signal : signalNumbers[signal]) - 1;
    set[bit >> 3] = (set[bit >> 3] ?? 0) | (1 << (bit & 7));
  }
  return set;
}

/** A sigset_t of all signals a process may set. */
export function allSignals(): Memory {
  const set = allocate(sigsetSize);
  set.fill(0xff, 0, signalMax / 8);
  return set;
}

export function blockSignals(sys: Sys, names: readonly SignalName[]): void {
  check(sys.sigprocmask(SIG_BLOCK, signalSet(names), null), "sigprocmask");
}

export function unblockSignals(sys: Sys, signals: readonly (SignalName | number)[]): void {
  check(sys.sigprocmask(SIG_UNBLOCK, signalSet(signals), null), "sigprocmask");
}

/** Gives one signal its default action. SIGKILL and SIGSTOP always have it: EINVAL. */
export function resetSignal(sys: Sys, number: number): void {
  const action = allocate(sigaction.size);
  sigaction.set(action, "sa_handler", SIG_DFL);
  check(sys.sigaction(number, action, null), "sigaction");
}

/** Bun ignores these two before any script runs; a program we become must have them as usual. */
export function restoreIgnoredByBun(sys: Sys): void {
  for (const name of ["SIGPIPE", "SIGXFSZ"] as const) resetSignal(sys, signalNumbers[name]);
}

/** A descriptor that becomes readable when one of `names`, which must be blocked, is pending. */
export function openSignalFd(sys: Sys, names: readonly SignalName[]): Fd {
  return own(sys, sys.signalfd(-1, signalSet(names), SFD_CLOEXEC | SFD_NONBLOCK), "signalfd");
}

/** The next pending signal's number, or undefined when none is. */
export function readSignal(sys: Sys, fd: RawFd): number | undefined {
  const info = allocate(signalfdSiginfo.size);
  const result = retry(() => sys.read(fd, info, info.length));
  if (result === -errno.EAGAIN) return undefined;
  check(result, "read");
  return signalfdSiginfo.get(info, "ssi_signo");
}

/**
 * Signals a process, or a process group when `target` is negative.
 * @returns false when it is gone, or has taken another user's rights and may not be signalled.
 */
export function trySignal(sys: Sys, target: number, number: number): boolean {
  const result = sys.kill(target, number);
  if (result === -errno.ESRCH || result === -errno.EPERM) return false;
  check(result, "kill");
  return true;
}
