/** What edits make of an environment, compared with a model: getenv(3) on the result. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { latin1, strings } from "../../src/base/strings.ts";
import { type EnvironmentEdits, editEnvironment } from "../../src/domain/environment.ts";
import { bytesOf, cBytes, listOf } from "../helpers/arbitraries.ts";
import { holdsFor } from "../helpers/property.ts";

/** Few of them, so that they meet. */
const name = fc.constantFrom("A", "B", "AB", "a", "\xff");
const value = fc.oneof(fc.constantFrom("", "1", "=", "A=1", "\n", "\x80"), cBytes.map(latin1));
const setting = fc.tuple(name, value).map(([own, text]) => `${own}=${text}`);
/** As others may have made it: doubles, entries without a value or without anything. */
const entries = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: setting },
    { weight: 1, arbitrary: name },
    { weight: 1, arbitrary: fc.constantFrom("", "=", "=x") },
  ),
  { maxLength: 10 },
);
const edits: fc.Arbitrary<EnvironmentEdits> = fc.record({
  clear: fc.boolean(),
  unset: fc.array(name, { maxLength: 4 }),
  set: fc.array(fc.oneof(setting, name), { maxLength: 6 }),
});

const nameIn = (entry: string): string => entry.split("=", 1)[0] ?? "";

/** The value getenv(3) finds: the first entry that has one. */
function getenv(all: readonly string[], wanted: string): string | undefined {
  return all.find((entry) => entry.startsWith(`${wanted}=`))?.slice(wanted.length + 1);
}

function edit(all: readonly string[], change: EnvironmentEdits): string[] {
  return strings(editEnvironment(listOf(all.map(bytesOf)), change)).map(latin1);
}

/** What getenv(3) is to find afterwards; the order is clear, unset, set. */
function model(
  all: readonly string[],
  { clear, unset, set }: EnvironmentEdits,
  wanted: string,
): string | undefined {
  const last = set.findLast((word) => nameIn(word) === wanted);
  const isCleared = clear || unset.includes(wanted);
  if (last?.includes("=")) return last.slice(wanted.length + 1);
  if (last !== undefined || !isCleared) return getenv(all, wanted);
  return undefined;
}

test("each variable has the value that was asked for", () => {
  holdsFor(fc.tuple(entries, edits), ([all, change]) => {
    const after = edit(all, change);
    for (const wanted of ["A", "B", "AB", "a", "\xff", "C"]) {
      expect(getenv(after, wanted)).toBe(model(all, change, wanted) as string);
    }
  });
});

test("what is not named keeps its bytes and its order", () => {
  holdsFor(fc.tuple(entries, edits), ([all, change]) => {
    const named = new Set([...change.unset, ...change.set.map(nameIn)]);
    const isKept = (entry: string): boolean => !named.has(nameIn(entry));
    expect(edit(all, change).filter(isKept)).toEqual(change.clear ? [] : all.filter(isKept));
  });
});

test("what is set stands there once, and what is only unset not at all", () => {
  holdsFor(fc.tuple(entries, edits), ([all, change]) => {
    const after = edit(all, change).map(nameIn);
    const countOf = (wanted: string): number => after.filter((one) => one === wanted).length;
    for (const word of change.set.filter((one) => one.includes("="))) {
      const last = change.set.findLast((one) => nameIn(one) === nameIn(word));
      if (last === word) expect(countOf(nameIn(word))).toBe(1);
    }
    const set = new Set(change.set.map(nameIn));
    for (const one of change.unset) if (!set.has(one)) expect(countOf(one)).toBe(0);
  });
});

test("no edits change nothing, and edits made twice make no difference", () => {
  holdsFor(fc.tuple(entries, edits), ([all, change]) => {
    expect(edit(all, { clear: false, unset: [], set: [] })).toEqual(all);
    const withValues = { ...change, set: change.set.filter((word) => word.includes("=")) };
    const once = edit(all, withValues);
    expect(edit(once, withValues).sort()).toEqual(once.sort());
  });
});
