/** What /proc tells about a process: its descriptors, children, memory, and whether it is there. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { until } from "./wait.ts";

/** The fields of /proc/PID/stat that tests ask for. See proc(5). */
export interface ProcessStat {
  readonly pid: number;
  readonly name: string;
  /** R running, S sleeping, T stopped, Z zombie. */
  readonly state: string;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  /** The controlling terminal, 0 for none. */
  readonly terminal: number;
  /** The foreground process group of that terminal, -1 without one. */
  readonly foreground: number;
}

/** A process as the kernel shows it, or undefined when there is none (a zombie is one). */
export function processStat(pid: number): ProcessStat | undefined {
  const text = tryRead(`/proc/${pid}/stat`);
  // The name stands in parentheses and may hold anything, parentheses included.
  const match = text && /^(\d+) \((.*)\) (\S) (-?\d+) (-?\d+) (-?\d+) (-?\d+) (-?\d+)/s.exec(text);
  if (!match) return undefined;
  const [, own, name = "", state = "", ...numbers] = match;
  const [parent = 0, group = 0, session = 0, terminal = 0, foreground = 0] = numbers.map(Number);
  return { pid: Number(own), name, state, parent, group, session, terminal, foreground };
}

/** Whether the process has ended; one that only waits to be reaped has. */
export function isGone(pid: number): boolean {
  const stat = processStat(pid);
  return stat === undefined || stat.state === "Z" || stat.state === "X";
}

export function childrenOf(pid: number): ProcessStat[] {
  return allProcesses().filter(({ parent }) => parent === pid);
}

/** All processes below `pid`, the nearest first. */
export function descendantsOf(pid: number): ProcessStat[] {
  const all = allProcesses();
  const found: ProcessStat[] = [];
  let parents = new Set([pid]);
  while (parents.size > 0) {
    const generation = all.filter(({ parent }) => parents.has(parent));
    found.push(...generation);
    parents = new Set(generation.map((stat) => stat.pid));
  }
  return found;
}

export function zombiesOf(pid: number): ProcessStat[] {
  return childrenOf(pid).filter(({ state }) => state === "Z");
}

function allProcesses(): ProcessStat[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => processStat(Number(name)))
    .filter((stat) => stat !== undefined);
}

/** What each open descriptor of a process leads to, by number. */
export function descriptorsOf(pid: number): Map<number, string> {
  const table = new Map<number, string>();
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    try {
      table.set(Number(name), readlinkSync(`/proc/${pid}/fd/${name}`));
    } catch {
      // Ignoring it: closed since the directory was read.
    }
  }
  return table;
}

/** What a process has opened for itself: the kinds of its descriptors above stderr, sorted. */
export function ownDescriptorKinds(pid: number): string[] {
  return [...descriptorsOf(pid)]
    .filter(([number]) => number > 2)
    .map(([, to]) => to.replace(/:\[\d+\]$/, ""))
    .sort();
}

export function descriptorCount(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** A field of /proc/PID/status, such as "Umask" or "SigBlk", of the main or another thread. */
export function statusField(pid: number, name: string, thread: number = pid): string {
  const line = readFileSync(`/proc/${pid}/task/${thread}/status`, "latin1")
    .split("\n")
    .find((text) => text.startsWith(`${name}:`));
  if (line === undefined) throw new Error(`/proc/${pid}/status has no ${name}`);
  return line.slice(name.length + 1).trim();
}

/** Memory that is the process's own and in RAM, in KiB: what a leak would add to. */
export function residentKiB(pid: number): number {
  return Number.parseInt(statusField(pid, "VmRSS"), 10);
}

export function signalProcess(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false; // it is gone
  }
}

function tryRead(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
}

/** Waits for a child of `parent` with that name (its first 15 bytes) and returns it. */
export async function childNamed(parent: number, name: string): Promise<ProcessStat> {
  return await until(`${parent} has a child named ${name}`, () =>
    childrenOf(parent).find((stat) => stat.name === name.slice(0, 15)),
  );
}
