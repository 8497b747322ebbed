/** Reading the output of BusyBox's tests, and judging it. */
import { describe, expect, test } from "bun:test";
import {
  failedParts,
  findReverse,
  findSuspects,
  judge,
  parseResults,
  type Tries,
  type Verdict,
} from "./results.ts";

describe("reading", () => {
  const cases: [string, string, Record<string, string>][] = [
    ["nothing", "", {}],
    [
      "what runtest prints",
      "PASS: cat -e\nFAIL: cat: x\nSKIPPED: y\nUNTESTED: z\n",
      { "cat -e": "PASS", "cat: x": "FAIL", y: "SKIPPED", z: "UNTESTED" },
    ],
    [
      "what run-all prints",
      "ash-vars/a.tests: ok\nash-vars/b.tests: fail\n",
      { "ash-vars/a.tests": "PASS", "ash-vars/b.tests": "FAIL" },
    ],
    [
      "tests of one name",
      "PASS: a\nFAIL: a\nPASS: a\n",
      { a: "PASS", "a (2)": "FAIL", "a (3)": "PASS" },
    ],
    ["an empty name", "FAIL: \n", { "": "FAIL" }],
    [
      "anything else",
      "3 failure(s) detected\nNo ./ash\na: ok\nPASSED: no\n PASS: no\nash-x/y:",
      {},
    ],
  ];
  test.each(cases)("%s", (_, output, expected) => {
    const results: Record<string, string> = Object.fromEntries(parseResults(output));
    expect(results).toEqual(expected);
  });
});

test("a suspect passes directly and not through", () => {
  const direct = parseResults("PASS: a\nPASS: b\nFAIL: c\nPASS: d\nSKIPPED: e\nFAIL: f\nPASS: g\n");
  const through = parseResults("PASS: a\nFAIL: b\nPASS: c\nSKIPPED: e\nFAIL: f\nSKIPPED: g\n");
  expect(findSuspects(direct, through)).toEqual(["b", "d", "g"]);
  expect(findReverse(direct, through)).toEqual(["c"]);
});

test("of a verbose run the tests that failed are shown", () => {
  const line = "======================\n";
  const output = `${line}echo a\nPASS: a\n${line}echo b\nFAIL: b\n-x\n+y\n${line}echo c\nPASS: c\n`;
  expect(failedParts(output)).toBe("echo b\nFAIL: b\n-x\n+y\n");
  expect(failedParts("ash-x/a.tests: ok\n")).toBe("");
  const ofShell = "ash-x/a.tests: fail\n--- a.xx\n+++ a.right\n-x\n+y\n";
  expect(failedParts(ofShell)).toBe(ofShell);
});

describe("judging", () => {
  const cases: [string, Omit<Tries, "name" | "runs">, Verdict][] = [
    ["never through", { direct: 3, through: 0, withoutPrefork: true }, "regression"],
    ["not always through", { direct: 3, through: 1, withoutPrefork: true }, "regression"],
    ["once not through", { direct: 3, through: 2, withoutPrefork: true }, "unsteady"],
    ["not always directly", { direct: 2, through: 0, withoutPrefork: true }, "unsteady"],
    ["not with the wrapper alone", { direct: 3, through: 0, withoutPrefork: false }, "wrapper"],
  ];
  test.each(cases)("%s", (_, tries, expected) => {
    expect(judge({ name: "a", runs: 3, ...tries })).toBe(expected);
  });
});
