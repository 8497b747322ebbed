/** What we take from the runtime behind `bun:ffi` is what `bun:ffi` gives. */

import { dlopen, type Pointer, ptr, read } from "bun:ffi";
import { expect, test } from "bun:test";
import { native } from "../../ffi/native.ts";

test("an address is the same", () => {
  const buffer = new ArrayBuffer(16);
  expect(native.ptr(buffer)).toBe(ptr(buffer));
});

test("reading at an address is the same", () => {
  const buffer = Int32Array.of(1, -2).buffer;
  const address = ptr(buffer) as Pointer;
  for (const offset of [0, 4]) {
    expect(native.read.i32(address, offset)).toBe(read.i32(address, offset));
  }
});

test("a function that is linked is the same", () => {
  const signature = { args: ["int", "ptr"], returns: "int" } as const;
  const opened = native.dlopen("libc.so.6", { getrlimit: signature });
  if (opened instanceof Error) throw opened;
  const [ours, theirs] = [new Uint8Array(new ArrayBuffer(16)), new Uint8Array(new ArrayBuffer(16))];
  const call = opened.symbols["getrlimit"] as (resource: number, limit: Uint8Array) => number;
  expect(call(7, ours)).toBe(0);
  expect(dlopen("libc.so.6", { getrlimit: signature }).symbols.getrlimit(7, theirs)).toBe(0);
  expect(ours).toEqual(theirs);
});

test("a function that does not exist is an error that is returned", () => {
  const opened = native.dlopen("libc.so.6", { no_such_function: { args: [], returns: "int" } });
  expect(opened).toBeInstanceOf(Error);
});
