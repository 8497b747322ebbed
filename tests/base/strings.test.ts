import { describe, expect, test } from "bun:test";
import {
  countStrings,
  dropStrings,
  environmentValue,
  fromLatin1,
  latin1,
  stringList,
  strings,
} from "../../src/base/strings.ts";
import { bytesOf } from "../helpers/arbitraries.ts";

test.each([
  { what: "nothing", text: "", items: [] },
  { what: "one empty string", text: "\0", items: [""] },
  { what: "one string", text: "a\0", items: ["a"] },
  { what: "a string without its NUL", text: "a", items: ["a"] },
  { what: "a last string without its NUL", text: "a\0b", items: ["a", "b"] },
  { what: "empty strings in front and behind", text: "\0a\0\0", items: ["", "a", ""] },
  { what: "bytes that are not UTF-8", text: "\xff\0\x80\n\0", items: ["\xff", "\x80\n"] },
])("a list of $what", ({ text, items }) => {
  const list = stringList(bytesOf(text));
  expect(list.count).toBe(items.length);
  expect(countStrings(list.bytes)).toBe(items.length);
  expect<readonly string[]>([...strings(list)].map(latin1)).toEqual(items);
});

test("a terminated run is not copied, and its strings are views", () => {
  const bytes = bytesOf("a\0b\0");
  const list = stringList(bytes);
  expect(list.bytes).toBe(bytes);
  for (const string of strings(list)) expect(string.buffer).toBe(bytes.buffer);
});

test.each([
  { count: 0, rest: ["pfc", "-w", ""] },
  { count: 1, rest: ["-w", ""] },
  { count: 3, rest: [] },
  { count: 4, rest: [] },
])("dropping $count of three strings leaves $rest", ({ count, rest }) => {
  const dropped = dropStrings(stringList(bytesOf("pfc\0-w\0\0")), count);
  expect(dropped.count).toBe(rest.length);
  expect<readonly string[]>([...strings(dropped)].map(latin1)).toEqual(rest);
});

describe("environmentValue", () => {
  const env =
    "PATHS=no\0A=1\0PATH=/bin:/usr/bin\0PATH=second\0XPATH=no\0EMPTY=\0BARE\0\0=odd\0B=a=b\0";

  test.each([
    { name: "PATH", value: "/bin:/usr/bin" },
    { name: "A", value: "1" },
    { name: "PATHS", value: "no" },
    { name: "EMPTY", value: "" },
    { name: "B", value: "a=b" },
    { name: "", value: "odd" },
    { name: "BARE", value: undefined },
    { name: "ATH", value: undefined },
    { name: "PAT", value: undefined },
    { name: "bin", value: undefined },
    { name: "1", value: undefined },
    { name: "path", value: undefined },
    { name: "MISSING", value: undefined },
    { name: "PATH=/bin:/usr/bin", value: undefined },
    { name: "a", value: undefined },
  ])("of '$name' is $value", ({ name, value }) => {
    const found = environmentValue(stringList(bytesOf(env)), name);
    expect(found && latin1(found)).toBe(value);
  });

  test.each(["", "\0", "A", "=", "A\0=\0"])("finds nothing in %j", (text) => {
    expect(environmentValue(stringList(bytesOf(text)), "A")).toBeUndefined();
  });

  test("reads a list that is a part of a larger block", () => {
    const block = bytesOf("A=outside\0A=inside\0A=behind\0");
    const list = stringList(block.subarray(10, 19));
    expect(latin1(environmentValue(list, "A") ?? new Uint8Array())).toBe("inside");
    expect(environmentValue(list, "B")).toBeUndefined();
  });

  test("keeps a value's bytes as they are", () => {
    const list = stringList(bytesOf("A=\xff\x80\n\0"));
    expect(environmentValue(list, "A")).toEqual(Uint8Array.of(0xff, 0x80, 10));
  });
});

test("latin1 is exact for every byte, both ways", () => {
  const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const text = latin1(all);
  expect([...text].map((character) => character.charCodeAt(0))).toEqual([...all]);
  expect(new Uint8Array(fromLatin1(text))).toEqual(all);
});
