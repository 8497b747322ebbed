/** The two ways in which an image forks. docs/fork-safety.md has what must hold for each. */
import { CLONE_PARENT, SYS_clone } from "../../ffi/linux/constants.ts";
import { allocate, copyOf } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { tryReap } from "./children.ts";
import { check, retry } from "./errors.ts";
import { openPipe } from "./files.ts";
import { exitNow } from "./process.ts";
import { signalNumbers } from "./signals.ts";

/** Forks a process that our parent is the parent of. @returns its pid, and 0 in the new process. */
export type Fork = (sys: Sys) => number;

/**
 * One system call, and nothing of libc's: its handlers repair what other threads have left behind,
 * and there are none. For children that start no thread either.
 */
export const forkSibling: Fork = (sys) =>
  check(sys.clone(SYS_clone, CLONE_PARENT | signalNumbers.SIGCHLD, 0, 0, 0, 0), "clone");

/**
 * libc's fork, twice. The process in the middle leaves, so that the child becomes our parent's,
 * which has to be a subreaper; that has happened when this returns. For children that go on as any
 * process does, with threads of their own.
 */
export const forkTwice: Fork = (sys) => {
  const pipe = openPipe(sys);
  using readEnd = pipe.readEnd;
  using writeEnd = pipe.writeEnd;
  const middle = check(sys.fork(), "fork");
  if (middle === 0) {
    const child = sys.fork();
    if (child === 0) return 0;
    // Also a failure, as a negated errno.
    const pid = copyOf(new Uint8Array(Int32Array.of(child).buffer));
    sys.write(writeEnd.raw, pid, pid.length);
    exitNow(sys, 0);
  }
  writeEnd[Symbol.dispose]();
  tryReap(sys, middle, { wait: true });
  const word = allocate(4);
  const size = check(retry(sys.read, readEnd.raw, word, word.length), "read");
  if (size !== word.length) throw new Error("the process in the middle died");
  return check(word.view.getInt32(0, true), "fork");
};
