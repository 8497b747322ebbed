/**
 * The static variables of our own program: what its native code keeps to itself can be found there by
 * its value, and set. See mem in proc(5).
 */
import { O_RDONLY, O_RDWR } from "../../ffi/linux/constants.ts";
import { allocate, copyOf } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { check } from "./errors.ts";
import { staticDataRange } from "./executable.ts";
import { open } from "./files.ts";

/** So much is looked at in one go: what is being looked for stands near the beginning. */
const stepSize: number = 64 * 1024;

/** The address of the first such bytes from `start` on; undefined when there are none. */
export function findStaticData(sys: Sys, bytes: Uint8Array, start = 0): number | undefined {
  const [first, end] = staticDataRange(sys);
  using own = open(sys, "/proc/self/mem", O_RDONLY);
  const step = allocate(stepSize);
  for (let at = Math.max(first, start); at < end; at += stepSize - bytes.length + 1) {
    const wanted = Math.min(stepSize, end - at);
    const size = check(sys.pread(own.raw, step, wanted, at), "pread");
    const index = Buffer.from(step.buffer, 0, size).indexOf(bytes);
    if (index >= 0) return at + index;
  }
  return undefined;
}

/** Sets what `findStaticData` has found. */
export function setStaticData(sys: Sys, address: number, bytes: Uint8Array): void {
  using own = open(sys, "/proc/self/mem", O_RDWR);
  check(sys.pwrite(own.raw, copyOf(bytes), bytes.length, address), "pwrite");
}
