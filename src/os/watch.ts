/** Learning that a file has lost its name: inotify(7), without waking up for anything else. */

import * as errno from "../../ffi/errno.ts";
import {
  IN_ATTRIB,
  IN_CLOEXEC,
  IN_DELETE_SELF,
  IN_MOVE_SELF,
  IN_NONBLOCK,
} from "../../ffi/linux/constants.ts";
import { allocate, cString } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { Scope } from "../base/scope.ts";
import { check, retry } from "./errors.ts";
import { type Fd, own, type RawFd } from "./fd.ts";

/** A descriptor that becomes readable when `path` is unlinked, renamed or replaced. */
export function openNameWatch(sys: Sys, path: string): Fd {
  using owned = new Scope();
  const flags = IN_CLOEXEC | IN_NONBLOCK;
  const watch = owned.use(own(sys, sys.inotify_init1(flags), "inotify_init1"));
  const events = IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
  check(sys.inotify_add_watch(watch.raw, cString(path), events), "inotify_add_watch", path);
  owned.move();
  return watch;
}

/** Forgets the events that wait; what has become of the file is found out by looking. */
export function drainNameWatch(sys: Sys, fd: RawFd): void {
  const events = allocate(4096);
  for (;;) {
    const result = retry(sys.read, fd, events, events.length);
    if (result === -errno.EAGAIN) return;
    check(result, "read");
  }
}
