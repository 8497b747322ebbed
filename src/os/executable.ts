/** What this executable is made of, as its own file tells. See elf(5). */
import { O_RDONLY } from "../../ffi/linux/constants.ts";
import { allocate } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { check, retry } from "./errors.ts";
import { open } from "./files.ts";
import { ownExecutable } from "./process.ts";

const PT_INTERP = 3;
const tableOffsetAt = 32;
const tableCountAt = 56;
const headerSize = 56;

/**
 * Whether there is a head in front of Bun: then the kernel has not been told of an interpreter, which the head loads itself.
 * @throws SystemError
 */
export function hasHead(sys: Sys): boolean {
  using file = open(sys, ownExecutable, O_RDONLY);
  const start = allocate(4096);
  check(retry(sys.pread, file.raw, start, start.length, 0), "pread");
  const table = Number(start.view.getBigUint64(tableOffsetAt, true));
  const count = start.view.getUint16(tableCountAt, true);
  for (let index = 0; index < count; index++) {
    if (start.view.getUint32(table + index * headerSize, true) === PT_INTERP) return false;
  }
  return true;
}
