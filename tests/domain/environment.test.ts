import { expect, test } from "bun:test";
import { latin1, strings } from "../../src/base/strings.ts";
import { type EnvironmentEdits, editEnvironment, nameOf } from "../../src/domain/environment.ts";
import { bytesOf, listOf } from "../helpers/arbitraries.ts";

const before = ["A=1", "B=", "C=x=y", "BARE", "A=2", "\xff=\x80"];

function edited(edits: Partial<EnvironmentEdits>, entries: readonly string[] = before): string[] {
  const env = listOf(entries.map(bytesOf));
  const after = editEnvironment(env, { clear: false, unset: [], set: [], ...edits });
  const texts = strings(after).map(latin1);
  expect(after.count).toBe(texts.length);
  return texts;
}

test.each<{ what: string; edits: Partial<EnvironmentEdits>; after: string[] }>([
  { what: "nothing", edits: {}, after: before },
  { what: "all is cleared", edits: { clear: true }, after: [] },
  {
    what: "one is unset, wherever it stands",
    edits: { unset: ["A"] },
    after: before.filter((entry) => nameOf(entry) !== "A"),
  },
  { what: "one that is not there is unset", edits: { unset: ["Z", "a"] }, after: before },
  {
    what: "one without a value is unset",
    edits: { unset: ["BARE"] },
    after: ["A=1", "B=", "C=x=y", "A=2", "\xff=\x80"],
  },
  { what: "a new one comes last", edits: { set: ["Z=9"] }, after: [...before, "Z=9"] },
  {
    what: "one is set where it stood first, once",
    edits: { set: ["A=9"] },
    after: ["A=9", "B=", "C=x=y", "BARE", "\xff=\x80"],
  },
  {
    what: "the last of a name wins",
    edits: { set: ["Z=1", "Y=2", "Z=3"] },
    after: [...before, "Z=3", "Y=2"],
  },
  {
    what: "an empty value",
    edits: { set: ["C="] },
    after: ["A=1", "B=", "C=", "BARE", "A=2", "\xff=\x80"],
  },
  { what: "a value with =", edits: { set: ["Z=a=b="] }, after: [...before, "Z=a=b="] },
  {
    what: "set wins over unset",
    edits: { unset: ["Z", "B"], set: ["Z=1", "B=2"] },
    after: ["A=1", "B=2", "C=x=y", "BARE", "A=2", "\xff=\x80", "Z=1"],
  },
  { what: "set comes after clear", edits: { clear: true, set: ["Z=1"] }, after: ["Z=1"] },
  {
    what: "a name alone keeps the caller's value over clear and unset",
    edits: { clear: true, unset: ["C"], set: ["C"] },
    after: ["C=x=y"],
  },
  {
    what: "of two, the value getenv(3) would find",
    edits: { clear: true, set: ["A"] },
    after: ["A=1"],
  },
  { what: "a name alone that the caller has not", edits: { clear: true, set: ["Z"] }, after: [] },
  {
    what: "a name alone that the caller has not takes a value before it back",
    edits: { set: ["Z=1", "Z"] },
    after: before,
  },
  { what: "a name alone, then a value", edits: { clear: true, set: ["A", "A=9"] }, after: ["A=9"] },
  {
    what: "bytes that are no text",
    edits: { set: ["\xff=\xfe"] },
    after: ["A=1", "B=", "C=x=y", "BARE", "A=2", "\xff=\xfe"],
  },
])("$what", ({ edits, after }) => {
  expect(edited(edits)).toEqual(after);
});

test.each([
  { entry: "A=1", name: "A" },
  { entry: "A", name: "A" },
  { entry: "A==", name: "A" },
  { entry: "=1", name: "" },
  { entry: "", name: "" },
])("the name of '$entry' is '$name'", ({ entry, name }) => {
  expect(nameOf(entry)).toBe(name);
});
