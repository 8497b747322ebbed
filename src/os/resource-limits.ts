/**
 * Resource limits: getrlimit(2), prlimit(2). All of a process travel as one block of bytes, the
 * kernel's `struct rlimit` of each resource in the order of its numbers.
 */
import * as errno from "../../ffi/errno.ts";
import { RLIMIT_NOFILE } from "../../ffi/linux/constants.ts";
import { allocate, copyOf, type Memory } from "../../ffi/memory.ts";
import { rlimit } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { resourceLimitCount, runtimeFilesMax } from "../base/limits.ts";
import { utf8 } from "../base/strings.ts";
import { check, SystemError } from "./errors.ts";
import { readFile } from "./files.ts";

/** A soft and a hard limit; the number of all ones is "unlimited". */
interface Limit {
  readonly soft: bigint;
  readonly hard: bigint;
}

/** The limits of this process as they are now. */
export function resourceLimits(sys: Sys): Memory {
  const { size } = rlimit;
  const limits = allocate(size * resourceLimitCount);
  const limit = allocate(size);
  for (let resource = 0; resource < resourceLimitCount; resource++) {
    check(sys.getrlimit(resource, limit), "getrlimit");
    limits.set(limit, resource * size);
  }
  return limits;
}

/**
 * The limits this process was started with. Bun raises the soft limit on open files as far as it
 * may before any script runs, and nothing keeps what it was. The best witness is our parent: who
 * has the same hard limit has most likely left us its soft one, too. With another hard limit both
 * were set on the way, which `ulimit` and `setrlimit` mostly do to the same value.
 */
export function inheritedLimits(sys: Sys, parentPid: number): Memory {
  const limits = resourceLimits(sys);
  const { soft, hard } = limitAt(limits, RLIMIT_NOFILE);
  const raised = min(hard, BigInt(runtimeFilesMax));
  if (soft !== raised) return limits; // it was higher: Bun has left it alone
  const parent = openFilesOf(sys, parentPid);
  if (!parent) setSoft(limits, RLIMIT_NOFILE, min(hard, usualFiles));
  else if (parent.hard === hard) setSoft(limits, RLIMIT_NOFILE, min(hard, parent.soft));
  return limits;
}

/**
 * A process's limits on open files, or undefined when there is no such process. From /proc, where
 * also those of another user's process can be read.
 */
function openFilesOf(sys: Sys, pid: number): Limit | undefined {
  if (pid === 0) return undefined; // a parent in another pid namespace
  let text: string;
  try {
    text = utf8(readFile(sys, `/proc/${pid}/limits`));
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
  // "Max open files", the soft limit, the hard one and the unit, in columns.
  const start = text.indexOf("Max open files") + limitsNameWidth;
  const column = (index: number): string => {
    const from = start + index * limitsColumnWidth;
    return text.slice(from, from + limitsColumnWidth).trim();
  };
  return { soft: numberOf(column(0)), hard: numberOf(column(1)) };
}

/** The columns of /proc/PID/limits: fs/proc/base.c prints "%-25s %-20s %-20s %-10s". */
const limitsNameWidth = 26;
const limitsColumnWidth = 21;

function numberOf(text: string): bigint {
  return text === "unlimited" ? unlimited : BigInt(text);
}
const unlimited = 0xffff_ffff_ffff_ffffn;

/** What nearly every system gives to its processes. */
const usualFiles = 1024n;

/**
 * Gives this process the limits in `wanted`. What the kernel denies to this user is set as near as
 * it allows. Limits on memory and descriptors bind at once: it is the last thing to do.
 */
export function applyLimits(sys: Sys, wanted: Memory): void {
  const present = resourceLimits(sys);
  for (let resource = 0; resource < resourceLimitCount; resource++) {
    const [is, shall] = [limitAt(present, resource), limitAt(wanted, resource)];
    if (is.soft === shall.soft && is.hard === shall.hard) continue;
    const result = sys.prlimit(0, resource, wanted.from(resource * rlimit.size), null);
    if (result !== -errno.EPERM) {
      check(result, "prlimit");
      continue;
    }
    const own = allocate(rlimit.size);
    check(sys.prlimit(0, resource, null, own), "prlimit");
    const { soft, hard } = limitAt(wanted, resource);
    const nearest = allocate(rlimit.size);
    const allowed = min(hard, limitAt(own, 0).hard);
    nearest.view.setBigUint64(rlimit.offset("rlim_max"), allowed, true);
    nearest.view.setBigUint64(rlimit.offset("rlim_cur"), min(soft, allowed), true);
    check(sys.prlimit(0, resource, nearest, null), "prlimit");
  }
}

/** What Bun does at its start, before any script: the soft limit on open files is as high as it may be. */
export function raiseOpenFiles(sys: Sys): void {
  const own = allocate(rlimit.size);
  check(sys.prlimit(0, RLIMIT_NOFILE, null, own), "prlimit");
  const { soft, hard } = limitAt(own, 0);
  const raised = min(hard, BigInt(runtimeFilesMax));
  if (soft >= raised) return;
  setSoft(own, 0, raised);
  check(sys.prlimit(0, RLIMIT_NOFILE, own, null), "prlimit");
}

/** Calls `use` while the soft limit of a resource is as high as the hard one. */
export function withoutSoftLimit(sys: Sys, resource: number, use: () => void): void {
  const own = allocate(rlimit.size);
  check(sys.prlimit(0, resource, null, own), "prlimit");
  const raised = copyOf(own);
  setSoft(raised, 0, limitAt(own, 0).hard);
  check(sys.prlimit(0, resource, raised, null), "prlimit");
  try {
    use();
  } finally {
    sys.prlimit(0, resource, own, null); // cannot fail: the hard limit has not been touched
  }
}

function limitAt(limits: Memory, resource: number): Limit {
  const base = resource * rlimit.size;
  return {
    soft: limits.view.getBigUint64(base + rlimit.offset("rlim_cur"), true),
    hard: limits.view.getBigUint64(base + rlimit.offset("rlim_max"), true),
  };
}

function setSoft(limits: Memory, resource: number, soft: bigint): void {
  limits.view.setBigUint64(resource * rlimit.size + rlimit.offset("rlim_cur"), soft, true);
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
