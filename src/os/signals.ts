/** Signals: names, masks, dispositions, and a descriptor that delivers them. See signal(7). */
import * as errno from "../../ffi/errno.ts";
import {
  SFD_CLOEXEC,
  SFD_NONBLOCK,
  SI_QUEUE,
  SI_USER,
  SIG_BLOCK,
  SIG_DFL,
  SIG_IGN,
  SIG_SETMASK,
  SIG_UNBLOCK,
  SYS_rt_sigaction,
  SYS_rt_sigqueueinfo,
} from "../../ffi/linux/constants.ts";
import { allocate, type Memory } from "../../ffi/memory.ts";
import {
  kernelSigactionSize,
  queuedSiginfo,
  signalfdSiginfo,
  sigsetSize,
} from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { signalMaskSize, signalMax } from "../base/limits.ts";
import { check, retry } from "./errors.ts";
import { type Fd, own, type RawFd } from "./fd.ts";
import type { ProcessStatus } from "./proc.ts";

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

/** A sigset_t of all signals. */
export function allSignals(): Memory {
  const set = allocate(sigsetSize);
  set.fill(0xff, 0, signalMax / 8);
  return set;
}

/** The two signals that glibc keeps to itself. */
const internalSignals: readonly number[] = [32, 33];

/** All signals but glibc's own. */
export function ownableSignals(): Memory {
  const set = allSignals();
  for (const number of internalSignals) setInMask(set, number, false);
  return set;
}

/**
 * All signals that a process of Bun's can hold back to pass them on. Not those of faults and not SIGPWR: threads of the
 * runtime's own let them through, whatever the one that started them blocks, and would take what was sent to us all.
 */
export function relayableSignals(): Memory {
  const set = ownableSignals();
  for (const number of runtimeSignals) setInMask(set, number, false);
  return set;
}

const { SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, SIGPWR } = signalNumbers;
// biome-ignore format: a list
const runtimeSignals: readonly number[] = [
  SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, SIGPWR,
];

/** @returns the mask as it was before. */
export function blockSignals(sys: Sys, set: Memory): Memory {
  const before = allocate(sigsetSize);
  check(sys.sigprocmask(SIG_BLOCK, set, before), "sigprocmask");
  return before;
}

/** Blocks all that can be blocked. */
export function blockAllSignals(sys: Sys): void {
  check(sys.sigprocmask(SIG_SETMASK, allSignals(), null), "sigprocmask");
}

/** Blocks exactly the signals of a mask of `signalMaskSize` bytes. */
export function setSignalMask(sys: Sys, mask: Uint8Array): void {
  check(sys.sigprocmask(SIG_SETMASK, sigsetOf(mask), null), "sigprocmask");
}

/** A mask as the sigset_t that libc takes. */
export function sigsetOf(mask: Uint8Array): Memory {
  const set = allocate(sigsetSize);
  set.set(mask.subarray(0, signalMaskSize));
  return set;
}

export function unblockSignals(sys: Sys, signals: readonly (SignalName | number)[]): void {
  check(sys.sigprocmask(SIG_UNBLOCK, signalSet(signals), null), "sigprocmask");
}

/** Gives one signal its default action, and lets it come. */
export function resetSignal(sys: Sys, number: number): void {
  if (isFixed(number)) return; // it always has it
  setAction(sys, number, SIG_DFL);
  unblockSignals(sys, [number]);
}

/** Ignores the signals of a mask, and what runs after exec(2) does so, too. */
export function ignoreSignals(sys: Sys, mask: Uint8Array): void {
  if (mask.every((byte) => byte === 0)) return; // as nearly always
  for (let number = 1; number <= signalMax; number++) {
    if (isInMask(mask, number) && !isFixed(number)) setAction(sys, number, SIG_IGN);
  }
}

/** The kernel keeps these two as they are. */
function isFixed(number: number): boolean {
  return number === signalNumbers.SIGKILL || number === signalNumbers.SIGSTOP;
}

function setInMask(mask: Uint8Array, number: number, isIn: boolean): void {
  const bit = 1 << ((number - 1) & 7);
  const index = (number - 1) >> 3;
  mask[index] = isIn ? (mask[index] ?? 0) | bit : (mask[index] ?? 0) & ~bit;
}

export function isInMask(mask: Uint8Array, number: number): boolean {
  return ((mask[(number - 1) >> 3] ?? 0) & (1 << ((number - 1) & 7))) !== 0;
}

function setAction(sys: Sys, number: number, handler: number): void {
  const action = allocate(kernelSigactionSize);
  action.view.setBigUint64(0, BigInt(handler), true);
  check(sys.rt_sigaction(SYS_rt_sigaction, number, action, null, signalMaskSize), "rt_sigaction");
}

/**
 * The signals this process was started to ignore. Bun ignores SIGPIPE and SIGXFSZ whatever they
 * were, so those are left out; where it handles a fault itself, an ignored one does not show.
 *
 * When one of 0, 1 and 2 is a terminal, Bun handles SIGINT and SIGTERM, too. Then SIGINT counts as
 * ignored if our parent ignores it, or if SIGQUIT is, which does show: a shell that starts
 * something in the background has it ignore both. Of SIGTERM nothing is known: interactive shells
 * ignore it themselves, and do not have their children ignore it. The second of glibc's own signals
 * is handled by the runtime's libc: it was ignored if the first is, since posix_spawn(3) has a
 * child ignore both.
 */
export function inheritedIgnored(
  status: Pick<ProcessStatus, "field">,
  parent: Pick<ProcessStatus, "field"> | undefined,
): Uint8Array {
  const mask = parseMask(status.field("SigIgn"));
  for (const number of [signalNumbers.SIGPIPE, signalNumbers.SIGXFSZ])
    setInMask(mask, number, false);
  setInMask(mask, 33, isInMask(mask, 32));
  if (!isInMask(parseMask(status.field("SigCgt")), signalNumbers.SIGINT)) return mask;
  const witness = parseMask(parent?.field("SigIgn") ?? "");
  const isIgnored =
    isInMask(mask, signalNumbers.SIGQUIT) || isInMask(witness, signalNumbers.SIGINT);
  setInMask(mask, signalNumbers.SIGINT, isIgnored);
  return mask;
}

/**
 * The signals this process was started to block, by those that are blocked now. Bun lets SIGPWR through before any
 * script runs. It counts as blocked when our parent blocks it and we have all the rest of our parent's mask.
 */
export function inheritedBlocked(
  blocked: Uint8Array,
  parent: Pick<ProcessStatus, "field"> | undefined,
): Uint8Array {
  const witness = parseMask(parent?.field("SigBlk") ?? "");
  const mask = Uint8Array.from(blocked);
  setInMask(mask, signalNumbers.SIGPWR, isInMask(witness, signalNumbers.SIGPWR));
  return mask.every((byte, index) => byte === witness[index]) ? mask : blocked;
}

/** A mask as it is in a process of Bun's, which needs SIGPWR for its own threads. */
export function runtimeMask(mask: Uint8Array): Uint8Array {
  const own = Uint8Array.from(mask);
  setInMask(own, signalNumbers.SIGPWR, false);
  return own;
}

/** A mask as /proc shows it: sixteen digits, the highest signals first. */
function parseMask(digits: string): Uint8Array {
  const mask = new Uint8Array(new ArrayBuffer(signalMaskSize));
  for (let index = 0; index < signalMaskSize; index++) {
    const at = 2 * (signalMaskSize - 1 - index);
    mask[index] = Number.parseInt(digits.slice(at, at + 2), 16) || 0;
  }
  return mask;
}

/** Bun ignores these two before any script runs; a program we become must have them as usual. */
export function restoreIgnoredByBun(sys: Sys): void {
  for (const name of ["SIGPIPE", "SIGXFSZ"] as const) resetSignal(sys, signalNumbers[name]);
}

/** A descriptor that becomes readable when a signal of `set`, which must be blocked, is pending. */
export function openSignalFd(sys: Sys, set: Memory): Fd {
  return own(sys, sys.signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd");
}

/** A signal that came to us. */
export interface Pending {
  readonly number: number;
  /** The kernel (for a terminal, a timer, a child), another process, or this one by what it did, such as SIGPIPE. */
  readonly origin: "kernel" | "process" | "self";
  /** What sigqueue(3) gave with it. */
  readonly value?: bigint | undefined;
}

/** The next pending signal, or undefined when none is. */
export function readSignal(sys: Sys, fd: RawFd): Pending | undefined {
  pendingInfo ??= allocate(signalfdSiginfo.size);
  const info = pendingInfo;
  const result = retry(sys.read, fd, info, info.length);
  if (result === -errno.EAGAIN) return undefined;
  check(result, "read");
  const code = signalfdSiginfo.get(info, "ssi_code");
  const valueOffset = signalfdSiginfo.offset("ssi_ptr");
  return {
    number: signalfdSiginfo.get(info, "ssi_signo"),
    origin: code > SI_USER ? "kernel" : isOwn(sys, info) ? "self" : "process",
    value: code === SI_QUEUE ? info.view.getBigUint64(valueOffset, true) : undefined,
  };
}

let pendingInfo: Memory | undefined;

function isOwn(sys: Sys, info: Memory): boolean {
  return signalfdSiginfo.get(info, "ssi_pid") === sys.getpid();
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

/**
 * Sends a process a signal with a value, as sigqueue(3) does.
 * @returns false as `trySignal`, and when it has too many of them already.
 */
export function tryQueueSignal(sys: Sys, pid: number, number: number, value: bigint): boolean {
  const info = allocate(queuedSiginfo.size);
  queuedSiginfo.set(info, "si_signo", number);
  queuedSiginfo.set(info, "si_code", SI_QUEUE);
  queuedSiginfo.set(info, "si_pid", sys.getpid());
  queuedSiginfo.set(info, "si_uid", sys.geteuid());
  info.view.setBigUint64(queuedSiginfo.offset("si_value"), value, true);
  const result = sys.rt_sigqueueinfo(SYS_rt_sigqueueinfo, pid, number, info);
  if (result === -errno.ESRCH || result === -errno.EPERM || result === -errno.EAGAIN) return false;
  check(result, "rt_sigqueueinfo");
  return true;
}
