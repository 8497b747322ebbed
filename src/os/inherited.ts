/** What this process was handed at its start: open descriptors besides 0, 1 and 2. See proc(5). */
import type { Sys } from "../../ffi/sys.ts";
import { descriptorNumbers, descriptorTarget } from "./files.ts";

/**
 * The numbers of the descriptors we inherited, from 3 on, in order. To be asked before we open any
 * ourselves. Bun has marked most of them close-on-exec by now, so that flag tells nothing; its own
 * event loop's are left out, and with them any epoll or eventfd that was inherited.
 */
export function inheritedDescriptors(sys: Sys): number[] {
  return descriptorNumbers(sys).filter((number) => number > 2 && isInherited(sys, number));
}

/** Whether something was handed to us under this number; to be asked just as early. */
export function isInherited(sys: Sys, number: number): boolean {
  const target = descriptorTarget(sys, number);
  return (
    target !== undefined && target !== "anon_inode:[eventpoll]" && target !== "anon_inode:[eventfd]"
  );
}
