/** The PID file: a lock held for life decides who is the daemon, not the number in the file. */

import * as errno from "../../ffi/errno.ts";
import { LOCK_EX, LOCK_NB, O_CREAT, O_NOFOLLOW, O_RDWR } from "../../ffi/linux/constants.ts";
import { copyOf } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { Scope } from "../base/scope.ts";
import { fromUtf8, utf8 } from "../base/strings.ts";
import { check, retry, SystemError } from "./errors.ts";
import type { Fd, RawFd } from "./fd.ts";
import { isFile, open, readToEnd, removeFileIfPossible, statusOf, statusOfFd } from "./files.ts";
import { waitReadable } from "./poll.ts";

/** A held lock is tried again so often, and so many milliseconds later. */
const attemptsMax = 3;
const retryMs = 5;

/** A locked PID file. Disposing removes it, then lets the lock go. */
export class PidFile implements Disposable {
  readonly #sys: Sys;
  readonly #path: string;
  readonly #file: Fd;
  readonly #identity: string;

  constructor(sys: Sys, path: string, locked: { file: Fd; identity: string }) {
    this.#sys = sys;
    this.#path = path;
    this.#file = locked.file;
    this.#identity = locked.identity;
  }

  write(pid: number): void {
    check(this.#sys.ftruncate(this.#file.raw, 0), "ftruncate", this.#path);
    const text = copyOf(fromUtf8(`${pid}\n`));
    check(this.#sys.pwrite(this.#file.raw, text, text.length, 0), "write", this.#path);
  }

  [Symbol.dispose](): void {
    // Somebody may have removed ours and made another; that one is not ours to remove.
    if (isFile(this.#sys, this.#path, this.#identity)) removeFileIfPossible(this.#sys, this.#path);
    this.#file[Symbol.dispose]();
  }
}

/** Somebody else holds the lock; `pid` is what the file says, if it says anything. */
export interface Held {
  readonly heldBy: number | undefined;
}

/**
 * Locks `path` and writes our pid into it. What a dead process left there is taken over.
 * @throws SystemError when the file cannot be made, EACCES and ENOENT among them.
 */
export function acquirePidFile(sys: Sys, path: string): PidFile | Held {
  for (let attempt = 1; ; attempt++) {
    using owned = new Scope();
    // An existing file is told apart from a new one: it may be somebody's, given by mistake.
    const isNew = !statusOf(sys, path);
    const file = owned.use(open(sys, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o644));
    if (!tryLock(sys, file.raw)) {
      if (attempt === attemptsMax) return { heldBy: parsePid(readToEnd(sys, file.raw)) };
      waitReadable(sys, [], retryMs); // it may be a client that only looks: isPidFileHeld
      continue;
    }
    // Between open and lock the holder may have removed the name: then ours locks nothing.
    const { identity } = statusOfFd(sys, file.raw);
    if (statusOf(sys, path)?.identity !== identity) {
      if (attempt === attemptsMax) throw new SystemError("lock", errno.EAGAIN, path);
      continue;
    }
    if (!isNew && !isPidFile(readToEnd(sys, file.raw))) {
      throw new SystemError("use as a PID file", errno.EEXIST, path);
    }
    const pidFile = owned.use(new PidFile(sys, path, { file: file.move(), identity }));
    pidFile.write(sys.getpid());
    owned.move();
    return pidFile;
  }
}

/** Whether some process holds the PID file. To find out, its lock is taken for a moment. */
export function isPidFileHeld(sys: Sys, path: string): boolean {
  return readHolder(sys, path) !== "nobody";
}

/** The pid of the process that holds the PID file, if one does and the file says which. */
export function pidFileHolder(sys: Sys, path: string): number | undefined {
  const holder = readHolder(sys, path);
  return typeof holder === "number" ? holder : undefined;
}

function readHolder(sys: Sys, path: string): number | "somebody" | "nobody" {
  if (statusOf(sys, path)?.kind !== "file") return "nobody";
  using file = open(sys, path, O_RDWR | O_NOFOLLOW);
  if (tryLock(sys, file.raw)) return "nobody";
  return parsePid(readToEnd(sys, file.raw)) ?? "somebody";
}

/** Takes the lock without waiting; false when somebody holds it. See flock(2). */
export function tryLock(sys: Sys, fd: RawFd): boolean {
  const result = retry(sys.flock, fd, LOCK_EX | LOCK_NB);
  if (result === -errno.EAGAIN) return false;
  check(result, "flock");
  return true;
}

/** What a daemon leaves behind: its number, or nothing when it died before it could write it. */
function isPidFile(content: Uint8Array): boolean {
  return content.length === 0 || parsePid(content) !== undefined;
}

function parsePid(bytes: Uint8Array): number | undefined {
  const match = /^(\d+)\n?$/.exec(utf8(bytes));
  return match?.[1] ? Number(match[1]) : undefined;
}
