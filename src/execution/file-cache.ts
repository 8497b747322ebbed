/** What was made of small files, kept for as long as the files stay as they are. */
import * as errno from "../../ffi/errno.ts";
import { O_NOCTTY, O_NONBLOCK, O_RDONLY } from "../../ffi/linux/constants.ts";
import type { Sys } from "../../ffi/sys.ts";
import { configurationBytesMax, configurationFilesMax, fileClockMs } from "../base/limits.ts";
import { ConfigurationError } from "../domain/configuration.ts";
import { SystemError } from "../os/errors.ts";
import { type FileState, open, readToEnd, realPathOf, stateOf, stateOfFd } from "../os/files.ts";

/** A file as it was read. */
export interface ReadFile {
  /** Its own path, without links. */
  readonly realPath: string;
  readonly state: FileState;
  readonly bytes: Uint8Array;
}

interface Kept<Value> {
  readonly realPath: string;
  readonly version: string;
  readonly value: Value;
}

export class FileCache<Value> {
  readonly #sys: Sys;
  readonly #make: (file: ReadFile) => Value;
  readonly #kept = new Map<string, Kept<Value>>();

  constructor(sys: Sys, make: (file: ReadFile) => Value) {
    this.#sys = sys;
    this.#make = make;
  }

  /**
   * What is made of the regular file behind `path` as it is now: one statx(2) if it has not changed.
   * @returns undefined when there is none.
   * @throws ConfigurationError when it cannot be read.
   */
  get(path: string): Value | undefined {
    const state = stateOf(this.#sys, path);
    const kept = this.#kept.get(path);
    if (kept && state && this.#isCurrent(path, kept, state)) return kept.value;
    this.#kept.delete(path);
    if (state?.kind !== "file") return undefined;
    const readAtMs = Date.now();
    const file = this.#read(path);
    if (!file) return undefined;
    const value = this.#make(file);
    if (readAtMs - file.state.changedMs > fileClockMs) this.#keep(path, file, value);
    return value;
  }

  /** A link may lead elsewhere by now, to another name of the same file. */
  #isCurrent(path: string, { realPath, version }: Kept<Value>, state: FileState): boolean {
    if (state.version !== version) return false;
    return realPath === path || stateOf(this.#sys, realPath)?.version === version;
  }

  #keep(path: string, { realPath, state }: ReadFile, value: Value): void {
    if (this.#kept.size >= configurationFilesMax) {
      const [oldest] = this.#kept.keys();
      if (oldest !== undefined) this.#kept.delete(oldest);
    }
    this.#kept.set(path, { realPath, version: state.version, value });
  }

  /** All that is said about the file is said about what was opened. */
  #read(path: string): ReadFile | undefined {
    try {
      // What is there may be a pipe by now: without O_NONBLOCK this could wait for ever.
      using file = open(this.#sys, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
      const state = stateOfFd(this.#sys, file.raw);
      if (state.kind !== "file") return undefined;
      const realPath = realPathOf(this.#sys, file.raw);
      // Two paths that are not UTF-8 could become one text, and one be trusted for the other.
      if (realPath === undefined || realPath.includes("\ufffd")) {
        throw new ConfigurationError(`${path}: its path cannot be told (only UTF-8 is allowed)`);
      }
      const bytes = readToEnd(this.#sys, file.raw, configurationBytesMax);
      if (bytes.length > configurationBytesMax) {
        const most = `${configurationBytesMax / 1024} KiB`;
        throw new ConfigurationError(`${path}: too large (at most ${most} are allowed)`);
      }
      return { realPath, state, bytes };
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      if (error.errno === errno.ENOENT) return undefined;
      throw new ConfigurationError(`${path}: cannot be read: ${error.reason}`);
    }
  }
}
