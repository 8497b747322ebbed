/** Watching and reaping children: pidfd_open(2), wait4(2), waitid(2). */
import * as errno from "../../ffi/errno.ts";
import {
  CLD_CONTINUED,
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
import { allocate, type Memory } from "../../ffi/memory.ts";
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

/** Reaps a child that has ended; undefined when it has not, or is not our child. */
export function tryReap(sys: Sys, pid: number, options: { wait: boolean }): ChildExit | undefined {
  reaped ??= { status: allocate(4), usage: allocate(rusage.size) };
  const { status, usage } = reaped;
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

/** What one call gives. */
let reaped: { readonly status: Memory; readonly usage: Memory } | undefined;

/** What has become of a child. One that has ended is left to be reaped, and what is told of the others is told once. */
export type ChildChange = { readonly pid: number } & (
  | { readonly kind: "ended"; readonly killedBy: number | undefined }
  | { readonly kind: "stopped"; readonly signal: number }
  | { readonly kind: "continued" }
);

/** A change of some child, or of `pid`, that has not been taken yet; undefined when there is none. It stays to be taken. */
export function nextChange(sys: Sys, pid?: number): ChildChange | undefined {
  const info = waitFor(sys, pid, WEXITED | WSTOPPED | WCONTINUED | WNOWAIT);
  if (!info) return undefined;
  const child = siginfo.get(info, "si_pid");
  const status = siginfo.get(info, "si_status");
  switch (siginfo.get(info, "si_code")) {
    case CLD_STOPPED:
      return { pid: child, kind: "stopped", signal: status };
    case CLD_CONTINUED:
      return { pid: child, kind: "continued" };
    case CLD_EXITED:
      return { pid: child, kind: "ended", killedBy: undefined };
    default:
      return { pid: child, kind: "ended", killedBy: status };
  }
}

/** Takes the stop, or the going on, of a child. */
export function takeStop(sys: Sys, pid: number): void {
  waitFor(sys, pid, WSTOPPED | WCONTINUED);
}

function waitFor(sys: Sys, pid: number | undefined, options: number): Memory | undefined {
  changeInfo ??= allocate(siginfo.size);
  siginfo.set(changeInfo, "si_pid", 0);
  const which = pid === undefined ? P_ALL : P_PID;
  const result = retry(sys.waitid, which, pid ?? 0, changeInfo, options | WNOHANG);
  if (result === -errno.ECHILD) return undefined;
  check(result, "waitid");
  return siginfo.get(changeInfo, "si_pid") === 0 ? undefined : changeInfo;
}
let changeInfo: Memory | undefined;
