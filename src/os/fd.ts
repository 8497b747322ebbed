/**
 * Descriptors and who closes them. `Fd` owns its descriptor and closes it exactly once; `RawFd` is
 * on loan for one call; a plain number is nobody's yet.
 */
import * as errno from "../../ffi/errno.ts";
import {
  F_DUPFD_CLOEXEC,
  F_GETFD,
  FD_CLOEXEC,
  SYS_close_range,
} from "../../ffi/linux/constants.ts";
import type { Sys } from "../../ffi/sys.ts";
import { assert } from "../base/assert.ts";
import { check } from "./errors.ts";

declare const loan: unique symbol;
/** A descriptor on loan: valid for the call it is passed to, never to be closed or kept. */
export type RawFd = number & { readonly [loan]: true };

/** Descriptors a process is born with. We use them where they stand, so nothing owns them. */
export const standard = {
  input: 0 as RawFd,
  output: 1 as RawFd,
  error: 2 as RawFd,
} as const;

/** An owned descriptor. */
export class Fd implements Disposable {
  readonly #sys: Sys;
  #raw: number;

  constructor(sys: Sys, raw: number) {
    this.#sys = sys;
    this.#raw = raw;
  }

  /** The number, on loan for one call. */
  get raw(): RawFd {
    if (this.#raw < 0) throw new ReferenceError("a descriptor was used after it was given up");
    return this.#raw as RawFd;
  }

  /** Gives the descriptor up; who takes the number owns it. */
  take(): number {
    const raw = this.raw;
    this.#raw = -1;
    return raw;
  }

  /** Moves the ownership to a new `Fd`; this one is spent. */
  move(): Fd {
    return new Fd(this.#sys, this.take());
  }

  /** Whether it is still ours to close. */
  get isOwned(): boolean {
    return this.#raw >= 0;
  }

  /** Closes it; a second call does nothing. Not retried on EINTR: Linux has closed it by then. */
  [Symbol.dispose](): void {
    if (this.#raw < 0) return;
    const raw = this.#raw;
    this.#raw = -1;
    const result = this.#sys.close(raw);
    assert(result !== -errno.EBADF, "nobody else closes our descriptors");
  }
}

/** Closes those of `fds` that are still owned; a row of neighbours, as one message brings them, with one call. */
export function closeAll(sys: Sys, fds: readonly Fd[]): void {
  for (let index = 0; index < fds.length; ) {
    const first = index;
    while (isNeighbour(fds[index], fds[index + 1])) index += 1;
    index += 1;
    if (index - first > 1 && tryCloseRow(sys, fds.slice(first, index))) continue;
    for (const fd of fds.slice(first, index)) fd[Symbol.dispose]();
  }
}

function isNeighbour(one: Fd | undefined, next: Fd | undefined): boolean {
  return (one?.isOwned && next?.isOwned && next.raw === one.raw + 1) ?? false;
}

/** See close_range(2). @returns false when none of them is closed. */
function tryCloseRow(sys: Sys, row: readonly Fd[]): boolean {
  const [first, last] = [row[0]?.raw ?? 0, row.at(-1)?.raw ?? 0];
  if (sys.close_range(SYS_close_range, first, last, 0) < 0) return false;
  for (const fd of row) fd.take();
  return true;
}

/**
 * Owns the result of a call that opens a descriptor.
 * @throws SystemError when the call failed.
 */
export function own(sys: Sys, result: number, syscall: string, path?: string): Fd {
  return new Fd(sys, check(result, syscall, path));
}

/** A close-on-exec copy numbered `lowest` or higher. See fcntl(2). */
export function duplicate(sys: Sys, fd: RawFd, lowest = 3): Fd {
  return own(sys, sys.fcntl(fd, F_DUPFD_CLOEXEC, lowest), "fcntl");
}

export function isOpen(sys: Sys, number: number): boolean {
  return sys.fcntl(number, F_GETFD, 0) >= 0;
}

/**
 * Those of 0, 1 and 2 that were closed when this process started. Bun opens /dev/null in their
 * place before any script runs, close-on-exec, which nothing inherited can be.
 */
export function closedAtStart(sys: Sys): ReadonlySet<number> {
  const closed = new Set<number>();
  for (const number of [0, 1, 2]) {
    const flags = sys.fcntl(number, F_GETFD, 0);
    if (flags < 0 || (flags & FD_CLOEXEC) !== 0) closed.add(number);
  }
  return closed;
}
