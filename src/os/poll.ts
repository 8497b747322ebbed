/** Waiting for a few descriptors at once: poll(2). The daemon, which has many, uses poller.ts. */
import { POLLIN, POLLOUT } from "../../ffi/linux/constants.ts";
import { allocate } from "../../ffi/memory.ts";
import { pollfd } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { check, retry } from "./errors.ts";
import type { RawFd } from "./fd.ts";

/** One thing to wait for. */
export interface Interest {
  readonly fd: RawFd;
  readonly for: "reading" | "writing";
}

/** Waits until something can be done, or a descriptor is hung up. @returns it; none: time ran out. */
export function waitFor<Wanted extends Interest>(
  sys: Sys,
  interests: readonly Wanted[],
  timeoutMs: number,
): Wanted[] {
  const { size } = pollfd;
  const list = allocate(size * interests.length);
  for (const [index, interest] of interests.entries()) {
    pollfd.set(list, "fd", interest.fd, index * size);
    pollfd.set(list, "events", interest.for === "reading" ? POLLIN : POLLOUT, index * size);
  }
  check(retry(sys.poll, list, interests.length, timeoutMs), "poll");
  const ready: Wanted[] = [];
  for (const [index, interest] of interests.entries()) {
    if (pollfd.get(list, "revents", index * size) !== 0) ready.push(interest);
  }
  return ready;
}

/** Waits until one of `fds` is readable or hung up. @returns those, none when time ran out. */
export function waitReadable(sys: Sys, fds: readonly RawFd[], timeoutMs: number): RawFd[] {
  return waitFor(
    sys,
    fds.map((fd) => ({ fd, for: "reading" })),
    timeoutMs,
  ).map(({ fd }) => fd);
}
