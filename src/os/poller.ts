/** One epoll instance, level-triggered: descriptors to handlers. See epoll(7). */
import * as errno from "../../ffi/errno.ts";
import {
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLLIN,
  EPOLLOUT,
} from "../../ffi/linux/constants.ts";
import { allocate, type Memory } from "../../ffi/memory.ts";
import { epollEvent } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { check, SystemError } from "./errors.ts";
import { type Fd, own, type RawFd } from "./fd.ts";

const batchSize = 64;

export interface Readiness {
  readonly writable: boolean;
  /** There is something to read, or the peer has closed, which reading will tell. */
  readonly readable: boolean;
}

type Handler = (readiness: Readiness) => void;

/** Calls a handler when its descriptor is ready. Owns the epoll instance only. */
export class Poller implements Disposable {
  readonly #sys: Sys;
  readonly #epoll: Fd;
  readonly #events: Memory = allocate(epollEvent.size * batchSize);
  readonly #event: Memory = allocate(epollEvent.size);
  /** By a number of our own: one that is gone cannot be mistaken for a later descriptor's. */
  readonly #handlers = new Map<number, Handler>();
  readonly #tokens = new Map<RawFd, number>();
  #nextToken = 1;
  readonly #onFailure: (error: SystemError) => void;

  /** `onFailure` hears of system calls that failed in a handler: the others go on. */
  constructor(sys: Sys, onFailure: (error: SystemError) => void) {
    this.#sys = sys;
    this.#onFailure = onFailure;
    this.#epoll = own(sys, sys.epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  }

  /** Watches `fd` for reading until `remove`, which must come before it is closed. */
  add(fd: RawFd, handler: Handler): void {
    const token = this.#nextToken++;
    this.#control(EPOLL_CTL_ADD, fd, EPOLLIN, token);
    this.#handlers.set(token, handler);
    this.#tokens.set(fd, token);
  }

  /** Also (or no longer) watches for room to write, and for something to read. */
  watch(fd: RawFd, interest: Readiness): void {
    const events = (interest.readable ? EPOLLIN : 0) | (interest.writable ? EPOLLOUT : 0);
    this.#control(EPOLL_CTL_MOD, fd, events, this.#tokens.get(fd) ?? 0);
  }

  remove(fd: RawFd): void {
    if (!this.forget(fd)) return;
    // Ignoring a failure: the descriptor is about to be closed, which removes it as well, and an
    // event that comes all the same finds no handler.
    this.#sys.epoll_ctl(this.#epoll.raw, EPOLL_CTL_DEL, fd, null);
  }

  /** The same for one of which there is no copy, in any process: closing it ends the watching. @returns whether it was watched. */
  forget(fd: RawFd): boolean {
    const token = this.#tokens.get(fd);
    if (token === undefined) return false;
    this.#tokens.delete(fd);
    return this.#handlers.delete(token);
  }

  /**
   * Waits for `timeoutMs` at most (-1: for ever) and calls the handlers of what is ready.
   * @returns how many were ready; 0 when time ran out.
   */
  turn(timeoutMs = -1): number {
    const result = this.#sys.epoll_wait(this.#epoll.raw, this.#events, batchSize, timeoutMs);
    if (result === -errno.EINTR) return 0;
    const count = check(result, "epoll_wait");
    const ready: { token: number; events: number }[] = [];
    for (let index = 0; index < count; index++) {
      const base = index * epollEvent.size;
      ready.push({
        token: epollEvent.get(this.#events, "data", base),
        events: epollEvent.get(this.#events, "events", base),
      });
    }
    for (const { token, events } of ready) {
      // A handler before this one may have removed it.
      const handler = this.#handlers.get(token);
      try {
        handler?.({
          writable: (events & EPOLLOUT) !== 0,
          readable: (events & ~EPOLLOUT) !== 0,
        });
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        this.#onFailure(error);
      }
    }
    return count;
  }

  [Symbol.dispose](): void {
    this.#epoll[Symbol.dispose]();
  }

  #control(operation: number, fd: RawFd, events: number, token: number): void {
    epollEvent.set(this.#event, "events", events);
    epollEvent.set(this.#event, "data", token);
    check(this.#sys.epoll_ctl(this.#epoll.raw, operation, fd, this.#event), "epoll_ctl");
  }
}
