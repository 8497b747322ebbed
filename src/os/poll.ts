/** Waiting for a few descriptors at once: poll(2). The daemon, which has many, uses poller.ts. */
import { POLLIN } from "../../ffi/linux/constants.ts";
import { allocate } from "../../ffi/memory.ts";
import { pollfd } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { check, retry } from "./errors.ts";
import type { RawFd } from "./fd.ts";

/** Waits until one of `fds` is readable or hung up. @returns those, none when time ran out. */
export function waitReadable(sys: Sys, fds: readonly RawFd[], timeoutMs: number): RawFd[] {
  const list = allocate(pollfd.size * fds.length);
  for (const [index, fd] of fds.entries()) {
    pollfd.set(list, "fd", fd, index * pollfd.size);
    pollfd.set(list, "events", POLLIN, index * pollfd.size);
  }
  check(
    retry(() => sys.poll(list, fds.length, timeoutMs)),
    "poll",
  );
  return fds.filter((_, index) => pollfd.get(list, "revents", index * pollfd.size) !== 0);
}
