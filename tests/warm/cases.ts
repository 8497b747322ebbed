/** What is run in the comparison: tools, and by chance their surroundings and what they are called with. */
import fc from "fast-check";

/** What a run has in common with some others: an image made in it can serve those, too. */
export interface Surroundings {
  readonly place: Place;
  /** How a script is named; a tool from a package has one name only. */
  readonly spelling: "absolute" | "relative" | "link";
  readonly env: Readonly<Record<string, string>>;
}

/**
 * The directory it runs in: see `makePlaces`. Its own name has no space: a project's name is a part of
 * a socket's, and the client refuses one that cannot be.
 */
export const places = ["plain", "with some spaces/project", "linked"] as const;
type Place = (typeof places)[number];

/** What is new in each run. */
export interface Call {
  readonly args: readonly string[];
  readonly stdin?: string;
  /** Written into the directory before. */
  readonly files?: Readonly<Record<string, string>>;
  /** More variables. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface Tool {
  readonly name: string;
  /** A file below tests/fixtures/warm; left out, the tool is the program `name` of a package. */
  readonly script?: string;
  readonly calls: fc.Arbitrary<Call>;
  /** What part of the cases is enough for it. */
  readonly part?: number;
  /** It says how streams are: it is run on a terminal, too. */
  readonly isForTerminals?: true;
}

const text = fc.string({ unit: "grapheme", maxLength: 12 }).filter((word) => !word.includes("\0"));
const plainWord = fc.stringMatching(/^[a-z0-9äß ]{1,10}$/);
const anyWord = fc.oneof(plainWord, text);

const variables = fc.record(
  {
    FORCE_COLOR: fc.constantFrom("", "0", "1", "3"),
    NO_COLOR: fc.constantFrom("", "1"),
    TERM: fc.constantFrom("dumb", "xterm-256color"),
    COLORTERM: fc.constant("truecolor"),
    CI: fc.constant("true"),
    TZ: fc.constantFrom("UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia"),
    LANG: fc.constantFrom("C", "C.UTF-8", "de_DE.UTF-8"),
    LC_ALL: fc.constantFrom("C", "tr_TR.UTF-8"),
    NODE_ENV: fc.constantFrom("production", "development", "test"),
  },
  { requiredKeys: [] },
);
const extras = fc
  .array(text, { maxLength: 3 })
  .map((values) =>
    Object.fromEntries(values.map((value, index): [string, string] => [`EXTRA_${index}`, value])),
  );

export const surroundings: fc.Arbitrary<Surroundings> = fc.record({
  place: fc.constantFrom(...places),
  spelling: fc.constantFrom("absolute", "relative", "link"),
  env: fc.tuple(variables, extras).map(([known, extra]) => ({ ...known, ...extra })),
});

/** Words only, and a variable that no other run has. */
const wordsOnly: fc.Arbitrary<Call> = fc.record({
  args: fc.array(anyWord, { maxLength: 4 }),
  env: text.map((value) => ({ OF_THIS_RUN: value })),
});

/** A source text with something to complain about. */
const source = fc
  .array(
    fc.constantFrom(
      "const unused = 1;",
      "let never: any = 2",
      "export var old = (1,2);",
      "if (old == null) { debugger }",
      "function f(a:number,b?:string){return a+(b??'')+f.name}",
      "export const text = `a b`+`c`;",
      "export type Shape = {a:1}|{b:2}; // a comment",
      "export const list=[1,2,3,,];",
      "class A<T>{ private x?:T; get y(){return this.x} }",
    ),
    { maxLength: 6 },
  )
  .map((lines) => [...new Set(lines)].map((line) => `${line}\n`).join(""));
const brokenSource = fc.constantFrom("const = 3;\n", "export {\n", "let a = `\n", "\u0000");
const anySource = fc.oneof(
  { weight: 5, arbitrary: source },
  { weight: 1, arbitrary: brokenSource },
);

/** Calls with words that stand for files, and the files. */
function onFile(...lists: readonly (readonly string[])[]): fc.Arbitrary<Call> {
  return fc
    .tuple(fc.constantFrom(...lists), anySource)
    .map(([args, content]) => ({ args, files: { "given.ts": content, "given.js": content } }));
}

const eslintCalls = fc.oneof(
  onFile(
    ["."],
    ["sample.ts"],
    ["given.ts"],
    ["given.ts", "small.js"],
    ["--fix", "given.ts"],
    ["--fix-dry-run", "--format", "json", "given.ts"],
    ["--format", "json-with-metadata", "given.ts", "--no-color"],
    ["--color", "small.js"],
    ["--max-warnings", "0", "given.ts"],
    ["--quiet", "given.ts", "sample.ts"],
    ["--print-config", "given.ts"],
    ["--rule", '{"semi": "error"}', "given.ts"],
    ["--no-such-option"],
    ["no-such-file.ts"],
    ["--version"],
    ["--help"],
  ),
  anySource.map((stdin) => ({ args: ["--stdin", "--stdin-filename", "given.ts"], stdin })),
);

const prettierCalls = fc.oneof(
  onFile(
    ["sample.ts"],
    ["given.ts"],
    ["--check", "."],
    ["--check", "given.ts", "small.js"],
    ["--list-different", "."],
    ["--log-level", "silent", "--write", "given.ts"],
    ["--no-config", "given.ts"],
    ["--print-width", "40", "--tab-width=7", "given.ts"],
    ["--find-config-path", "given.ts"],
    ["--file-info", "given.js"],
    ["--no-such-option", "given.ts"],
    ["no-such-file.ts"],
    ["--version"],
    [],
  ),
  anySource.map((stdin) => ({ args: ["--stdin-filepath", "given.ts"], stdin })),
);

const compileCalls = onFile(
  ["transpile", "sample.ts"],
  ["transpile", "given.ts"],
  ["transpile", "given.ts", "given.js"],
  ["transpile", "no-such-file.ts"],
  ["check", "given.ts"],
  ["check", "given.ts", "sample.ts"],
  ["check", "no-such-file.ts"],
  ["neither"],
);

const stdinCalls: fc.Arbitrary<Call> = fc
  .oneof(
    text,
    fc.array(text, { maxLength: 2000 }).map((lines) => lines.join("\n")),
  )
  .map((stdin) => ({ args: [], stdin }));

const end = (name: string, args: fc.Arbitrary<readonly string[]> = fc.constant([])): Tool => ({
  name: `an end: ${name}`,
  script: `ends/${name}.ts`,
  calls: args.map((words) => ({ args: words })),
  part: 1 / 4,
});

export const tools: readonly Tool[] = [
  { name: "eslint", calls: eslintCalls },
  { name: "prettier", calls: prettierCalls },
  { name: "the compiler API", script: "compile.ts", calls: compileCalls },
  { name: "one that reads stdin", script: "read-stdin.ts", calls: stdinCalls },
  { name: "top-level await", script: "top-level-await.mjs", calls: wordsOnly },
  { name: "chalk", script: "colours.ts", calls: wordsOnly, isForTerminals: true },
  { name: "one that starts children", script: "spawn-children.ts", calls: wordsOnly },
  { name: "one that serves HTTP", script: "serve-http.ts", calls: wordsOnly },
  {
    name: "an ES module that describes itself",
    script: "describe-itself/esm.ts",
    calls: wordsOnly,
    isForTerminals: true,
  },
  {
    name: "a CommonJS module that describes itself",
    script: "describe-itself/commonjs.cts",
    calls: wordsOnly,
    isForTerminals: true,
  },
  {
    name: "three modules",
    script: "three-modules.ts",
    calls: fc.array(fc.oneof(fc.integer().map(String), plainWord)).map((args) => ({ args })),
  },
  end("throw"),
  end("reject"),
  end("exit"),
  end("exit-code"),
  end("signal", fc.constantFrom([], ["SIGKILL"], ["SIGHUP"], ["SIGINT"], ["SIGABRT"])),
  end("uncaught"),
  end("timers"),
  end("missing-import"),
];
