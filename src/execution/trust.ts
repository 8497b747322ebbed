/**
 * Which project files may be used: `prefork allow` records a file's real path and the hash of its
 * content, in a file of the user's own. Any change of the content asks again.
 */
import { O_CREAT, O_EXCL, O_WRONLY } from "../../ffi/linux/constants.ts";
import type { Sys } from "../../ffi/sys.ts";
import { utf8 } from "../base/strings.ts";
import { ConfigurationError } from "../domain/configuration.ts";
import { baseDirectory, type Variables } from "../domain/configuration-files.ts";
import {
  exists,
  type FileStatus,
  makePrivateDirectories,
  open,
  removeFile,
  removeFileIfPossible,
  rename,
  writeText,
} from "../os/files.ts";
import { FileCache } from "./file-cache.ts";

/** A file whose content is known. */
export interface KnownFile {
  readonly realPath: string;
  /** As `hashOf` gives it. */
  readonly hash: string;
}

/** SHA-256 in hexadecimal digits. */
export function hashOf(content: string | Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(content).digest("hex");
}

/** Why the user's own files of this kind cannot be trusted; undefined when they can. */
export function flawOf(sys: Sys, { uid, permissions }: FileStatus): string | undefined {
  if (uid !== 0 && uid !== sys.geteuid()) {
    return `it belongs to user ${uid} (only you or root may own it)`;
  }
  if ((permissions & 0o022) === 0) return undefined;
  return "others can write to it (mend it with chmod go-w)";
}

export class Trust {
  readonly #sys: Sys;
  readonly #records: FileCache<string | undefined>;

  constructor(sys: Sys) {
    this.#sys = sys;
    this.#records = new FileCache(sys, ({ state, bytes }) =>
      flawOf(sys, state) === undefined ? utf8(bytes) : undefined,
    );
  }

  /** Whether a file with this content was allowed, or one with this path and another content. */
  of(file: KnownFile, variable: Variables): "allowed" | "changed" | "unknown" {
    const directory = recordsDirectory(variable);
    if (directory === undefined) return "unknown";
    const record = this.#records.get(recordPath(directory, file.realPath));
    if (record === recordText(file)) return "allowed";
    return record === undefined ? "unknown" : "changed";
  }

  /** @throws ConfigurationError when there is no place for it; SystemError */
  allow(file: KnownFile, variable: Variables): void {
    const directory = neededDirectory(variable);
    makePrivateDirectories(this.#sys, directory);
    const path = recordPath(directory, file.realPath);
    const temporary = `${path}.${this.#sys.getpid()}`;
    removeFile(this.#sys, temporary); // of a process of the same number that was killed
    try {
      using record = open(this.#sys, temporary, O_WRONLY | O_CREAT | O_EXCL, 0o600);
      writeText(this.#sys, record.raw, recordText(file));
      rename(this.#sys, temporary, path);
    } catch (error) {
      removeFileIfPossible(this.#sys, temporary);
      throw error;
    }
  }

  /** @returns whether there was anything to revoke. @throws as `allow` */
  revoke(realPath: string, variable: Variables): boolean {
    const path = recordPath(neededDirectory(variable), realPath);
    const wasThere = exists(this.#sys, path);
    removeFile(this.#sys, path);
    return wasThere;
  }
}

function recordsDirectory(variable: Variables): string | undefined {
  const state = baseDirectory(variable, "XDG_STATE_HOME", ".local/state");
  return state === undefined ? undefined : `${state}/prefork/allowed`;
}

function neededDirectory(variable: Variables): string {
  const directory = recordsDirectory(variable);
  if (directory !== undefined) return directory;
  throw new ConfigurationError(
    "nowhere to keep what is allowed: neither HOME nor XDG_STATE_HOME is an absolute path (set one)",
  );
}

/** One file per allowed path. */
function recordPath(directory: string, realPath: string): string {
  return `${directory}/${hashOf(realPath)}`;
}

/** In the form of sha256sum(1). */
function recordText({ realPath, hash }: KnownFile): string {
  return `${hash}  ${realPath}\n`;
}
