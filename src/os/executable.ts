/** What this executable is made of, as its own file tells. See elf(5), and docs/head.md. */
import { O_RDONLY } from "../../ffi/linux/constants.ts";
import { allocate, type Memory } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { check, retry } from "./errors.ts";
import type { RawFd } from "./fd.ts";
import { open } from "./files.ts";
import { ownExecutable } from "./process.ts";

const PT_LOAD = 1;
const PT_INTERP = 3;
const tableOffsetAt = 32;
const tableCountAt = 56;
const headerSize = 56;
/** The head's parameters: `struct parameters` in ffi/head/start.c. */
const parametersMagic = "PREFORK-HEAD-03\0";
const serveForksAt = 32;

/** What is in front of Bun. */
export interface HeadPart {
  /** The address of the function by which an image serves forks. */
  readonly serveForks: number;
}

/**
 * The head, if there is one: then the kernel has not been told of an interpreter, which the head loads itself, and the
 * last part of the program is the head.
 * @throws SystemError
 */
export function ownHead(sys: Sys): HeadPart | undefined {
  using file = open(sys, ownExecutable, O_RDONLY);
  const { view } = read(sys, file.raw, { offset: 0, size: 4096 });
  const table = Number(view.getBigUint64(tableOffsetAt, true));
  let last = 0;
  for (let index = 0; index < view.getUint16(tableCountAt, true); index++) {
    const at = table + index * headerSize;
    const type = view.getUint32(at, true);
    if (type === PT_INTERP) return undefined;
    if (type === PT_LOAD) last = at;
  }
  const offset = Number(view.getBigUint64(last + 8, true));
  const code = read(sys, file.raw, { offset, size: Number(view.getBigUint64(last + 32, true)) });
  const parameters = Buffer.from(code.buffer).indexOf(parametersMagic, 0, "latin1");
  return { serveForks: Number(code.view.getBigUint64(parameters + serveForksAt, true)) };
}

function read(sys: Sys, file: RawFd, { offset, size }: { offset: number; size: number }): Memory {
  const memory = allocate(size);
  check(retry(sys.pread, file, memory, size, offset), "pread");
  return memory;
}
