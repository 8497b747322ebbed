/** Values that properties are checked with: byte strings as a kernel might hold them. */
import fc from "fast-check";
import type { StringList } from "../../src/base/strings.ts";

/** Bytes of a C string: any but NUL, with those that break careless code more often. */
export const cBytes: fc.Arbitrary<Uint8Array> = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: fc.integer({ min: 1, max: 255 }) },
      // newline, "=", "/", ":", "-", ".", and bytes that are not UTF-8
      { weight: 2, arbitrary: fc.constantFrom(10, 61, 47, 58, 45, 46, 0x80, 0xc3, 0xff) },
    ),
    { maxLength: 24 },
  )
  .map((bytes) => Uint8Array.from(bytes));

/** One run of NUL-terminated strings. Written without the code under test. */
export function listOf(items: readonly Uint8Array[]): StringList {
  const bytes = items.flatMap((item) => [...item, 0]);
  return { count: items.length, bytes: Uint8Array.from(bytes) };
}

/** Text as latin1 bytes. */
export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from([...text].map((character) => character.charCodeAt(0)));
}
