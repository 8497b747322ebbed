import { describe, expect, test } from "bun:test";
import { goalCells, median, quantile, shortNumber, shuffled, verdictOf } from "./statistics.ts";

describe("quantile", () => {
  test.each([
    { values: [3, 1, 2], part: 0.5, expected: 2 },
    { values: [4, 1, 3, 2], part: 0.5, expected: 2 },
    { values: [10, 9, 8, 7, 6, 5, 4, 3, 2, 1], part: 0.95, expected: 10 },
    { values: Array.from({ length: 20 }, (_, index) => index + 1), part: 0.95, expected: 19 },
    { values: [7], part: 0.95, expected: 7 },
    { values: [5, 100], part: 0, expected: 5 },
  ])("the $part of $values is $expected", ({ values, part, expected }) => {
    expect(quantile(values, part)).toBe(expected);
  });

  test("sorts by number and leaves the samples as they are", () => {
    const samples = [100, 20, 3];
    expect(median(samples)).toBe(20);
    expect(samples).toEqual([100, 20, 3]);
  });

  test("is no number without a sample", () => {
    expect(median([])).toBeNaN();
  });
});

describe("shuffled", () => {
  test("keeps every item once", () => {
    const items = Array.from({ length: 50 }, (_, index) => index);
    const result = shuffled(items, Math.random);
    expect(result.toSorted((a, b) => a - b)).toEqual(items);
  });

  test("every order of three can come", () => {
    const orders = new Set<string>();
    for (const first of [0, 0.4, 0.9]) {
      for (const second of [0, 0.9]) {
        const numbers = [first, second, 0];
        orders.add(shuffled(["a", "b", "c"], () => numbers.shift() ?? 0).join(""));
      }
    }
    expect([...orders].sort()).toEqual(["abc", "acb", "bac", "bca", "cab", "cba"]);
  });
});

describe("a goal", () => {
  const base = { what: "a job", limit: 1.5 } as const;
  test.each([
    { is: "at most", measured: 1.5, verdict: "met" },
    { is: "at most", measured: 1.51, verdict: "missed" },
    { is: "at least", measured: 1.5, verdict: "met" },
    { is: "at least", measured: 1.49, verdict: "missed" },
    { is: "at most", measured: undefined, verdict: "not measured" },
    { is: "at least", measured: Number.NaN, verdict: "not measured" },
  ] as const)("$is 1.5, measured $measured: $verdict", ({ is, measured, verdict }) => {
    expect(verdictOf({ ...base, is, measured })).toBe(verdict);
  });

  test("is shown with its unit and what was measured", () => {
    const goal = { ...base, is: "at most", limit: 64, measured: 36, unit: "KiB" } as const;
    expect(goalCells(goal)).toEqual(["a job", "≤ 64 KiB", "36.0 KiB", "met"]);
  });

  test("shows nothing that was not measured", () => {
    const goal = { ...base, is: "at least", measured: undefined } as const;
    expect(goalCells(goal)).toEqual(["a job", "≥ 1.5", "", "not measured"]);
  });
});

test.each([
  [1.234, "1.23"],
  [12.34, "12.3"],
  [1234.5, "1235"],
  [Number.NaN, ""],
  [undefined, ""],
])("%p is shown as %p", (value, expected) => {
  expect(shortNumber(value)).toBe(expected);
});
