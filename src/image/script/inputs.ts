/**
 * The files an image was made of, and the places where something was looked for in vain: whether
 * they are still as they were. This is asked before each job, so names are kept as libc takes them
 * and one block holds every answer; and where nothing was found, it is the directory that is asked
 * first: as long as it has not changed, no name has come into it.
 */
import { AT_FDCWD, S_IFDIR, S_IFMT, STATX_BASIC_STATS } from "../../../ffi/linux/constants.ts";
import { allocate, cString, type Memory } from "../../../ffi/memory.ts";
import { statx } from "../../../ffi/structs.ts";
import type { Sys } from "../../../ffi/sys.ts";
import { path } from "./builtins.ts";

/** The kernel's clock for files may be a tick behind ours, and does not move within one. */
const fileClockLagMs = 10;

/** Where in a `struct statx` it stands which file it is, and behind these, in which state. */
const identityOffsets: readonly number[] = [
  statx.offset("stx_ino"),
  statx.offset("stx_ino") + 4,
  statx.offset("stx_dev_major"),
  statx.offset("stx_dev_minor"),
];
const stateOffsets: readonly number[] = [
  ...identityOffsets,
  statx.offset("stx_size"),
  statx.offset("stx_size") + 4,
  // The change time: it moves with every write, and nobody can set it back.
  statx.offset("ctime_sec"),
  statx.offset("ctime_sec") + 4,
  statx.offset("ctime_nsec"),
];

/**
 * What something was, in numbers that are compared one by one: a text for each would be the greater
 * part of what a sweep costs.
 */
interface State {
  readonly isDirectory: boolean;
  readonly numbers: readonly number[];
}

interface Present {
  readonly path: string;
  readonly name: Memory;
  readonly state: State;
}

interface Directory {
  readonly name: Memory;
  /** Undefined when nothing is there, or it changed so lately that another change might not show. */
  readonly state: State | undefined;
  readonly absent: { readonly path: string; readonly name: Memory }[];
}

export class Inputs {
  readonly #sys: Sys;
  readonly #present: readonly Present[];
  readonly #directories: readonly Directory[];
  readonly #status: Memory = allocate(statx.size);
  /** As they are now. */
  constructor(sys: Sys, paths: Iterable<string>, nowMs: number) {
    this.#sys = sys;
    const present: Present[] = [];
    const directories = new Map<string, Directory>();
    for (const file of new Set(paths)) {
      const name = cString(file);
      const directory = this.#directoryOf(directories, path.dirname(file), nowMs);
      const state = this.#ask(name) ? this.#state() : undefined;
      if (state === undefined) directory.absent.push({ path: file, name });
      else present.push({ path: file, name, state });
    }
    this.#present = present;
    this.#directories = [...directories.values()].filter(({ absent }) => absent.length > 0);
  }

  /** How many are asked for before each job. */
  get count(): number {
    return this.#present.length + this.#directories.length;
  }

  /**
   * All by directory, for who watches directories: but for those in which nothing is, such as those
   * above the project, where others come and go.
   */
  get names(): Record<string, string[]> {
    const names: Record<string, string[]> = Object.create(null);
    const add = (file: string): void => {
      const directory = path.dirname(file);
      names[directory] ??= [];
      names[directory].push(path.basename(file));
    };
    for (const { path: file } of this.#present) add(file);
    const inhabited = new Set(Object.keys(names));
    for (const { path: file } of this.#directories.flatMap(({ absent }) => absent)) {
      if (inhabited.has(path.dirname(file))) add(file);
    }
    return names;
  }

  /** The first that is not what it was. */
  changed(): string | undefined {
    for (const { path: file, name, state } of this.#present) {
      if (!this.#ask(name) || !this.#isSame(state)) return file;
    }
    for (const { name, state, absent } of this.#directories) {
      if (state && this.#ask(name) && this.#isSame(state, stateOffsets)) continue;
      for (const { path: file, name: missing } of absent) if (this.#ask(missing)) return file;
    }
    return undefined;
  }

  /**
   * A file that was changed after `timeMs`: what was loaded may be older than what is known of it.
   */
  changedSince(timeMs: number): string | undefined {
    for (const { path: file, name, state } of this.#present) {
      if (!this.#ask(name) || !this.#isSame(state)) return `${file} has changed`;
      const isNew = !state.isDirectory && this.#changeMs() > timeMs - fileClockLagMs;
      if (isNew) return `${file} has just been changed`;
    }
    return undefined;
  }

  /** Looked at before what is in it: what comes between is noticed. */
  #directoryOf(known: Map<string, Directory>, directory: string, nowMs: number): Directory {
    const before = known.get(directory);
    if (before) return before;
    const name = cString(directory);
    const isOld = this.#ask(name) && this.#changeMs() <= nowMs - fileClockLagMs;
    const entry: Directory = { name, state: isOld ? this.#state() : undefined, absent: [] };
    known.set(directory, entry);
    return entry;
  }

  /** Looks at `name`, for the methods below. @returns whether something is there. */
  #ask(name: Memory): boolean {
    return this.#sys.statx(AT_FDCWD, name, 0, STATX_BASIC_STATS, this.#status) >= 0;
  }

  #state(): State {
    const { view } = this.#status;
    return {
      isDirectory: this.#isDirectory(),
      numbers: stateOffsets.map((offset) => view.getInt32(offset, true)),
    };
  }

  /** A directory's own times change with every name in it: that it is one says enough. */
  #isSame({ isDirectory, numbers }: State, offsets = offsetsOf(isDirectory)): boolean {
    const { view } = this.#status;
    for (let index = 0; index < offsets.length; index++) {
      const offset = offsets[index] as number; // it is in range
      if (view.getInt32(offset, true) !== numbers[index]) return false;
    }
    return isDirectory === this.#isDirectory();
  }

  #isDirectory(): boolean {
    return (statx.get(this.#status, "stx_mode") & S_IFMT) === S_IFDIR;
  }

  #changeMs(): number {
    const seconds = statx.get(this.#status, "ctime_sec");
    return seconds * 1000 + statx.get(this.#status, "ctime_nsec") / 1e6;
  }
}

function offsetsOf(isDirectory: boolean): readonly number[] {
  return isDirectory ? identityOffsets : stateOffsets;
}
