/** What this process was handed at its start: open descriptors besides 0, 1 and 2. See proc(5). */
import { O_DIRECTORY } from "../../ffi/linux/constants.ts";
import { allocate } from "../../ffi/memory.ts";
import { linuxDirent64 } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { check } from "./errors.ts";
import { descriptorTarget, open } from "./files.ts";

/**
 * The numbers of the descriptors we inherited, from 3 on, in order. To be asked before we open any
 * ourselves. Bun has marked most of them close-on-exec by now, so that flag tells nothing; its own
 * event loop's are left out, and with them any epoll or eventfd that was inherited.
 */
export function inheritedDescriptors(sys: Sys): number[] {
  const numbers: number[] = [];
  using directory = open(sys, "/proc/self/fd", O_DIRECTORY);
  const entries = allocate(4096);
  const [sizeOffset, nameOffset] = [
    linuxDirent64.offset("d_reclen"),
    linuxDirent64.offset("d_name"),
  ];
  for (;;) {
    const size = check(sys.getdents64(directory.raw, entries, entries.length), "getdents64");
    if (size === 0) break;
    for (let at = 0; at < size; at += entries.view.getUint16(at + sizeOffset, true)) {
      const number = numberAt(entries, at + nameOffset);
      if (number > 2 && number !== directory.raw && isInherited(sys, number)) numbers.push(number);
    }
  }
  return numbers;
}

/** Whether something was handed to us under this number; to be asked just as early. */
export function isInherited(sys: Sys, number: number): boolean {
  const target = descriptorTarget(sys, number);
  return (
    target !== undefined && target !== "anon_inode:[eventpoll]" && target !== "anon_inode:[eventfd]"
  );
}

/** The number that stands at `at` in digits, ended by a NUL; -1 when it is none ("." and ".."). */
function numberAt(bytes: Uint8Array, at: number): number {
  let number = -1;
  for (let index = at; ; index++) {
    const digit = (bytes[index] ?? 0) - 48;
    if (digit < 0 || digit > 9) return number;
    number = Math.max(number, 0) * 10 + digit;
  }
}
