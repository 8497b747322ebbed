/** A job's context, taken on step by step by the process that becomes the job. */
import { copyOf } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { Scope } from "../base/scope.ts";
import { applyAttributes } from "../os/attributes.ts";
import { check } from "../os/errors.ts";
import { duplicate, type Fd, type RawFd } from "../os/fd.ts";
import { closeOthers, replaceFd } from "../os/files.ts";
import { applyLimits } from "../os/resource-limits.ts";
import { ignoreSignals, setSignalMask } from "../os/signals.ts";
import { clearOfTargets } from "../os/spawn.ts";
import type { RunRequest } from "../protocol/messages.ts";

/** A job is a process group of its own; with a terminal of its own, a session. */
export function leaveGroup(sys: Sys, { controllingTerminal }: RunRequest): void {
  if (controllingTerminal) check(sys.setsid(), "setsid");
  else check(sys.setpgid(0, 0), "setpgid");
}

/** Takes on directory and umask. */
export function enterDirectory(sys: Sys, request: RunRequest, fds: readonly RawFd[]): void {
  sys.umask(request.attributes.umask);
  check(sys.fchdir(fds[request.directoryIndex] as RawFd), "fchdir"); // the decoder checked the index
}

/**
 * Puts the descriptors in place and closes all others but `link`, which is consumed. @returns it, out of the way of the
 * job's descriptors.
 */
export function placeDescriptors(
  sys: Sys,
  request: RunRequest,
  fds: readonly RawFd[],
  link: Fd,
): Fd {
  const descriptors = new Map<number, RawFd>();
  for (const { number, index } of request.descriptors) {
    descriptors.set(number, fds[index] as RawFd); // the decoder checked the index
  }
  const highest = Math.max(2, ...descriptors.keys());
  const moved = duplicate(sys, link.raw, highest + 1);
  const copies = new Scope(); // closed with all the others, by number
  for (const [number, source] of clearOfTargets(sys, descriptors, copies)) {
    replaceFd(sys, source, number);
  }
  closeOthers(sys, [...descriptors.keys(), moved.raw]);
  return moved;
}

/** The last step: from here on limits and signals are the job's. */
export function enterAttributes(sys: Sys, { attributes }: RunRequest): void {
  const { ignoredSignals, blockedSignals, limits } = attributes;
  applyAttributes(sys, attributes);
  ignoreSignals(sys, ignoredSignals);
  setSignalMask(sys, blockedSignals);
  applyLimits(sys, copyOf(limits));
}
