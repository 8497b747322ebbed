/** Learning of changes to names and files: inotify(7). */

import * as errno from "../../ffi/errno.ts";
import {
  IN_ATTRIB,
  IN_CLOEXEC,
  IN_CLOSE_WRITE,
  IN_CREATE,
  IN_DELETE,
  IN_DELETE_SELF,
  IN_IGNORED,
  IN_MOVE_SELF,
  IN_MOVED_FROM,
  IN_MOVED_TO,
  IN_NONBLOCK,
  IN_ONLYDIR,
} from "../../ffi/linux/constants.ts";
import { allocate, cString, type Memory } from "../../ffi/memory.ts";
import { inotifyEvent } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { Scope } from "../base/scope.ts";
import { utf8 } from "../base/strings.ts";
import { check, retry } from "./errors.ts";
import { type Fd, own, type RawFd } from "./fd.ts";

/** A descriptor that becomes readable when something is told of what is watched: of nothing yet. */
export function openWatches(sys: Sys): Fd {
  return own(sys, sys.inotify_init1(IN_CLOEXEC | IN_NONBLOCK), "inotify_init1");
}

/**
 * A descriptor that becomes readable when `path` is unlinked, renamed or replaced, without waking up
 * for anything else.
 */
export function openNameWatch(sys: Sys, path: string): Fd {
  using owned = new Scope();
  const watch = owned.use(openWatches(sys));
  const events = IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
  check(sys.inotify_add_watch(watch.raw, cString(path), events), "inotify_add_watch", path);
  owned.move();
  return watch;
}

/** Forgets the events that wait; what has become of the file is found out by looking. */
export function drainNameWatch(sys: Sys, fd: RawFd): void {
  const events = allocate(4096);
  while (readEvents(sys, fd, events) > 0) {}
}

/** Something that has happened in a watched directory. */
export interface DirectoryEvent {
  /** As `watchDirectory` returned it; -1 when events were lost. */
  readonly watch: number;
  /** Of a file in it; undefined: the directory itself is not where it was. */
  readonly name: string | undefined;
  /** The kernel watches it no longer. */
  readonly isLast: boolean;
}

const directoryEvents =
  IN_CLOSE_WRITE |
  IN_ATTRIB |
  IN_CREATE |
  IN_DELETE |
  IN_MOVED_FROM |
  IN_MOVED_TO |
  IN_DELETE_SELF |
  IN_MOVE_SELF |
  IN_ONLYDIR;

/**
 * Watches the names in a directory, and what is written under them. One file that is written to for
 * long tells when it is closed.
 * @returns a number for it, the same for the same directory; or a negated errno: ENOSPC when the
 * user may have no more.
 */
export function watchDirectory(sys: Sys, fd: RawFd, path: string): number {
  return sys.inotify_add_watch(fd, cString(path), directoryEvents);
}

/** Ignoring a failure: the kernel may have forgotten it with the directory itself. */
export function unwatchDirectory(sys: Sys, fd: RawFd, watch: number): void {
  sys.inotify_rm_watch(fd, watch);
}

/** What has happened since this was called last. */
export function directoryEventsOf(sys: Sys, fd: RawFd): DirectoryEvent[] {
  const events = allocate(16 * 1024);
  const all: DirectoryEvent[] = [];
  for (let size = readEvents(sys, fd, events); size > 0; size = readEvents(sys, fd, events)) {
    for (let at = 0; at < size; ) {
      const length = inotifyEvent.get(events, "len", at);
      const mask = inotifyEvent.get(events, "mask", at);
      const watch = inotifyEvent.get(events, "wd", at);
      const start = at + inotifyEvent.size;
      const bytes = events.subarray(start, start + length);
      const name = length === 0 ? undefined : utf8(bytes.subarray(0, bytes.indexOf(0)));
      at = start + length;
      if (name === undefined && mask === IN_ATTRIB) continue; // its mode or times: nothing of ours
      all.push({ watch, name, isLast: (mask & IN_IGNORED) !== 0 });
    }
  }
  return all;
}

/** @returns their size; 0 when none wait. */
function readEvents(sys: Sys, fd: RawFd, events: Memory): number {
  const result = retry(sys.read, fd, events, events.length);
  return result === -errno.EAGAIN ? 0 : check(result, "read");
}
