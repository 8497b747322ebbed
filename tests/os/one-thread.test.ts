/** The environment in which prefork's own processes run on one thread. */
import { describe, expect, test } from "bun:test";
import { latin1, strings } from "../../src/base/strings.ts";
import { isDaemonEnvironment, oneThreadEnvironment } from "../../src/os/one-thread.ts";
import { bytesOf, listOf } from "../helpers/arbitraries.ts";

const settings = [...strings(oneThreadEnvironment(listOf([]), "daemon"))].map(latin1);
const texts = (entries: readonly string[]): string[] =>
  [...strings(oneThreadEnvironment(listOf(entries.map(bytesOf)), "daemon"))].map(latin1);

test("the settings are variables for JavaScriptCore, each once", () => {
  expect(settings.length).toBeGreaterThan(0);
  for (const setting of settings) expect(setting).toMatch(/^BUN_JSC_\w+=\d+$/);
  expect(new Set(settings).size).toBe(settings.length);
});

test.each([
  { what: "nothing", entries: [], kept: [] },
  { what: "a variable", entries: ["A=1"], kept: ["A=1"] },
  { what: "the order, and doubles", entries: ["B=2", "A=1", "B=3"], kept: ["B=2", "A=1", "B=3"] },
  {
    what: "empty and odd entries",
    entries: ["", "=", "BARE", "X="],
    kept: ["", "=", "BARE", "X="],
  },
  { what: "any bytes", entries: ["\xff=\x80\n"], kept: ["\xff=\x80\n"] },
  {
    what: "names like Bun's",
    entries: ["BUN=1", "XBUN_A=1", "bun_a=1"],
    kept: ["BUN=1", "XBUN_A=1", "bun_a=1"],
  },
  { what: "none of Bun's", entries: ["BUN_JSC_x=1", "A=1", "BUN_OPTIONS=--x"], kept: ["A=1"] },
])("keeps $what", ({ entries, kept }) => {
  expect(texts(entries)).toEqual([...kept, ...settings]);
});

test("made twice it is the same", () => {
  expect(texts(texts(["A=1", "BUN_X=2"]))).toEqual(texts(["A=1", "BUN_X=2"]));
});

describe("is recognized", () => {
  const all = ["A=1", ...settings];
  const isRecognized = (entries: readonly string[]): boolean =>
    isDaemonEnvironment(listOf(entries.map(bytesOf)));

  test("as it was made, in any order", () => {
    expect(isRecognized(all)).toBe(true);
    expect(isRecognized([...all].reverse())).toBe(true);
  });

  test.each(settings)("not without %s", (setting) => {
    expect(isRecognized(all.filter((entry) => entry !== setting))).toBe(false);
    expect(isRecognized(all.map((entry) => (entry === setting ? `${entry}0` : entry)))).toBe(false);
    expect(isRecognized(all.map((entry) => (entry === setting ? `X${entry}` : entry)))).toBe(false);
  });
});
