/** Watching and reaping children: pidfd_open(2), wait4(2), waitid(2). */
import * as errno from "../../ffi/errno.ts";
import {
  CLD_EXITED,
  CLD_STOPPED,
  P_ALL,
  P_PID,
  SYS_pidfd_open,
  WCONTINUED,
  WEXITED,
  WNOHANG,
  WNOWAIT,
  WSTOPPED,
} from "../../ffi/linux/constants.ts";
import { allocate } from "../../ffi/memory.ts";
import { rusage, siginfo } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { check, retry } from "./errors.ts";
import { Fd } from "./fd.ts";

/** How a child ended, as the kernel tells it. */
export interface ChildExit {
  readonly waitStatus: number;
  readonly userTimeUs: number;
  readonly systemTimeUs: number;
  readonly residentKiBMax: number;
}

/**
 * A descriptor that becomes readable when the process ends; undefined when there is none.
 * See pidfd_open(2); it is close-on-exec by definition.
 */
export function tryOpenPidFd(sys: Sys, pid: number): Fd | undefined {
  const result = sys.pidfd_open(SYS_pidfd_open, pid, 0);
  if (result === -errno.ESRCH) return undefined;
  return new Fd(sys, check(result, "pidfd_open"));
}

/** Whether `pid` is a child of ours, running or not yet reaped: then its number cannot be reused. */
export function isOurChild(sys: Sys, pid: number): boolean {
  const options = WEXITED | WNOHANG | WNOWAIT;
  const result = retry(sys.waitid, P_PID, pid, allocate(siginfo.size), options);
  if (result === -errno.ECHILD) return false;
  check(result, "waitid");
  return true;
}

/** The signal that has ended a child, which is left to be reaped; undefined: it ended by itself. */
export function killerOf(sys: Sys, pid: number): number | undefined {
  const info = allocate(siginfo.size);
  const result = retry(sys.waitid, P_PID, pid, info, WEXITED | WNOHANG | WNOWAIT);
  if (result === -errno.ECHILD) return undefined;
  check(result, "waitid");
  const isKilled =
    siginfo.get(info, "si_pid") === pid && siginfo.get(info, "si_code") !== CLD_EXITED;
  return isKilled ? siginfo.get(info, "si_status") : undefined;
}

/** Reaps a child that has ended; undefined when it has not, or is not our child. */
export function tryReap(sys: Sys, pid: number, options: { wait: boolean }): ChildExit | undefined {
  const status = allocate(4);
  const usage = allocate(rusage.size);
  const result = retry(sys.wait4, pid, status, options.wait ? 0 : WNOHANG, usage);
  if (result === 0 || result === -errno.ECHILD) return undefined;
  check(result, "wait4");
  const microseconds = (field: "utime" | "stime") =>
    rusage.get(usage, `${field}_sec`) * 1_000_000 + rusage.get(usage, `${field}_usec`);
  return {
    waitStatus: status.view.getInt32(0, true),
    userTimeUs: microseconds("utime"),
    systemTimeUs: microseconds("stime"),
    residentKiBMax: rusage.get(usage, "ru_maxrss"),
  };
}

/** A child that was stopped or continued. */
export interface ChildStop {
  readonly pid: number;
  /** The signal that stopped it; undefined when it goes on. */
  readonly signal: number | undefined;
}

/** The next child that was stopped or continued since this was last asked; undefined: none. */
export function nextStop(sys: Sys): ChildStop | undefined {
  const info = allocate(siginfo.size);
  const result = retry(sys.waitid, P_ALL, 0, info, WSTOPPED | WCONTINUED | WNOHANG);
  if (result === -errno.ECHILD) return undefined;
  check(result, "waitid");
  const pid = siginfo.get(info, "si_pid");
  if (pid === 0) return undefined;
  const isStopped = siginfo.get(info, "si_code") === CLD_STOPPED;
  return { pid, signal: isStopped ? siginfo.get(info, "si_status") : undefined };
}

/** The pid of some child that has ended and waits to be reaped, which it is left to. */
export function anyEndedChild(sys: Sys): number | undefined {
  const info = allocate(siginfo.size);
  const result = retry(sys.waitid, P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT);
  if (result === -errno.ECHILD) return undefined;
  check(result, "waitid");
  const pid = siginfo.get(info, "si_pid");
  return pid === 0 ? undefined : pid;
}
