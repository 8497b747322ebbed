/**
 * The files an image was made of, and the places where something was looked for in vain: whether
 * they are still as they were. This is asked before each job, so names are kept as libc takes them
 * and one block holds every answer; and where nothing was found, it is the directory that is asked
 * first: as long as it has not changed, no name has come into it.
 */
import path from "node:path";
import { AT_FDCWD, STATX_BASIC_STATS } from "../../../ffi/linux/constants.ts";
import { allocate, cString, type Memory } from "../../../ffi/memory.ts";
import { statx } from "../../../ffi/structs.ts";
import type { Sys } from "../../../ffi/sys.ts";

/** The kernel's clock for files may be a tick behind ours, and does not move within one. */
const fileClockLagMs = 10;

/** What `path` is, in one text; undefined when nothing is there. */
type State = string | undefined;

interface Present {
  readonly path: string;
  readonly name: Memory;
  readonly state: State;
}

interface Directory {
  readonly name: Memory;
  /** Undefined also when it changed so lately that another change might not show. */
  state: State;
  readonly absent: { readonly path: string; readonly name: Memory }[];
}

export class Inputs {
  readonly #sys: Sys;
  readonly #present: readonly Present[];
  readonly #directories: readonly Directory[];
  readonly #status: Memory = allocate(statx.size);
  readonly #offsets = {
    mode: statx.offset("stx_mode"),
    size: statx.offset("stx_size"),
    inode: statx.offset("stx_ino"),
    // The change time: it moves with every write, and nobody can set it back.
    seconds: statx.offset("ctime_sec"),
    nanoseconds: statx.offset("ctime_nsec"),
    device: statx.offset("stx_dev_major"),
  };

  /** As they are now. */
  constructor(sys: Sys, paths: Iterable<string>, nowMs: number) {
    this.#sys = sys;
    const present: Present[] = [];
    const directories = new Map<string, Directory>();
    for (const file of new Set(paths)) {
      const name = cString(file);
      const directory = this.#directoryOf(directories, path.dirname(file), nowMs);
      const state = this.#fileState(name);
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
      if (this.#fileState(name) !== state) return file;
    }
    for (const directory of this.#directories) {
      const state = this.#state(directory.name);
      if (state === directory.state && state !== undefined) continue;
      for (const { path: file, name } of directory.absent) {
        if (this.#fileState(name) !== undefined) return file;
      }
    }
    return undefined;
  }

  /**
   * A file that was changed after `timeMs`: what was loaded may be older than what is known of it.
   */
  changedSince(timeMs: number): string | undefined {
    for (const { path: file, name, state } of this.#present) {
      if (this.#fileState(name) !== state) return `${file} has changed`;
      const isNew = !state?.startsWith("directory") && this.#changeMs() > timeMs - fileClockLagMs;
      if (isNew) return `${file} has just been changed`;
    }
    return undefined;
  }

  /** Looked at before what is in it: what comes between is noticed. */
  #directoryOf(known: Map<string, Directory>, directory: string, nowMs: number): Directory {
    const before = known.get(directory);
    if (before) return before;
    const name = cString(directory);
    const state = this.#state(name);
    const isNew = state !== undefined && this.#changeMs() > nowMs - fileClockLagMs;
    const entry: Directory = { name, state: isNew ? undefined : state, absent: [] };
    known.set(directory, entry);
    return entry;
  }

  /** A directory's own times change with every name in it: that it is one says enough. */
  #fileState(name: Memory): State {
    const state = this.#state(name);
    if (state === undefined) return undefined;
    const { view } = this.#status;
    const isDirectory = (view.getUint16(this.#offsets.mode, true) & 0o170000) === 0o040000;
    return isDirectory ? `directory ${view.getBigUint64(this.#offsets.inode, true)}` : state;
  }

  #state(name: Memory): State {
    if (this.#sys.statx(AT_FDCWD, name, 0, STATX_BASIC_STATS, this.#status) < 0) return undefined;
    const { view } = this.#status;
    const { inode, size, seconds, nanoseconds, device } = this.#offsets;
    const change = `${view.getBigInt64(seconds, true)}.${view.getUint32(nanoseconds, true)}`;
    const file = `${view.getBigUint64(device, true)} ${view.getBigUint64(inode, true)}`;
    return `${file} ${view.getBigUint64(size, true)} ${change}`;
  }

  /** The change time of what was asked for last. */
  #changeMs(): number {
    const { view } = this.#status;
    const seconds = Number(view.getBigInt64(this.#offsets.seconds, true));
    return seconds * 1000 + view.getUint32(this.#offsets.nanoseconds, true) / 1e6;
  }
}
