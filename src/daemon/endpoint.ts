/**
 * The daemon's place in the file system: the lock, the PID file and the socket.
 *
 * The lock decides who is the daemon of a socket; the socket is made under a temporary name by the
 * holder of the lock and renamed into place when it already listens, so nobody meets a half made
 * one, and what a killed daemon left behind is replaced.
 */

import type { Sys } from "../../ffi/sys.ts";
import { Scope } from "../base/scope.ts";
import { pidPathOf } from "../domain/discovery.ts";
import type { Fd, RawFd } from "../os/fd.ts";
import { isFile, removeFile, removeFileIfPossible, rename, statusOf } from "../os/files.ts";
import { acquirePidFile, PidFile } from "../os/lock.ts";
import { listenAt } from "../os/socket.ts";
import { openNameWatch } from "../os/watch.ts";

/** Another daemon has the socket. */
export class OccupiedError extends Error {
  override readonly name = "OccupiedError";
}

interface Parts {
  readonly socketPath: string;
  readonly identity: string;
  readonly listener: Fd;
  readonly watch: Fd;
  readonly locks: Scope;
}

/** A listening socket under its name, with its locks. Disposing takes all of it away. */
export class Endpoint implements Disposable {
  readonly #sys: Sys;
  readonly #parts: Parts;
  #isClosed = false;

  constructor(sys: Sys, parts: Parts) {
    this.#sys = sys;
    this.#parts = parts;
  }

  get socketPath(): string {
    return this.#parts.socketPath;
  }

  get listener(): RawFd {
    return this.#parts.listener.raw;
  }

  /** Readable when the socket's name may have been lost. */
  get nameWatch(): RawFd {
    return this.#parts.watch.raw;
  }

  /** Whether the name still leads to our socket. */
  isInPlace(): boolean {
    return isFile(this.#sys, this.#parts.socketPath, this.#parts.identity);
  }

  /** Takes the name away, if it is still ours, and stops listening. The locks stay. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.isInPlace()) removeFileIfPossible(this.#sys, this.#parts.socketPath);
    this.#parts.watch[Symbol.dispose]();
    this.#parts.listener[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
    this.#parts.locks[Symbol.dispose]();
  }
}

/**
 * Locks `socketPath` and listens there. A PID file asked for elsewhere is kept besides the one
 * beside the socket, which is the lock.
 * @throws OccupiedError when another daemon holds the socket; SystemError when it cannot be made.
 */
export function openEndpoint(sys: Sys, socketPath: string, pidFile?: string): Endpoint {
  using owned = new Scope();
  const locks = new Scope();
  owned.defer(() => locks[Symbol.dispose]());
  for (const path of new Set([
    pidPathOf(socketPath),
    ...(pidFile === undefined ? [] : [pidFile]),
  ])) {
    const lock = acquirePidFile(sys, path);
    if (!(lock instanceof PidFile)) {
      const who =
        lock.heldBy === undefined ? "another daemon" : `the daemon with pid ${lock.heldBy}`;
      throw new OccupiedError(`${who} holds ${socketPath} (its lock is ${path})`);
    }
    locks.use(lock);
  }
  const existing = statusOf(sys, socketPath);
  if (existing && existing.kind !== "socket") {
    throw new OccupiedError(`${socketPath} exists and is not a socket: it is left alone`);
  }
  const temporary = `${socketPath}.${sys.getpid()}`;
  removeFile(sys, temporary); // an earlier process with our number may have died between the steps
  owned.defer(() => removeFileIfPossible(sys, temporary));
  const listener = owned.use(listenAt(sys, temporary));
  const identity = statusOf(sys, temporary)?.identity ?? "";
  rename(sys, temporary, socketPath);
  owned.defer(() => removeFileIfPossible(sys, socketPath));
  const watch = openNameWatch(sys, socketPath);
  owned.move();
  return new Endpoint(sys, { socketPath, identity, listener, watch, locks });
}
