import { describe, expect, test } from "bun:test";
import { ProtocolError, Reader, Writer } from "../../src/protocol/wire.ts";

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe("Writer", () => {
  test("writes little endian, with sizes in front of sized fields", () => {
    const written = new Writer().u16(0x0102).u32(0x03040506).u64(7).text("é").bytes(bytes(9));
    expect([...written.finish()]).toEqual([
      ...[2, 1],
      ...[6, 5, 4, 3],
      ...[7, 0, 0, 0, 0, 0, 0, 0],
      ...[2, 0, 0, 0, 0xc3, 0xa9],
      9,
    ]);
  });

  const growing: { what: string; write: (writer: Writer) => Writer; size: number }[] = [
    { what: "u16", write: (writer) => writer.u16(1), size: 2 },
    { what: "u32", write: (writer) => writer.u32(1), size: 4 },
    { what: "u64", write: (writer) => writer.u64(1), size: 8 },
    { what: "any 64 bits", write: (writer) => writer.word64(1n), size: 8 },
    { what: "bytes", write: (writer) => writer.bytes(bytes(1, 0, 0)), size: 3 },
    { what: "sized", write: (writer) => writer.sized(new Uint8Array(1)), size: 5 },
    { what: "text", write: (writer) => writer.text("\0"), size: 5 },
  ];
  test.each(growing)("grows when a field of $what does not fit any more", ({ write, size }) => {
    const full = new Writer(1).bytes(bytes(5));
    const written = [...write(full).finish()];
    expect(written).toEqual([5, 1, ...new Array(size - 1).fill(0)]);
  });

  test("grows to many times its capacity and keeps what it has", () => {
    const writer = new Writer(3);
    for (let value = 0; value < 2000; value++) writer.u32(value);
    const reader = new Reader(writer.finish());
    for (let value = 0; value < 2000; value++) expect(reader.u32()).toBe(value);
    expect(reader.remaining).toBe(0);
  });

  test("a text longer than the first buffer", () => {
    const text = "long ".repeat(500);
    expect(new Reader(new Writer().text(text).finish()).text()).toBe(text);
  });
});

describe("Reader", () => {
  test.each([
    { what: "u16 of one byte", size: 1, act: (reader: Reader) => reader.u16() },
    { what: "u32 of three bytes", size: 3, act: (reader: Reader) => reader.u32() },
    { what: "any 64 bits of seven bytes", size: 7, act: (reader: Reader) => reader.word64() },
    { what: "u64 of seven bytes", size: 7, act: (reader: Reader) => reader.u64() },
    { what: "u16 of nothing", size: 0, act: (reader: Reader) => reader.u16() },
    { what: "more bytes than there are", size: 4, act: (reader: Reader) => reader.bytes(5) },
    { what: "4 GiB of bytes", size: 4, act: (reader: Reader) => reader.bytes(0xffff_ffff) },
    { what: "a size without its bytes", size: 3, act: (reader: Reader) => reader.sized() },
    { what: "a text without its size", size: 3, act: (reader: Reader) => reader.text() },
  ])("refuses $what", ({ size, act }) => {
    const reader = new Reader(new Uint8Array(size).fill(0xff));
    expect(() => act(reader)).toThrow(ProtocolError);
    expect(reader.remaining).toBeLessThanOrEqual(size);
  });

  test.each([
    { what: "as many bytes as a size says, and one less", field: bytes(2, 0, 0, 0, 1) },
    { what: "the largest size", field: bytes(255, 255, 255, 255, 1) },
    { what: "a size with the highest bit", field: bytes(0, 0, 0, 128, 1) },
  ])("refuses a field with $what", ({ field }) => {
    expect(() => new Reader(field).sized()).toThrow(ProtocolError);
    expect(() => new Reader(field).text()).toThrow(ProtocolError);
  });

  test.each([
    { what: "the largest safe integer", high: 0x001f_ffff, ok: true },
    { what: "one bit more", high: 0x0020_0000, ok: false },
    { what: "all ones", high: 0xffff_ffff, ok: false },
  ])("a 64-bit count of $what", ({ high, ok }) => {
    const reader = new Reader(new Writer().u32(0xffff_ffff).u32(high).finish());
    if (ok) expect(reader.u64()).toBe(Number.MAX_SAFE_INTEGER);
    else expect(() => reader.u64()).toThrow(ProtocolError);
  });

  test("a field of no bytes is there", () => {
    const reader = new Reader(bytes(0, 0, 0, 0, 0, 0, 0, 0));
    expect(reader.text()).toBe("");
    expect(reader.sized()).toEqual(new Uint8Array());
    expect(reader.bytes(0)).toEqual(new Uint8Array());
  });

  test("a failed read does not move it", () => {
    const reader = new Reader(bytes(1, 2, 3));
    expect(() => reader.u32()).toThrow(ProtocolError);
    expect(reader.remaining).toBe(3);
    expect(reader.u16()).toBe(0x0201);
  });

  test("starts where its bytes start within their buffer", () => {
    const reader = new Reader(bytes(9, 9, 1, 0, 9).subarray(2, 4));
    expect(reader.u16()).toBe(1);
    expect(reader.remaining).toBe(0);
  });
});
