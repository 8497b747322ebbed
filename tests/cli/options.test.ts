import { describe, expect, test } from "bun:test";
import {
  lastValue,
  type Options,
  parseCount,
  parseSeconds,
  readOptions,
  runOptions,
  UsageError,
} from "../../src/cli/options.ts";

const options: Options = {
  wait: { type: "boolean", alias: "w", description: "" },
  create: { type: "boolean", alias: "C", description: "" },
  "no-stdin": { type: "boolean", alias: "n", description: "" },
  json: { type: "boolean", description: "" },
  fd: { type: "string", alias: "f", description: "" },
  mode: { type: "enum", alias: "m", options: ["local", "runtime"], description: "" },
};

interface Row {
  words: string[];
  /** How often each was given. */
  flags?: Record<string, number>;
  values?: Record<string, string[]>;
  count: number;
}

test.each<Row>([
  { words: [], count: 0 },
  { words: ["ls", "-w"], count: 0 },
  { words: ["-"], count: 0 },
  { words: ["", "-w"], count: 0 },
  { words: ["--"], count: 1 },
  { words: ["--", "-w"], count: 1 },
  { words: ["--", "--"], count: 1 },
  { words: ["-w", "--", "--", "-w"], flags: { wait: 1 }, count: 2 },
  { words: ["-w", "ls", "-C"], flags: { wait: 1 }, count: 1 },
  { words: ["-w", "-", "-C"], flags: { wait: 1 }, count: 1 },
  { words: ["--wait", "--json", "x"], flags: { wait: 1, json: 1 }, count: 2 },
  { words: ["--no-stdin", "x"], flags: { "no-stdin": 1 }, count: 1 },
  { words: ["-wCn", "x"], flags: { wait: 1, create: 1, "no-stdin": 1 }, count: 1 },
  { words: ["-ww", "-w"], flags: { wait: 3 }, count: 2 },
  { words: ["-w", "--wait", "x", "-w"], flags: { wait: 2 }, count: 2 },
  { words: ["-wCw", "--create"], flags: { wait: 2, create: 2 }, count: 2 },
  { words: ["--fd", "3"], values: { fd: ["3"] }, count: 2 },
  { words: ["--fd=3"], values: { fd: ["3"] }, count: 1 },
  { words: ["--fd="], values: { fd: [""] }, count: 1 },
  { words: ["--fd", ""], values: { fd: [""] }, count: 2 },
  { words: ["--fd=a=b"], values: { fd: ["a=b"] }, count: 1 },
  { words: ["--fd==", "x"], values: { fd: ["="] }, count: 1 },
  { words: ["--fd", "--wait", "x"], values: { fd: ["--wait"] }, count: 2 },
  { words: ["--fd", "--", "x"], values: { fd: ["--"] }, count: 2 },
  { words: ["--fd", "3", "--fd=4", "-f", "5"], values: { fd: ["3", "4", "5"] }, count: 5 },
  { words: ["-f3"], values: { fd: ["3"] }, count: 1 },
  { words: ["-f", "3", "x"], values: { fd: ["3"] }, count: 2 },
  { words: ["-wf3", "x"], flags: { wait: 1 }, values: { fd: ["3"] }, count: 1 },
  { words: ["-wf", "3", "x"], flags: { wait: 1 }, values: { fd: ["3"] }, count: 2 },
  { words: ["-fw", "x"], values: { fd: ["w"] }, count: 1 },
  { words: ["-f=3"], values: { fd: ["=3"] }, count: 1 },
  { words: ["--mode", "local"], values: { mode: ["local"] }, count: 2 },
  { words: ["-mruntime"], values: { mode: ["runtime"] }, count: 1 },
  { words: ["--mode=local", "--mode=runtime"], values: { mode: ["local", "runtime"] }, count: 2 },
])("$words", ({ words, flags = {}, values = {}, count }) => {
  const reading = readOptions(words, options);
  expect(Object.fromEntries(reading.flags)).toEqual(flags);
  expect(Object.fromEntries(reading.values)).toEqual(values);
  expect(reading.wordCount).toBe(count);
});

const wrong: { words: string[]; message: string }[] = [
  { words: ["--other"], message: "unknown option '--other'" },
  { words: ["--other=3"], message: "unknown option '--other'" },
  { words: ["--Wait"], message: "unknown option '--Wait'" },
  { words: ["--wai"], message: "unknown option '--wai'" },
  { words: ["--wait-"], message: "unknown option '--wait-'" },
  { words: ["--no-wait"], message: "unknown option '--no-wait'" },
  { words: ["--stdin"], message: "unknown option '--stdin'" },
  { words: ["--w"], message: "unknown option '--w'" },
  { words: ["--=3"], message: "unknown option '--'" },
  { words: ["---"], message: "unknown option '---'" },
  { words: ["-x"], message: "unknown option '-x'" },
  { words: ["-wx"], message: "unknown option '-x'" },
  { words: ["-W"], message: "unknown option '-W'" },
  { words: ["-1"], message: "unknown option '-1'" },
  { words: ["-w-"], message: "unknown option '--'" },
  { words: ["-w=1"], message: "unknown option '-='" },
  { words: ["-w", "-C", "--x", "ls"], message: "unknown option '--x'" },
  { words: ["--wait="], message: "option '--wait' takes no value" },
  { words: ["--wait=false"], message: "option '--wait' takes no value" },
  { words: ["--fd"], message: "option '--fd' needs a value" },
  { words: ["-w", "--fd"], message: "option '--fd' needs a value" },
  { words: ["-f"], message: "option '-f' needs a value" },
  { words: ["-wf"], message: "option '-f' needs a value" },
  { words: ["--mode"], message: "option '--mode' needs a value" },
  { words: ["--mode="], message: "option '--mode' is one of local, runtime, not ''" },
  { words: ["--mode", "Local"], message: "option '--mode' is one of local, runtime, not 'Local'" },
  { words: ["--mode=loc"], message: "option '--mode' is one of local, runtime, not 'loc'" },
  { words: ["-mx"], message: "option '-m' is one of local, runtime, not 'x'" },
  {
    words: ["--mode", "--wait"],
    message: "option '--mode' is one of local, runtime, not '--wait'",
  },
  // What every object has is still no option of ours.
  ...["constructor", "toString", "valueOf", "hasOwnProperty", "__proto__", "isPrototypeOf"].flatMap(
    (name) => [
      { words: [`--${name}`, "ls"], message: `unknown option '--${name}'` },
      { words: [`--${name}=3`], message: `unknown option '--${name}'` },
    ],
  ),
];

test.each(wrong)("$words: $message", ({ words, message }) => {
  expect(() => readOptions(words, options)).toThrow(UsageError);
  expect(() => readOptions(words, options)).toThrow(message);
});

test("the last value counts", () => {
  const reading = readOptions(["--fd=1", "-f2", "--fd", "3"], options);
  expect(lastValue(reading, "fd")).toBe("3");
  expect(lastValue(reading, "mode")).toBeUndefined();
});

test("no two options of `run` share a letter", () => {
  const all: Options = runOptions;
  const letters = Object.values(all).flatMap(({ alias }) => alias ?? []);
  expect(letters.length).toBeGreaterThan(0);
  expect(new Set(letters).size).toBe(letters.length);
});

describe("parseCount", () => {
  test.each([
    { text: "1", number: 1 },
    { text: "007", number: 7 },
    { text: "65535", number: 65_535 },
  ])("reads $text", ({ text, number }) => {
    expect(parseCount("fd", text, { min: 1, max: 65_535 })).toBe(number);
  });

  test.each([
    ...["", "0", "-1", "+1", "65536", "999999999", "1000000000", "9".repeat(400)],
    ...["1.0", "1e3", "0x1", " 1", "1 ", "1\n", "a", "NaN", "Infinity", "1,0", "\u0661"],
  ])("refuses %j", (text) => {
    const message = `option '--fd' is a whole number from 1 to 65535, not '${text}'`;
    expect(() => parseCount("fd", text, { min: 1, max: 65_535 })).toThrow(UsageError);
    expect(() => parseCount("fd", text, { min: 1, max: 65_535 })).toThrow(message);
  });
});

describe("parseSeconds", () => {
  test.each([
    { text: "0", ms: 0 },
    { text: "5", ms: 5000 },
    { text: "0.5", ms: 500 },
    { text: "0.001", ms: 1 },
    { text: "1.005", ms: 1005 },
    { text: "8.2", ms: 8200 },
    { text: "999999.999", ms: 999_999_999 },
    { text: "1.1", ms: 1100 },
    { text: ".5", ms: 500 },
    { text: "5.", ms: 5000 },
    { text: "0.0001", ms: 1 },
    { text: "1s", ms: 1000 },
    { text: "1.5m", ms: 90_000 },
    { text: "2h", ms: 7_200_000 },
    { text: "24d", ms: 2_073_600_000 },
  ])("reads $text as $ms ms", ({ text, ms }) => {
    expect(parseSeconds("grace", text)).toBe(ms);
  });

  test.each([
    ...["", ".", "-1", "+1", "25d", "99999999999999", "1e3", "1w", "s", "1,5", " 1", "1 ", "1\n"],
    ...["NaN", "Infinity", "0x1", "1.2.3", "five"],
  ])("refuses %j", (text) => {
    expect(() => parseSeconds("grace", text)).toThrow(UsageError);
    expect(() => parseSeconds("grace", text)).toThrow(`not '${text}'`);
  });
});
