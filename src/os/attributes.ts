/**
 * What a process hands on through exec(2) and no shell has a word for: how it is scheduled, on which CPUs, with which
 * priority of its reads and writes, its place before the OOM killer, and the like. See execve(2), sched(7).
 *
 * Who takes them on gets what the kernel grants its user. What is denied is left as it is: no result below is checked.
 */
import {
  IOPRIO_CLASS_SHIFT,
  IOPRIO_WHO_PROCESS,
  O_RDWR,
  PR_GET_NO_NEW_PRIVS,
  PR_GET_TIMERSLACK,
  PR_SET_NO_NEW_PRIVS,
  PR_SET_TIMERSLACK,
  PRIO_PROCESS,
  SCHED_OTHER,
  SYS_ioprio_get,
  SYS_ioprio_set,
  SYS_prctl,
  SYS_sched_getaffinity,
  SYS_sched_getattr,
  SYS_sched_setaffinity,
  SYS_sched_setattr,
} from "../../ffi/linux/constants.ts";
import { allocate, copyOf, type Memory } from "../../ffi/memory.ts";
import { schedAttr } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { affinitySizeMax, schedAttrSize, shortTurnNs } from "../base/limits.ts";
import { fromLatin1, latin1 } from "../base/strings.ts";
import { SystemError } from "./errors.ts";
import { numbersIn, open, readFile, writeAll } from "./files.ts";
import { niceValue } from "./process.ts";

export interface Attributes {
  /** Undefined, here and below: it cannot be told. */
  readonly oomScoreAdj: number | undefined;
  readonly coredumpFilter: number | undefined;
  readonly personality: number | undefined;
  readonly noNewPrivs: boolean;
  /** The class and what it says of it; see ioprio_set(2). */
  readonly ioPriority: number | undefined;
  /** 0: it cannot be told. */
  readonly timerSlackNs: bigint;
  /** `struct sched_attr` in its first version, or nothing. */
  readonly scheduling: Uint8Array;
  /** A set of CPUs as the kernel has it, or nothing. */
  readonly affinity: Uint8Array;
}

const oomScoreAdjFile = "/proc/self/oom_score_adj";
const coredumpFilterFile = "/proc/self/coredump_filter";

/** Those of this process. */
export function readAttributes(sys: Sys): Attributes {
  return {
    oomScoreAdj: numberIn(sys, oomScoreAdjFile, 10),
    coredumpFilter: numberIn(sys, coredumpFilterFile, 16),
    personality: known(personality(sys)),
    noNewPrivs: hasNoNewPrivs(sys),
    ioPriority: known(ioPriority(sys)),
    timerSlackNs: timerSlackNs(sys),
    scheduling: scheduling(sys),
    affinity: affinity(sys),
  };
}

/** Takes them on, and a nice value; each only where this process has another. */
export function applyAttributes(sys: Sys, wanted: Attributes & { readonly nice: number }): void {
  const { oomScoreAdj, coredumpFilter } = wanted;
  if (oomScoreAdj !== undefined && oomScoreAdj !== numberIn(sys, oomScoreAdjFile, 10)) {
    tryWrite(sys, oomScoreAdjFile, `${oomScoreAdj}`);
  }
  if (coredumpFilter !== undefined && coredumpFilter !== numberIn(sys, coredumpFilterFile, 16)) {
    tryWrite(sys, coredumpFilterFile, `0x${coredumpFilter.toString(16)}`);
  }
  setScheduling(sys, wanted.scheduling);
  if (wanted.nice !== niceValue(sys)) {
    for (const thread of threads(sys)) sys.setpriority(PRIO_PROCESS, thread, wanted.nice);
  }
  setAffinity(sys, wanted.affinity);
  setIoPriority(sys, wanted.ioPriority);
  const slack = wanted.timerSlackNs;
  if (slack !== 0n && slack !== timerSlackNs(sys)) {
    sys.prctl(PR_SET_TIMERSLACK, Number(slack < slackMax ? slack : slackMax), 0, 0, 0);
  }
  if (wanted.personality !== undefined && wanted.personality !== personality(sys)) {
    sys.personality(wanted.personality);
  }
  if (wanted.noNewPrivs && !hasNoNewPrivs(sys)) sys.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/** What a number of JavaScript's holds: some hundred days. */
const slackMax = BigInt(Number.MAX_SAFE_INTEGER);

/** personality(2) answers with the present one for this. */
const askForPersonality = 0xffff_ffff;

function personality(sys: Sys): number {
  return sys.personality(askForPersonality);
}

function hasNoNewPrivs(sys: Sys): boolean {
  return sys.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) === 1;
}

function timerSlackNs(sys: Sys): bigint {
  const slack = sys.prctl_long(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
  return slack < 0 ? 0n : BigInt(slack);
}

function ioPriority(sys: Sys): number {
  return sys.ioprio_get(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
}

function setIoPriority(sys: Sys, wanted: number | undefined): void {
  if (wanted === undefined || sameIoPriority(wanted, ioPriority(sys))) return;
  const value = hasIoClass(wanted) ? wanted : 0;
  for (const thread of threads(sys)) {
    sys.ioprio_set(SYS_ioprio_set, IOPRIO_WHO_PROCESS, thread, value);
  }
}

/** Without a class the priority follows the nice value, and what else is said of it means nothing. */
function sameIoPriority(a: number, b: number): boolean {
  return a === b || (!hasIoClass(a) && !hasIoClass(b));
}

function hasIoClass(priority: number): boolean {
  return priority >> IOPRIO_CLASS_SHIFT !== 0;
}

function scheduling(sys: Sys): Memory | Uint8Array {
  const attributes = allocate(schedAttrSize);
  const result = sys.sched_getattr(SYS_sched_getattr, 0, attributes, schedAttrSize, 0);
  return result < 0 ? nothing : attributes;
}

/** The nice value in it is left alone: it has its own way, on which the rest does not depend. */
function setScheduling(sys: Sys, wanted: Uint8Array): void {
  const own = scheduling(sys);
  if (own.length === 0 || wanted.length === 0) return;
  const [present, attributes] = [copyOf(own), copyOf(wanted)];
  schedAttr.set(attributes, "sched_nice", schedAttr.get(present, "sched_nice"));
  if (isEqual(attributes, present)) return;
  for (const thread of threads(sys)) {
    sys.sched_setattr(SYS_sched_setattr, thread, attributes, 0);
  }
}

/**
 * Asks for short turns on a processor, which come soon: a process that works for some hundred microseconds when it is
 * woken need not wait for the turn of a job to end. Inherited by children. Linux 6.12; before, nothing changes. See the
 * slice of EEVDF in sched_setattr(2).
 */
export function preferShortTurns(sys: Sys): void {
  const own = scheduling(sys);
  if (own.length === 0) return;
  const attributes = copyOf(own);
  if (schedAttr.get(attributes, "sched_policy") !== SCHED_OTHER) return; // somebody has decided otherwise
  schedAttr.set(attributes, "sched_runtime", shortTurnNs);
  sys.sched_setattr(SYS_sched_setattr, 0, attributes, 0);
}

function affinity(sys: Sys): Uint8Array {
  const cpus = allocate(affinitySizeMax);
  const size = sys.sched_getaffinity(SYS_sched_getaffinity, 0, cpus.length, cpus);
  return size < 0 ? nothing : cpus.subarray(0, size);
}

function setAffinity(sys: Sys, wanted: Uint8Array): void {
  if (wanted.length === 0 || isEqual(wanted, affinity(sys))) return;
  const cpus = copyOf(wanted);
  for (const thread of threads(sys)) {
    sys.sched_setaffinity(SYS_sched_setaffinity, thread, cpus.length, cpus);
  }
}

/** What the kernel keeps for each thread is one for all of them in a process that was just started. */
function threads(sys: Sys): number[] {
  return numbersIn(sys, "/proc/self/task");
}

function known(value: number): number | undefined {
  return value < 0 ? undefined : value;
}

function numberIn(sys: Sys, path: string, radix: number): number | undefined {
  try {
    const number = Number.parseInt(latin1(readFile(sys, path)), radix);
    return Number.isNaN(number) ? undefined : number;
  } catch (error) {
    if (error instanceof SystemError) return undefined; // this kernel has no such file
    throw error;
  }
}

function tryWrite(sys: Sys, path: string, text: string): void {
  try {
    using file = open(sys, path, O_RDWR);
    writeAll(sys, file.raw, fromLatin1(text));
  } catch (error) {
    if (!(error instanceof SystemError)) throw error; // ignoring what is denied: see above
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

const nothing: Uint8Array = new Uint8Array(0);
