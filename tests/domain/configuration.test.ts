import { describe, expect, test } from "bun:test";
import {
  type CommandConfiguration,
  ConfigurationError,
  parseConfiguration,
  shownName,
} from "../../src/domain/configuration.ts";

const file = "/p/prefork.toml";

/** A command with nothing but its script. */
const plain: CommandConfiguration = {
  name: "x",
  file,
  line: 1,
  script: "/p/x.ts",
  bin: undefined,
  preload: "auto",
  preloadAtStart: false,
  warmup: undefined,
  spares: 1,
  env: [],
  args: [],
  timeoutMs: 0,
  cold: false,
};
const header = '[commands.x]\nscript = "x.ts"\n';

test.each<{ text: string; expected: Partial<CommandConfiguration> }>([
  { text: "", expected: {} },
  { text: "preload = true", expected: { preloadAtStart: true } },
  { text: "preload = false", expected: { preload: [] } },
  { text: 'preload = "auto"', expected: {} },
  { text: "preload = []", expected: { preload: [] } },
  {
    text: 'preload = ["./a.ts", "../b", "/c", "eslint", "@x/y", ".d", "..", "e/f"]',
    expected: { preload: ["/p/a.ts", "/p/../b", "/c", "eslint", "@x/y", ".d", "/p/..", "e/f"] },
  },
  { text: 'warmup = "./w.ts"', expected: { warmup: "/p/w.ts" } },
  { text: 'warmup = "w"', expected: { warmup: "w" } },
  { text: "spares = 0", expected: { spares: 0 } },
  { text: "spares = 16", expected: { spares: 16 } },
  { text: 'env = ["A", "b.c", "ä"]', expected: { env: ["A", "b.c", "ä"] } },
  { text: 'args = ["", "--x=1", "a\\nb"]', expected: { args: ["", "--x=1", "a\nb"] } },
  { text: "timeout = 0", expected: {} },
  { text: "timeout = 1.5", expected: { timeoutMs: 1500 } },
  { text: "timeout = 1e-9", expected: { timeoutMs: 1 } },
  { text: 'timeout = "2m"', expected: { timeoutMs: 120_000 } },
  { text: 'timeout = "24d"', expected: { timeoutMs: 2_073_600_000 } },
  { text: "cold = true", expected: { cold: true } },
  { text: "cold = false", expected: {} },
])("a command with $text", ({ text, expected }) => {
  expect(parseConfiguration(header + text, file)).toEqual([{ ...plain, ...expected }]);
});

test.each<{ what: string; text: string; expected: Partial<CommandConfiguration>[] }>([
  { what: "nothing", text: "", expected: [] },
  { what: "a comment only", text: "# [commands.x]", expected: [] },
  { what: "no commands", text: "[commands]\n", expected: [] },
  { what: "a bin", text: '[commands.x]\nbin = "y"', expected: [{ script: undefined, bin: "y" }] },
  {
    what: "an absolute script",
    text: '[commands.x]\nscript = "/a/b"',
    expected: [{ script: "/a/b" }],
  },
  {
    what: "a script above",
    text: '[commands.x]\nscript = "../b"',
    expected: [{ script: "/p/../b" }],
  },
  {
    what: "tables in any form",
    text: [
      ...["", "commands.a.bin = 'a'", "[ commands . 'b c' ] # [commands.no]", 'bin = "b"'],
      ...["args = [", "  '[commands.no]', # ]", "  ']'", "]", '[commands."d\\u0065"]', "bin = 'd'"],
    ].join("\n"),
    expected: [
      { name: "a", line: 2, script: undefined, bin: "a" },
      { name: "b c", line: 3, script: undefined, bin: "b", args: ["[commands.no]", "]"] },
      { name: "de", line: 9, script: undefined, bin: "d" },
    ],
  },
  {
    what: "texts over several lines",
    text: [
      ...[
        "[commands.x]",
        "script = 'x.ts'",
        'args = ["""',
        "[commands.x2]",
        'a\\""" b"""", ',
        "'''",
      ],
      ...["[commands.x3]''']", "[commands.y]", "script = 'x.ts'"],
    ].join("\n"),
    expected: [{ args: ['[commands.x2]\na""" b"', "[commands.x3]"] }, { name: "y", line: 8 }],
  },
  {
    what: "inline tables",
    text: "[commands]\n\nx = { script = 'x.ts' }\ny.script = 'x.ts'",
    expected: [{ line: 3 }, { name: "y", line: 4 }],
  },
  {
    what: "names that objects have",
    text: "[commands.__proto__]\nscript='x.ts'\n[commands.constructor]\nscript='x.ts'",
    expected: [
      { name: "__proto__", line: 1 },
      { name: "constructor", line: 3 },
    ],
  },
  {
    what: "line breaks of Windows, and a byte order mark",
    text: "\ufeff# x\r\n\r\n[commands.x]\r\nscript = 'x.ts'\r\n",
    expected: [{ line: 3 }],
  },
])("$what", ({ text, expected }) => {
  const commands = parseConfiguration(text, file);
  expect(commands).toEqual(expected.map((command) => ({ ...plain, ...command })));
});

describe("an error says where, what, and what is allowed", () => {
  test.each([
    { text: "a = ", message: ":1: Missing value" },
    { text: "\n\n[commands.x\nbin = 'x'", message: ":3: " },
    { text: "[commands.x]\nbin = 'x'\nbin = 'y'", message: ":3: Cannot redefine key 'bin'" },
    {
      text: "[commands.x]\nbin = 'x'\n\n[commands.x]\n",
      message: ":4: Cannot redefine table 'x'",
    },
    { text: "[commands.x]\nbin = 'x'\nargs = [\n 1,\n ]]\ncold = true", message: ":3: " },
    { text: "[commands.x]\nbin = 'x'\nargs = '''\n\n", message: ":3: Unterminated string" },
    { text: '# é\n[commands.x]\nbin = "x', message: ":3: Unterminated string" },
    { text: "\0", message: ":1: Expected a key" },
    { text: `x = ${"[".repeat(60_000)}`, message: ":1: " },
    { text: "x = 99999999999999999999", message: ":1: Integer is outside" },
    { text: "\ncommand.x = 1", message: ":2: command: unknown (only [commands.NAME] is allowed)" },
    { text: "spares = 1", message: ":1: spares: unknown (only" },
    { text: "commands = 1", message: ":1: commands: not a table (use [commands.NAME])" },
    { text: "commands = 2020-01-01", message: ":1: commands: not a table" },
    { text: "[[commands]]\nx = 1", message: ":1: commands: not a table" },
    {
      text: "[commands]\n\nx = 1",
      message: ":3: commands.x: not a table (use [commands.x])",
    },
    { text: "[[commands.x]]\nbin = 'x'", message: ":1: commands.x: not a table" },
    { text: "[commands]\nx = 2020-01-01", message: ":2: commands.x: not a table" },
    { text: "[commands.'']\nbin = 'x'", message: ':1: commands."": not a command\'s name (' },
    { text: "[commands.'a/b']\nbin = 'x'", message: ':1: commands."a/b": not a command\'s name' },
    { text: "[commands.'.']\nbin = 'x'", message: ':1: commands.".": not a command\'s name' },
    { text: "[commands.'..']\nbin = 'x'", message: ':1: commands."..": not a command\'s name' },
    { text: '[commands."\\u0000"]\nbin = "x"', message: ':1: commands."\\u0000": not a' },
    { text: '[commands."\\u0085"]\nbin = ""', message: ':2: commands."\\u0085".bin: "" is not' },
    { text: `[commands."${"é".repeat(128)}"]\nbin = "x"`, message: "not a command's name" },
    { text: "[commands.add]\nbin = 'x'", message: ":1: commands.add: built in (any other name" },
    { text: "\n[commands.x]", message: ":2: commands.x: says not what to run (one of the keys" },
    {
      text: "[commands.x]\nscript = 'x'\nbin = 'x'",
      message: ":3: commands.x.bin: there is script, too (only one of them is allowed)",
    },
    {
      text: "[commands.x]\nbin = 'x'\n\nspare = 1",
      message: ":4: commands.x.spare: unknown key (allowed: script, bin, preload, warmup, ",
    },
    {
      text: "[commands.x]\nbin = 'x'\n[commands.x.env]\nA = 1",
      message: ":3: commands.x.env: a ta",
    },
    { text: "[commands.x]\nbin='x'\n__proto__ = 1", message: ":3: commands.x.__proto__: unknown" },
  ])("as in $message", ({ text, message }) => {
    expect(() => parseConfiguration(text, file)).toThrow(ConfigurationError);
    expect(() => parseConfiguration(text, file)).toThrow(message);
    expect(() => parseConfiguration(text, file)).toThrow(/^\/p\/prefork\.toml:\d+: .*\)$/);
  });

  test.each([
    { line: "script = 1", message: "1 is not allowed (the path of a file is)" },
    { line: 'script = ""', message: '"" is not allowed' },
    { line: 'script = "a\\u0000"', message: '"a\\u0000" is not allowed' },
    { line: 'script = ["a"]', message: "a list is not allowed" },
    { line: "bin = true", message: "true is not allowed (a name in node_modules/.bin is)" },
    { line: 'bin = "./x"', message: '"./x" is no file\'s name' },
    { line: 'bin = ".."', message: '".." is no file\'s name' },
    { line: "preload = 1", message: '1 is not allowed (true, false, "auto" or a list of mod' },
    { line: 'preload = "eslint"', message: '"eslint" is not allowed' },
    { line: 'preload = ["a", 1]', message: "1 is not allowed" },
    { line: 'preload = [""]', message: '"" is not allowed' },
    { line: 'preload = ["a", ["b"]]', message: "a list is not allowed" },
    { line: "preload = { a = 1 }", message: "a table is not allowed" },
    { line: "warmup = false", message: "false is not allowed (the path or the package of a mod" },
    { line: 'warmup = ""', message: '"" is not allowed' },
    { line: "spares = -1", message: "-1 is not allowed (a whole number from 0 to 16 is)" },
    { line: "spares = 17", message: "17 is not allowed" },
    { line: "spares = 1.5", message: "1.5 is not allowed" },
    { line: "spares = nan", message: "NaN is not allowed" },
    { line: 'spares = "1"', message: '"1" is not allowed' },
    { line: 'env = "A"', message: '"A" is not allowed (a list of variables\' names is)' },
    { line: 'env = ["A=1"]', message: '"A=1" is not allowed' },
    { line: 'env = ["A", ""]', message: '"" is not allowed' },
    { line: 'env = ["A\\u0000"]', message: '"A\\u0000" is not allowed' },
    { line: "env = [2020-01-01]", message: "a date or time is not allowed" },
    { line: 'args = "--x"', message: '"--x" is not allowed (a list of texts without NUL is)' },
    { line: "args = [1]", message: "1 is not allowed" },
    { line: 'args = ["\\u0000"]', message: '"\\u0000" is not allowed' },
    { line: "timeout = -1", message: "-1 is not allowed (a number of seconds, or a text such" },
    { line: "timeout = nan", message: "NaN is not allowed" },
    { line: "timeout = inf", message: "Infinity is not allowed" },
    { line: "timeout = 2200000", message: "2200000 is not allowed" },
    { line: 'timeout = "25d"', message: '"25d" is not allowed' },
    { line: 'timeout = ""', message: '"" is not allowed' },
    { line: 'timeout = "2 m"', message: '"2 m" is not allowed' },
    { line: "timeout = true", message: "true is not allowed" },
    { line: 'cold = "yes"', message: '"yes" is not allowed (true or false is)' },
    { line: "cold = 1", message: "1 is not allowed" },
  ])("$line", ({ line, message }) => {
    const key = line.slice(0, line.indexOf(" "));
    const usual = key === "script" || key === "bin" ? "" : 'bin = "x"';
    const text = `[commands.x]\n${usual}\n# a comment\n${line}\n[commands.y]\nbin = "y"`;
    expect(() => parseConfiguration(text, file)).toThrow(ConfigurationError);
    expect(() => parseConfiguration(text, file)).toThrow(
      `${file}:4: commands.x.${key}: ${message}`,
    );
  });
});

test("nothing in a message acts on a terminal or begins another line", () => {
  const text = '[commands."\\u001b[31m\\n\\u009b"]\n';
  expect(() => parseConfiguration(text, "/p\n\u001b/prefork.toml")).toThrow(
    '/p\\n\\u001b/prefork.toml:1: commands."\\u001b[31m\\n\\u009b": says not',
  );
});

test.each([
  { name: "eslint", shown: "eslint" },
  { name: "a-b_1", shown: "a-b_1" },
  { name: "a.b", shown: '"a.b"' },
  { name: "é", shown: '"é"' },
  { name: "\u007f", shown: '"\\u007f"' },
  { name: "", shown: '""' },
])("the name $name is shown as $shown", ({ name, shown }) => {
  expect(shownName(name)).toBe(shown);
});

test("a large file of statements that never end is read in no time", () => {
  const before = performance.now();
  for (const part of ['"""\\', "'''x", '"\\', "[", "a=1\n", "a.", "'"]) {
    const text = part.repeat(Math.floor(65_536 / part.length));
    expect(() => parseConfiguration(text, file)).toThrow(ConfigurationError);
  }
  const many = Array.from({ length: 2000 }, (_, index) => `[commands.x${index}]\nbin = "x"`);
  expect(parseConfiguration(many.join("\n"), file)).toHaveLength(2000);
  expect(performance.now() - before).toBeLessThan(5000);
});
