/** Memory handed to libc: its address must stay true, and what it holds must be what was meant. */

import { type Pointer, ptr, read, toArrayBuffer } from "bun:ffi";
import { afterAll, describe, expect, test } from "bun:test";
import { openLibc } from "../../ffi/libc.ts";
import { O_CLOEXEC } from "../../ffi/linux/constants.ts";
import { allocate, copyOf, cString, Memory, pointerArray, stringTable } from "../../ffi/memory.ts";
import { iovec } from "../../ffi/structs.ts";

const sys = openLibc();
const { readEnd, writeEnd } = openPipe();
afterAll(() => {
  sys.close(readEnd);
  sys.close(writeEnd);
});

function openPipe(): { readEnd: number; writeEnd: number } {
  const pair = allocate(8);
  expect(sys.pipe2(pair, O_CLOEXEC)).toBe(0);
  return { readEnd: pair.view.getInt32(0, true), writeEnd: pair.view.getInt32(4, true) };
}

/** The bytes at an address, up to the NUL, as libc would see them. */
function stringAt(address: number): Uint8Array {
  const bytes: number[] = [];
  for (let at = 0; ; at++) {
    const byte = read.u8(address as Pointer, at);
    if (byte === 0) return Uint8Array.from(bytes);
    bytes.push(byte);
  }
}

function pointersIn(array: Memory): number[] {
  return Array.from({ length: array.length / 8 }, (_, index) => read.ptr(array.address, index * 8));
}

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));

describe("the address", () => {
  // Well behind the number of calls after which the optimizer compiles what calls libc.
  const calls = 30_000;

  test.each([1, 8, 56, 500, 4096])("holds a block of %d bytes for thousands of calls", (size) => {
    const sent = allocate(size);
    const received = allocate(size);
    const addresses = [sent.address, received.address];
    let wrong = 0;
    for (let call = 0; call < calls; call++) {
      sent[size - 1] = call & 0xff;
      received[size - 1] = ~call & 0xff;
      if (sys.write(writeEnd, sent, size) !== size) wrong++;
      if (sys.read(readEnd, received, size) !== size) wrong++;
      if (received[size - 1] !== (call & 0xff)) wrong++;
    }
    expect(wrong).toBe(0);
    expect([sent.address, received.address]).toEqual(addresses);
  });

  test("holds for a block that is made, filled by libc and dropped each time", () => {
    let wrong = 0;
    for (let call = 0; call < calls; call++) {
      const sent = allocate(4);
      const received = allocate(4);
      sent.view.setUint32(0, call, true);
      sys.write(writeEnd, sent, sent.length);
      sys.read(readEnd, received, received.length);
      if (received.view.getUint32(0, true) !== call) wrong++;
    }
    expect(wrong).toBe(0);
  });

  test("survives garbage collections, with garbage around it", () => {
    const blocks = Array.from({ length: 200 }, (_, index) => allocate(index + 1).fill(index));
    const addresses = blocks.map((block) => block.address);
    for (let round = 0; round < 5; round++) {
      for (let n = 0; n < 2000; n++) allocate((n % 500) + 1).fill(0xee);
      Bun.gc(true);
    }
    expect(blocks.map((block) => block.address)).toEqual(addresses);
    for (const [index, address] of addresses.entries()) {
      expect([read.u8(address, 0), read.u8(address, index)]).toEqual([index, index]);
    }
  });

  test("a block that is only pointed at lives as long as the pointer", () => {
    const text = bytesOf("only the pointer knows me");
    const vectors = Array.from({ length: 500 }, () => {
      const vector = allocate(iovec.size);
      iovec.point(vector, "iov_base", cString(text));
      return vector;
    });
    for (let n = 0; n < 5000; n++) allocate(text.length + 1).fill(0xee);
    Bun.gc(true);
    for (let n = 0; n < 5000; n++) allocate(text.length + 1).fill(0xee);
    for (const vector of vectors) {
      expect(stringAt(iovec.get(vector, "iov_base"))).toEqual(text);
    }
  });

  test("is that of the block's first byte, also within a larger buffer", () => {
    const whole = allocate(64);
    whole[40] = 7;
    const part = whole.from(40);
    expect(part.address).toBe((whole.address + 40) as Pointer);
    expect(part.length).toBe(24);
    expect(read.u8(part.address, 0)).toBe(7);
    part[1] = 9;
    expect(whole[41]).toBe(9);
    expect(part.from(1)[0]).toBe(9);
  });

  test("is what bun:ffi says of the same buffer", () => {
    const memory = allocate(10);
    expect(memory.address).toBe(ptr(memory.buffer));
  });

  test("is there for a block of no bytes, too", () => {
    expect(allocate(0).length).toBe(0);
    expect(allocate(0).address).toBeGreaterThan(0);
    expect(allocate(4).from(4).address).toBeGreaterThan(0);
  });
});

describe("Memory", () => {
  test("begins zeroed", () => {
    expect(allocate(4096).every((byte) => byte === 0)).toBe(true);
  });

  test.each([
    { what: "subarray", make: (memory: Memory) => memory.subarray(1, 3) },
    { what: "slice", make: (memory: Memory) => memory.slice(1, 3) },
    { what: "map", make: (memory: Memory) => memory.map((byte) => byte) },
    { what: "filter", make: (memory: Memory) => memory.filter(() => true) },
  ])("$what gives a plain Uint8Array", ({ make }) => {
    const result: Uint8Array = make(copyOf(bytesOf("abcd")));
    expect(result).toBeInstanceOf(Uint8Array);
    expect(result).not.toBeInstanceOf(Memory);
    expect(Object.getPrototypeOf(result)).toBe(Uint8Array.prototype);
  });

  test("subarray shares the bytes, copyOf does not", () => {
    const memory = allocate(4);
    const copy = copyOf(memory);
    memory.subarray(1, 2)[0] = 5;
    expect([...memory]).toEqual([0, 5, 0, 0]);
    expect([...copy]).toEqual([0, 0, 0, 0]);
    expect(copy.address).not.toBe(memory.address);
  });

  test.each([-1, 5])("from(%d) of four bytes is refused", (offset) => {
    expect(() => allocate(4).from(offset)).toThrow(RangeError);
  });

  test("its view covers exactly its bytes", () => {
    const part = allocate(16).from(12);
    expect(() => part.view.getUint32(0, true)).not.toThrow();
    expect(() => part.view.getUint32(1, true)).toThrow(RangeError);
  });
});

describe("cString", () => {
  test.each([
    { what: "nothing", text: "", bytes: [0] },
    { what: "ASCII", text: "ab", bytes: [97, 98, 0] },
    { what: "text as UTF-8", text: "é€", bytes: [0xc3, 0xa9, 0xe2, 0x82, 0xac, 0] },
    { what: "bytes as they are", text: Uint8Array.of(0xff, 0x80, 10), bytes: [0xff, 0x80, 10, 0] },
  ])("ends $what with a NUL", ({ text, bytes }) => {
    expect<readonly number[]>([...cString(text)]).toEqual(bytes);
  });

  test.each([
    { what: "alone", text: "\0" },
    { what: "at the end", text: "abc\0" },
    { what: "in front", text: "\0abc" },
    { what: "inside", text: "/tmp/a\0/etc/passwd" },
    { what: "in bytes", text: Uint8Array.of(1, 0, 2) },
    { what: "as the only byte", text: new Uint8Array(1) },
  ])("refuses a NUL $what", ({ text }) => {
    expect(() => cString(text)).toThrow(TypeError);
  });
});

const lists: { what: string; texts: string[] }[] = [
  { what: "no string", texts: [] },
  { what: "one string", texts: ["ls"] },
  { what: "empty strings", texts: ["", "a", "", ""] },
  { what: "bytes that are not UTF-8, and newlines", texts: ["\xff\xfe", "a\nb", "\x80"] },
  { what: "a thousand strings", texts: Array.from({ length: 1000 }, (_, n) => `n${n}`) },
];

describe.each(lists)("an array of pointers to $what", ({ texts }) => {
  test("points at each string and ends with NULL", () => {
    const array = pointerArray(texts.map((text) => cString(bytesOf(text))));
    Bun.gc(true);
    const pointers = pointersIn(array);
    expect(pointers.pop()).toBe(0);
    expect(pointers.map(stringAt)).toEqual(texts.map(bytesOf));
  });

  test("points into one block without a copy", () => {
    const block = copyOf(bytesOf(texts.map((text) => `${text}\0`).join("")));
    const { address, length } = block;
    const array = stringTable(block, texts.length);
    const pointers = pointersIn(array);
    expect(pointers.pop()).toBe(0);
    for (const pointer of pointers) expect(pointer).toBeWithin(address, address + length);
    expect(pointers.map(stringAt)).toEqual(texts.map(bytesOf));
  });
});

test("a table of strings keeps its block alive", () => {
  const text = "a string of a length that others have, too";
  const makeTable = (): Memory => stringTable(copyOf(bytesOf(`${text}\0${text}\0`)), 2);
  const tables = Array.from({ length: 300 }, makeTable);
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 3000; n++) allocate((text.length + 1) * 2).fill(0xee);
    Bun.gc(true);
  }
  for (const table of tables) {
    const [first = 0, second = 0] = pointersIn(table);
    expect([stringAt(first), stringAt(second)]).toEqual([bytesOf(text), bytesOf(text)]);
  }
});

test("libc writes where the block is read", () => {
  const buffer = allocate(4096);
  expect(sys.getcwd(buffer, buffer.length)).not.toBe(0);
  const path = buffer.subarray(0, buffer.indexOf(0));
  expect(new TextDecoder().decode(path)).toBe(process.cwd());
  const seen = toArrayBuffer(buffer.address, 0, path.length);
  expect(new Uint8Array(seen)).toEqual(new Uint8Array(path));
});

test.each([
  { what: "a descriptor that is not open", result: () => sys.close(1_000_000), errno: 9 },
  { what: "a path that is not there", result: () => sys.chdir(cString("/nowhere/x")), errno: 2 },
  { what: "a read from the wrong end", result: () => sys.read(writeEnd, allocate(1), 1), errno: 9 },
  { what: "a NULL path", result: () => sys.chdir(null), errno: 14 },
  { what: "a signal that is none", result: () => sys.kill(process.pid, 1000), errno: 22 },
  {
    what: "a call that returns its errno",
    result: () => sys.posix_spawn_file_actions_addclose(allocate(128), -1),
    errno: 9,
  },
])("$what is a negated errno", ({ result, errno }) => {
  expect(result()).toBe(-errno);
});

test("an entry of the table is linked when it is first asked for, once", () => {
  const fresh = openLibc();
  expect(Object.keys(fresh)).toEqual([]);
  const { getpid } = fresh;
  expect(getpid()).toBe(process.pid);
  expect(fresh.getpid).toBe(getpid);
  expect(Object.keys(fresh)).toEqual(["getpid"]);
});

test("the table has no other entries", () => {
  const names: Record<string, unknown> = { ...openLibc() };
  expect(names).toEqual({});
  expect((openLibc() as unknown as Record<string, unknown>)["getpi"]).toBeUndefined();
  expect((openLibc() as unknown as Record<string, unknown>)["then"]).toBeUndefined();
});
