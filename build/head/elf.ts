/**
 * Puts the head into an executable that Bun has compiled (ELF64, little endian, ET_EXEC): the file grows by the head, and its
 * headers say that the kernel is to map it and to begin there, without an interpreter. The head has the program headers that
 * ld.so is to see. Bytes in, bytes out. See elf(5), and docs/head.md.
 */

/** A compiled head. */
export interface Head {
  /** The code, in base64. */
  readonly bytes: string;
  /** Where the kernel enters it, and where it has its parameters: distances from its beginning. */
  readonly entry: number;
  readonly parameters: number;
  /** Where the part of the client begins. */
  readonly client: number;
  /** The function by which an image lends its memory to jobs: src/image/lender.ts. */
  readonly lend: number;
}

/** The executable is not of the kind that takes a head; the message says why. */
export class UnfitExecutableError extends Error {
  override readonly name = "UnfitExecutableError";
}

interface ProgramHeader {
  readonly type: number;
  readonly flags: number;
  readonly offset: bigint;
  readonly vaddr: bigint;
  readonly paddr: bigint;
  readonly filesz: bigint;
  readonly memsz: bigint;
  readonly align: bigint;
}

const magic = 0x7f454c46;
const machineNames: Readonly<Record<number, string>> = { 62: "x86-64", 183: "arm64" };
const ET_EXEC = 2;
const PT_LOAD = 1;
const PT_INTERP = 3;
const PT_PHDR = 6;
const readAndExecute = 5;
/** Of the file's headers. */
const typeAt = 16;
const machineAt = 18;
const entryAt = 24;
const tableOffsetAt = 32;
const tableCountAt = 56;
const headerSize = 56;
/** Of the head's parameters, `struct parameters` in ffi/head/start.c. */
const parametersMagic = "PREFORK-HEAD-03\0";
const parameterEntryAt = 16;
const parameterCountAt = 24;
const parameterLendAt = 32;
const parameterTableAt = 40;
const parameterHeadersMax = 16;
/** The file is mapped in pages of the processor; a place must be good for the largest that Linux uses on either. */
const filePage = 0x1000n;
const memoryPage = 0x10000n;

/** @throws UnfitExecutableError */
export function withHead(executable: Uint8Array, head: Head): Uint8Array {
  const file = Buffer.from(executable.buffer, executable.byteOffset, executable.length);
  const table = readTable(file);
  const code = Buffer.from(head.bytes, "base64");
  const { parameters } = head;
  if (
    code.toString("latin1", parameters, parameters + parametersMagic.length) !== parametersMagic
  ) {
    throw new UnfitExecutableError("the head has no parameters where it says");
  }
  const offset = alignUp(BigInt(file.length), filePage);
  const end = table.reduce((most, { vaddr, memsz }) => max(most, vaddr + memsz), 0n);
  // A gap in front, so that the program's last mapping does not run into it. Address and offset agree modulo the page. The kernel
  // maps what is used first together with all that lies in the same 64 KiB: the part of the client begins there.
  const vaddr = alignUp(end, memoryPage) + 2n * memoryPage - pageOf(BigInt(head.client));
  const size = BigInt(code.length);
  const load: ProgramHeader = {
    type: PT_LOAD,
    flags: readAndExecute,
    offset,
    vaddr,
    paddr: vaddr,
    filesz: size,
    memsz: size,
    align: filePage,
  };
  const shown = shownTable(table, load, BigInt(parameters + parameterTableAt));
  if (shown.length > parameterHeadersMax)
    throw new UnfitExecutableError("too many program headers");
  code.writeBigUInt64LE(file.readBigUInt64LE(entryAt), parameters + parameterEntryAt);
  code.writeBigUInt64LE(BigInt(shown.length), parameters + parameterCountAt);
  code.writeBigUInt64LE(vaddr + BigInt(head.lend), parameters + parameterLendAt);
  for (const [index, header] of shown.entries()) {
    writeHeader(code, parameters + parameterTableAt + index * headerSize, header);
  }
  const result = Buffer.alloc(Number(offset) + code.length);
  file.copy(result);
  code.copy(result, Number(offset));
  // What the kernel sees has the head in place of the interpreter: as many headers as before.
  const seen = afterLastLoad(
    table.filter(({ type }) => type !== PT_INTERP),
    load,
  );
  const tableAt = Number(file.readBigUInt64LE(tableOffsetAt));
  for (const [index, header] of seen.entries()) {
    writeHeader(result, tableAt + index * headerSize, header);
  }
  result.writeBigUInt64LE(vaddr + BigInt(head.entry), entryAt);
  return result;
}

/** What ld.so is to see: all that was there, the table itself at its new place, and the head. */
function shownTable(
  table: readonly ProgramHeader[],
  load: ProgramHeader,
  at: bigint,
): ProgramHeader[] {
  const size = BigInt(headerSize * (table.length + 1));
  const place = { offset: load.offset + at, vaddr: load.vaddr + at, paddr: load.vaddr + at };
  const moved = table.map((header) =>
    header.type === PT_PHDR ? { ...header, ...place, filesz: size, memsz: size } : header,
  );
  return afterLastLoad(moved, load);
}

/** PT_LOAD headers stand in the order of their addresses. */
function afterLastLoad(table: readonly ProgramHeader[], load: ProgramHeader): ProgramHeader[] {
  return table.toSpliced(table.findLastIndex(({ type }) => type === PT_LOAD) + 1, 0, load);
}

function readTable(file: Buffer): ProgramHeader[] {
  if (file.length < 64 || file.readUInt32BE(0) !== magic || file[4] !== 2 || file[5] !== 1) {
    throw new UnfitExecutableError("it is not an ELF64 file in little endian");
  }
  if (file.readUInt16LE(typeAt) !== ET_EXEC) {
    throw new UnfitExecutableError("it is not of type ET_EXEC, whose addresses are fixed");
  }
  if (!(file.readUInt16LE(machineAt) in machineNames)) {
    throw new UnfitExecutableError("it is for a processor that the head does not know");
  }
  const tableAt = Number(file.readBigUInt64LE(tableOffsetAt));
  const table: ProgramHeader[] = [];
  for (let index = 0; index < file.readUInt16LE(tableCountAt); index++) {
    table.push(readHeader(file, tableAt + index * headerSize));
  }
  if (table.filter(({ type }) => type === PT_INTERP).length !== 1) {
    throw new UnfitExecutableError("it has no interpreter, or has a head already");
  }
  return table;
}

function readHeader(bytes: Buffer, at: number): ProgramHeader {
  const word = (index: number): bigint => bytes.readBigUInt64LE(at + 8 + index * 8);
  return {
    type: bytes.readUInt32LE(at),
    flags: bytes.readUInt32LE(at + 4),
    offset: word(0),
    vaddr: word(1),
    paddr: word(2),
    filesz: word(3),
    memsz: word(4),
    align: word(5),
  };
}

function writeHeader(bytes: Buffer, at: number, header: ProgramHeader): void {
  const { offset, vaddr, paddr, filesz, memsz, align } = header;
  bytes.writeUInt32LE(header.type, at);
  bytes.writeUInt32LE(header.flags, at + 4);
  for (const [index, word] of [offset, vaddr, paddr, filesz, memsz, align].entries()) {
    bytes.writeBigUInt64LE(word, at + 8 + index * 8);
  }
}

function pageOf(place: bigint): bigint {
  return place - (place % filePage);
}

function alignUp(value: bigint, to: bigint): bigint {
  return ((value + to - 1n) / to) * to;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
