/** Deadlines over one timerfd, so that time is a descriptor like all others. */
import * as errno from "../../ffi/errno.ts";
import { CLOCK_MONOTONIC, TFD_CLOEXEC, TFD_NONBLOCK } from "../../ffi/linux/constants.ts";
import { allocate } from "../../ffi/memory.ts";
import { itimerspec } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { check } from "./errors.ts";
import { type Fd, own, type RawFd } from "./fd.ts";

/** A deadline that can be called off. */
export interface Timer {
  readonly dueMs: number;
  cancel(): void;
}

/** Calls back when deadlines pass. `nowMs` is a monotonic clock in milliseconds. */
export class Timers implements Disposable {
  readonly #sys: Sys;
  readonly #nowMs: () => number;
  readonly #fd: Fd;
  readonly #pending = new Map<Timer, () => void>();
  /** What the kernel's timer is set to; undefined when it is off. */
  #armedMs: number | undefined;

  constructor(sys: Sys, nowMs: () => number) {
    this.#sys = sys;
    this.#nowMs = nowMs;
    const flags = TFD_CLOEXEC | TFD_NONBLOCK;
    this.#fd = own(sys, sys.timerfd_create(CLOCK_MONOTONIC, flags), "timerfd_create");
  }

  /** Readable when a deadline has passed: call `expire` then. */
  get raw(): RawFd {
    return this.#fd.raw;
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer: Timer = {
      dueMs: this.#nowMs() + delayMs,
      cancel: () => {
        this.#pending.delete(timer);
      },
    };
    this.#pending.set(timer, callback);
    // A cancelled timer leaves the kernel's set: it fires once for nothing, which is cheaper than
    // two system calls for every deadline that is met.
    if (this.#armedMs === undefined) this.#armNext();
    else if (timer.dueMs < this.#armedMs) this.#arm(timer.dueMs);
    return timer;
  }

  expire(): void {
    const count = allocate(8);
    const result = this.#sys.read(this.#fd.raw, count, count.length);
    if (result !== -errno.EAGAIN) check(result, "read");
    this.#armedMs = undefined;
    const now = this.#nowMs();
    try {
      for (const [timer, callback] of [...this.#pending]) {
        if (timer.dueMs <= now && this.#pending.delete(timer)) callback();
      }
    } finally {
      // Also those that are due now and were not reached because one before them failed.
      this.#armNext();
    }
  }

  [Symbol.dispose](): void {
    this.#pending.clear();
    this.#fd[Symbol.dispose]();
  }

  /** For the first of all deadlines: one before them may have failed to set the kernel's timer. */
  #armNext(): void {
    const next = Math.min(...[...this.#pending.keys()].map((timer) => timer.dueMs));
    if (Number.isFinite(next)) this.#arm(next);
  }

  #arm(dueMs: number): void {
    // Zero would disarm it, and a deadline must have passed when its timer fires: round up.
    const delayMs = Math.max(1, Math.ceil(dueMs - this.#nowMs()));
    const spec = allocate(itimerspec.size);
    itimerspec.set(spec, "value_sec", Math.floor(delayMs / 1000));
    itimerspec.set(spec, "value_nsec", (delayMs % 1000) * 1_000_000);
    // Ignoring a failure, which the kernel has no reason for: whoever wants a deadline is in the
    // middle of something, and the next one to be set tries again for the first of all.
    const result = this.#sys.timerfd_settime(this.#fd.raw, 0, spec, null);
    this.#armedMs = result < 0 ? undefined : dueMs;
  }
}
