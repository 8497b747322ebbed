import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  countStrings,
  dropStrings,
  environmentValue,
  fromLatin1,
  latin1,
  stringList,
  strings,
} from "../../src/base/strings.ts";
import { bytesOf, cBytes, listOf } from "../helpers/arbitraries.ts";
import { holdsFor } from "../helpers/property.ts";

const items = fc.array(cBytes, { maxLength: 12 });

/** getenv(3), on texts: the first entry that begins with the name and an equals sign. */
function getenv(entries: readonly string[], name: string): string | undefined {
  return entries.find((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1);
}

test("latin1 there and back is the identity, for bytes", () => {
  holdsFor(fc.uint8Array({ maxLength: 400 }), (bytes) => {
    expect(new Uint8Array(fromLatin1(latin1(bytes)))).toEqual(bytes);
  });
});

test("latin1 there and back is the identity, for texts of bytes", () => {
  holdsFor(fc.uint8Array(), (bytes) => {
    const text = String.fromCharCode(...bytes);
    expect(latin1(fromLatin1(text))).toBe(text);
  });
});

test("latin1 reads a view's own bytes only", () => {
  holdsFor(fc.tuple(fc.uint8Array(), fc.nat(20), fc.nat(20)), ([bytes, start, length]) => {
    const view = bytes.subarray(start, start + length);
    expect(latin1(view)).toBe(String.fromCharCode(...view));
  });
});

test("strings undoes the joining of any byte strings", () => {
  holdsFor(items, (list) => {
    const joined = listOf(list);
    expect(stringList(joined.bytes)).toEqual(joined);
    expect([...strings(joined)]).toEqual(list);
    expect(countStrings(joined.bytes)).toBe(list.length);
  });
});

test("any bytes are a list whose strings, joined again, are those bytes with a last NUL", () => {
  holdsFor(fc.uint8Array({ max: 3, maxLength: 40 }), (bytes) => {
    const list = stringList(bytes);
    const whole = bytes.length === 0 || bytes.at(-1) === 0 ? bytes : Uint8Array.of(...bytes, 0);
    expect(listOf([...strings(list)])).toEqual({ count: list.count, bytes: whole });
  });
});

test("dropStrings drops from the front, as slice does", () => {
  holdsFor(fc.tuple(items, fc.nat(15)), ([list, count]) => {
    const dropped = dropStrings(listOf(list), count);
    expect(dropped).toEqual(listOf(list.slice(count)));
    expect([...strings(dropped)]).toEqual(list.slice(count));
  });
});

test("environmentValue is getenv", () => {
  const name = fc.stringMatching(/^[AB_]{0,3}$/);
  const entry = fc.oneof(
    fc.tuple(name, fc.stringMatching(/^[AB_=\n]{0,4}$/)).map(([key, value]) => `${key}=${value}`),
    fc.stringMatching(/^[AB_=]{0,5}$/),
  );
  holdsFor(fc.tuple(fc.array(entry, { maxLength: 8 }), name), ([entries, wanted]) => {
    const found = environmentValue(listOf(entries.map(bytesOf)), wanted);
    expect(found && latin1(found)).toBe(getenv(entries, wanted));
  });
});
