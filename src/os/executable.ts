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
const PF_W = 2;
const tableOffsetAt = 32;
const tableCountAt = 56;
const headerSize = 56;
/** The head's parameters: `struct parameters` in ffi/head/start.c. */
const parametersMagic = "PREFORK-HEAD-03\0";
const lendAt = 32;

/** A part of the program: where its bytes are in memory and in the file. */
interface Part {
  readonly type: number;
  readonly flags: number;
  readonly address: number;
  readonly offset: number;
  /** Bytes that come from the file. */
  readonly size: number;
}

/** What is in front of Bun. */
export interface HeadPart {
  /** The address of the function by which an image lends its memory to jobs. */
  readonly lend: number;
}

/**
 * The head, if there is one: then the kernel has not been told of an interpreter, which the head loads itself, and the
 * last part of the program is the head.
 * @throws SystemError
 */
export function ownHead(sys: Sys): HeadPart | undefined {
  using file = open(sys, ownExecutable, O_RDONLY);
  const parts = partsOf(sys, file.raw);
  const last = parts.findLast(({ type }) => type === PT_LOAD);
  if (!last || parts.some(({ type }) => type === PT_INTERP)) return undefined;
  const code = read(sys, file.raw, last);
  const parameters = Buffer.from(code.buffer).indexOf(parametersMagic, 0, "latin1");
  return { lend: Number(code.view.getBigUint64(parameters + lendAt, true)) };
}

/**
 * Where the program's static variables with a value are in memory: from, and up to but not including. Bun's
 * executables are not moved when they are loaded. What the kernel tells in /proc/PID/stat takes the head in.
 * @throws SystemError
 */
export function staticDataRange(sys: Sys): [from: number, to: number] {
  using file = open(sys, ownExecutable, O_RDONLY);
  const data = partsOf(sys, file.raw).find(
    ({ type, flags }) => type === PT_LOAD && (flags & PF_W) !== 0,
  );
  return data ? [data.address, data.address + data.size] : [0, 0];
}

function partsOf(sys: Sys, file: RawFd): Part[] {
  const { view } = read(sys, file, { offset: 0, size: 4096 });
  const table = Number(view.getBigUint64(tableOffsetAt, true));
  return Array.from({ length: view.getUint16(tableCountAt, true) }, (_, index) => {
    const at = table + index * headerSize;
    const word = (place: number): number => Number(view.getBigUint64(at + place, true));
    const [type, flags] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    return { type, flags, offset: word(8), address: word(16), size: word(32) };
  });
}

function read(sys: Sys, file: RawFd, { offset, size }: { offset: number; size: number }): Memory {
  const memory = allocate(size);
  check(retry(sys.pread, file, memory, size, offset), "pread");
  return memory;
}
