/**
 * The files an image was made of: whether they are still what they were. Asked before each job, so
 * the names are kept as libc takes them, and one block holds every answer.
 */
import { AT_FDCWD, STATX_BASIC_STATS } from "../../../ffi/linux/constants.ts";
import { allocate, cString, type Memory } from "../../../ffi/memory.ts";
import { statx } from "../../../ffi/structs.ts";
import type { Sys } from "../../../ffi/sys.ts";

/** The kernel's clock for files may be a tick behind. */
const fileClockLagMs = 10;

interface Input {
  readonly path: string;
  readonly name: Memory;
  /** What it was: kind, size, inode, device and the time of its last change; undefined: nothing was there. */
  readonly state: string | undefined;
}

export class Inputs {
  readonly #sys: Sys;
  readonly #inputs: readonly Input[];
  readonly #status: Memory = allocate(statx.size);

  /** As they are now. */
  constructor(sys: Sys, paths: Iterable<string>) {
    this.#sys = sys;
    this.#inputs = [...new Set(paths)].map((path) => {
      const name = cString(path);
      return { path, name, state: this.#stateOf(name) };
    });
  }

  get count(): number {
    return this.#inputs.length;
  }

  /** The first file that is not what it was. */
  changed(): string | undefined {
    for (const { path, name, state } of this.#inputs) {
      if (this.#stateOf(name) !== state) return path;
    }
    return undefined;
  }

  /** A file that was changed after `timeMs`: what was loaded may be older than what is known of it. */
  changedSince(timeMs: number): string | undefined {
    const { view } = this.#status;
    for (const { path, name, state } of this.#inputs) {
      if (state === undefined || state.startsWith("directory")) continue;
      if (this.#stateOf(name) !== state) return `${path} has changed`;
      if (
        Number(view.getBigInt64(offsets().seconds, true)) * 1000 +
          view.getUint32(offsets().nanoseconds, true) / 1e6 >
        timeMs - fileClockLagMs
      ) {
        return `${path} has just been changed`;
      }
    }
    return undefined;
  }

  #stateOf(name: Memory): string | undefined {
    const status = this.#status;
    if (this.#sys.statx(AT_FDCWD, name, 0, STATX_BASIC_STATS, status) < 0) return undefined;
    const { view } = status;
    const { mode, size, inode, seconds, nanoseconds, device } = offsets();
    // A directory's times change with every file in it: that it is one says enough.
    const isDirectory = (view.getUint16(mode, true) & 0o170000) === 0o040000;
    if (isDirectory) return `directory ${view.getBigUint64(inode, true)}`;
    return `${view.getBigUint64(inode, true)} ${view.getBigUint64(size, true)} ${view.getBigInt64(seconds, true)} ${view.getUint32(nanoseconds, true)} ${view.getBigUint64(device, true)}`;
  }
}

let known: ReturnType<typeof readOffsets> | undefined;
function offsets(): ReturnType<typeof readOffsets> {
  known ??= readOffsets();
  return known;
}

function readOffsets() {
  return {
    mode: statx.offset("stx_mode"),
    size: statx.offset("stx_size"),
    inode: statx.offset("stx_ino"),
    // The change time: it moves with every write, and nobody can set it back.
    seconds: statx.offset("stx_ctime"),
    nanoseconds: statx.offset("stx_ctime") + 8,
    device: statx.offset("stx_dev_major"),
  };
}
