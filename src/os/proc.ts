/** What /proc says of processes, ourselves and others. See proc(5). */
import type { Sys } from "../../ffi/sys.ts";
import { latin1, utf8 } from "../base/strings.ts";
import { SystemError } from "./errors.ts";
import { linkTarget, readFile } from "./files.ts";

/** What /proc/PID/status says of a process, as it was when this was made. See proc(5). */
export class ProcessStatus {
  readonly #text: string;

  constructor(sys: Sys, pid = "self") {
    this.#text = utf8(readFile(sys, `/proc/${pid}/status`));
  }

  /** That of another process; undefined when there is none of this number. */
  static of(sys: Sys, pid: string): ProcessStatus | undefined {
    try {
      return new ProcessStatus(sys, pid);
    } catch (error) {
      if (error instanceof SystemError) return undefined;
      throw error;
    }
  }

  /** The text of one line. */
  field(name: string): string {
    const start = this.#text.indexOf(`\n${name}:\t`) + name.length + 3;
    return this.#text.slice(start, this.#text.indexOf("\n", start));
  }
}

/** Where a process stands among those of its terminal. */
export interface Standing {
  readonly group: number;
  readonly session: number;
  /** The process group in the foreground of its controlling terminal; -1 when it has none. */
  readonly foreground: number;
}

/** That of any process; undefined when there is none of this number. See proc(5), stat. */
export function standingOf(sys: Sys, pid: number): Standing | undefined {
  try {
    const field = statFields(sys, String(pid));
    return { group: field(5), session: field(6), foreground: field(8) };
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
}

/**
 * Reads /proc/PID/stat. @returns its numbers by their places in proc(5), from 4 on: the second field is the name, which
 * may hold anything. @throws SystemError
 */
export function statFields(sys: Sys, pid = "self"): (place: number) => number {
  const text = latin1(readFile(sys, `/proc/${pid}/stat`));
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (place) => Number(fields[place - 3]);
}

/**
 * Whether our terminal is ours to use: who is in the background would take what is typed at a shell's
 * prompt, and change the settings under its line editor. A terminal that is not the controlling one has no foreground.
 */
export function isInForeground(sys: Sys): boolean {
  const standing = standingOf(sys, sys.getpid());
  return !standing || standing.foreground < 0 || standing.foreground === standing.group;
}

/**
 * Whether a process is in our pid namespace: the numbers it names mean the same here. False when that cannot be told.
 * See pid_namespaces(7).
 */
export function sharesPidNamespace(sys: Sys, pid: number): boolean {
  const own = linkTarget(sys, "/proc/self/ns/pid");
  return own !== undefined && own === linkTarget(sys, `/proc/${pid}/ns/pid`);
}

/**
 * Whether a user's number stands for everybody who has none in our user namespace: then nobody can be told by it.
 * See user_namespaces(7).
 */
export function isAnybody(sys: Sys, uid: number): boolean {
  const overflow = Number.parseInt(latin1(readFile(sys, "/proc/sys/kernel/overflowuid")), 10);
  if (uid !== overflow) return false;
  const map = latin1(readFile(sys, "/proc/self/uid_map")).trim().split(/\s+/).map(Number);
  const [first, , count] = map;
  return first !== 0 || count !== usersMax;
}

/** A map of so many leaves nobody out. */
const usersMax = 0xffff_ffff;

/**
 * How many threads of the machine compute or wait for a processor, ourselves included; undefined
 * when that cannot be told. See proc(5), loadavg.
 */
export function runningCount(sys: Sys): number | undefined {
  try {
    const [, , , counts = ""] = latin1(readFile(sys, "/proc/loadavg")).split(" ");
    const count = Number.parseInt(counts, 10);
    return Number.isNaN(count) ? undefined : count;
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
}

/** What a process has used of a processor, in ms; undefined when it is gone. See stat in proc(5). */
export function processorMs(sys: Sys, pid: number): number | undefined {
  try {
    const field = statFields(sys, String(pid));
    return (field(14) + field(15)) * clockTickMs;
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
}

/** USER_HZ is 100 on x86-64 and arm64. */
const clockTickMs = 10;

/** The memory of a process in KiB. See proc(5), smaps_rollup. */
export interface MemoryUse {
  /** Shared pages counted by their share. */
  readonly proportionalKiB: number;
  readonly privateKiB: number;
  readonly sharedKiB: number;
}

/** Undefined when that cannot be told: the process is gone. */
export function memoryUse(sys: Sys, pid: number): MemoryUse | undefined {
  let rollup: string;
  try {
    rollup = latin1(readFile(sys, `/proc/${pid}/smaps_rollup`));
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
  const kibibytes = (name: string): number => {
    const start = rollup.indexOf(`\n${name}:`) + name.length + 2;
    return Number.parseInt(rollup.slice(start), 10);
  };
  return {
    proportionalKiB: kibibytes("Pss"),
    privateKiB: kibibytes("Private_Clean") + kibibytes("Private_Dirty"),
    sharedKiB: kibibytes("Shared_Clean") + kibibytes("Shared_Dirty"),
  };
}
