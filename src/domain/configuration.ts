/**
 * What a prefork.toml (or the user's config.toml) says about commands: reading and checking its
 * text. Finding the files, and whether they may be used, is execution/configuration.ts's.
 */
import { milliseconds, parseDuration } from "../base/duration.ts";
import { fileNameBytesMax, sparesDefault, sparesMax, timeoutMsMax } from "../base/limits.ts";
import { fromUtf8 } from "../base/strings.ts";
import { isBuiltin } from "./builtins.ts";
import { absolute } from "./discovery.ts";
import { lineOfSyntaxError, TomlLines } from "./toml-lines.ts";

/** One `[commands.NAME]`. */
export interface CommandConfiguration {
  readonly name: string;
  /** The file it is from, as an absolute path. */
  readonly file: string;
  /** The line of its table. */
  readonly line: number;
  /** The script as an absolute path; there is exactly one of `script` and `bin`. */
  readonly script: string | undefined;
  /** A name in the nearest node_modules/.bin, as seen from the caller's directory. */
  readonly bin: string | undefined;
  /** What the image loads ahead: absolute paths and package specifiers, or found by itself. */
  readonly preload: "auto" | readonly string[];
  /** Whether the image is started together with the daemon. */
  readonly preloadAtStart: boolean;
  /** A module run once in the image: an absolute path or a package specifier. */
  readonly warmup: string | undefined;
  readonly spares: number;
  /** Variables whose values are part of the image's identity. */
  readonly env: readonly string[];
  /** Arguments that come before the caller's. */
  readonly args: readonly string[];
  /** 0 for none. */
  readonly timeoutMs: number;
  /** Whether it never runs in an image. */
  readonly cold: boolean;
}

/** A file makes no sense; `message` is one line: file, line, key, what is wrong, what is allowed. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";

  constructor(message: string) {
    super(printable(message));
  }
}

/**
 * Reads the text of `file`, an absolute path, which relative paths in it start from.
 * @throws ConfigurationError at the first thing that is wrong.
 */
export function parseConfiguration(text: string, file: string): readonly CommandConfiguration[] {
  const content = parseToml(text, file);
  const lines = new TomlLines(text);
  const fail: Fail = (path, problem) => {
    throw new ConfigurationError(`${file}:${lines.of(path)}: ${shownKey(path)}: ${problem}`);
  };
  for (const key of Object.keys(content)) {
    if (key !== "commands") fail([key], "unknown (only [commands.NAME] is allowed)");
  }
  const tables = content["commands"] ?? {};
  if (!isTable(tables)) return fail(["commands"], "not a table (use [commands.NAME])");
  return Object.entries(tables).map(([name, table]) => {
    const path = ["commands", name];
    checkName(name, (problem) => fail(path, problem));
    if (!isTable(table)) return fail(path, `not a table (use [${shownKey(path)}])`);
    const reader = new TableReader(table, path, fail, directoryOf(file));
    return { name, file, line: lines.of(path), ...readCommand(reader) };
  });
}

/** A name as TOML and our messages spell it: quoted unless it is plain. */
export function shownName(name: string): string {
  return /^[\w-]+$/.test(name) ? name : printable(JSON.stringify(name));
}

/** A text without anything that a terminal would act on. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones that are replaced
  return text.replace(/[\0-\x1f\x7f-\x9f\u2028\u2029]/g, (character) => {
    if (character === "\n") return "\\n";
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

type Table = Readonly<Record<string, unknown>>;
type Fail = (path: readonly string[], problem: string) => never;

const keys: readonly string[] = "script bin preload warmup spares env args timeout cold".split(" ");

function readCommand(table: TableReader): Omit<CommandConfiguration, "name" | "file" | "line"> {
  table.allowOnly(keys);
  const [script, bin] = [table.path("script"), table.binName("bin")];
  if (script === undefined && bin === undefined) {
    table.fail(undefined, "says not what to run (one of the keys script and bin is needed)");
  }
  if (script !== undefined && bin !== undefined) {
    table.fail("bin", "there is script, too (only one of them is allowed)");
  }
  return {
    script,
    bin,
    ...table.preload("preload"),
    warmup: table.module("warmup"),
    spares: table.count("spares", sparesMax) ?? sparesDefault,
    env: table.variableNames("env"),
    args: table.texts("args"),
    timeoutMs: table.duration("timeout") ?? 0,
    cold: table.flag("cold") ?? false,
  };
}

/** The values of one `[commands.NAME]`, each checked as it is read; undefined when left out. */
class TableReader {
  readonly #table: Table;
  readonly #path: readonly string[];
  readonly #fail: Fail;
  /** Where relative paths start. */
  readonly #directory: string;

  constructor(table: Table, path: readonly string[], fail: Fail, directory: string) {
    this.#table = table;
    this.#path = path;
    this.#fail = fail;
    this.#directory = directory;
  }

  /** Without a key, it is the table that is wrong. */
  fail(key: string | undefined, problem: string): never {
    return this.#fail(key === undefined ? this.#path : [...this.#path, key], problem);
  }

  allowOnly(allowed: readonly string[]): void {
    for (const key of Object.keys(this.#table)) {
      if (!allowed.includes(key)) this.fail(key, `unknown key (allowed: ${allowed.join(", ")})`);
    }
  }

  path(key: string): string | undefined {
    const value = this.#text(key, "the path of a file");
    return value === undefined ? undefined : this.#absolute(value);
  }

  binName(key: string): string | undefined {
    const what = "a name in node_modules/.bin";
    const value = this.#text(key, what);
    if (value === undefined || isFileName(value)) return value;
    return this.fail(key, `${shown(value)} is no file's name (${what} is allowed)`);
  }

  module(key: string): string | undefined {
    const value = this.#text(key, "the path or the package of a module");
    return value === undefined ? undefined : this.#moduleName(value);
  }

  preload(key: string): Pick<CommandConfiguration, "preload" | "preloadAtStart"> {
    const what = 'true, false, "auto" or a list of modules';
    const value = this.#value(key) ?? "auto";
    if (value === "auto") return { preload: value, preloadAtStart: false };
    if (value === true) return { preload: "auto", preloadAtStart: true };
    if (value === false) return { preload: [], preloadAtStart: false };
    const modules = this.#list(key, what, isText).map((module) => this.#moduleName(module));
    return { preload: modules, preloadAtStart: false };
  }

  count(key: string, max: number): number | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max) {
      return value;
    }
    return this.#refuse(key, value, `a whole number from 0 to ${max}`);
  }

  duration(key: string): number | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    const time = typeof value === "number" ? milliseconds(value) : this.#parsedDuration(value);
    const isPositive = typeof value !== "number" || value >= 0; // and no NaN
    if (time !== undefined && isPositive && time <= timeoutMsMax) return time;
    const daysMax = Math.floor(timeoutMsMax / 86_400_000);
    const what = `a number of seconds, or a text such as "0.5", "2m", "1h", at most ${daysMax} days`;
    return this.#refuse(key, value, what);
  }

  flag(key: string): boolean | undefined {
    const value = this.#value(key);
    if (value === undefined || typeof value === "boolean") return value;
    return this.#refuse(key, value, "true or false");
  }

  texts(key: string): readonly string[] {
    if (this.#value(key) === undefined) return [];
    return this.#list(key, "a list of texts without NUL", isArgument);
  }

  variableNames(key: string): readonly string[] {
    if (this.#value(key) === undefined) return [];
    return this.#list(key, "a list of variables' names", isVariableName);
  }

  #value(key: string): unknown {
    return Object.hasOwn(this.#table, key) ? this.#table[key] : undefined;
  }

  #text(key: string, what: string): string | undefined {
    const value = this.#value(key);
    if (value === undefined || isText(value)) return value;
    return this.#refuse(key, value, what);
  }

  #list(key: string, what: string, isItem: (value: unknown) => value is string): string[] {
    const value = this.#value(key);
    if (!Array.isArray(value)) return this.#refuse(key, value, what);
    return value.map((item) => (isItem(item) ? item : this.#refuse(key, item, what)));
  }

  #refuse(key: string, value: unknown, what: string): never {
    return this.fail(key, `${shown(value)} is not allowed (${what} is)`);
  }

  #parsedDuration(value: unknown): number | undefined {
    return typeof value === "string" ? parseDuration(value) : undefined;
  }

  #moduleName(name: string): string {
    return /^(?:\.{0,2}\/|\.{1,2}$)/.test(name) ? this.#absolute(name) : name;
  }

  #absolute(path: string): string {
    return absolute(path, { directory: this.#directory });
  }
}

function parseToml(text: string, file: string): Table {
  try {
    return Bun.TOML.parse(text) as Table;
  } catch (error) {
    const line = lineOfSyntaxError(text, isToml);
    const [, reason] = /^(?:TOML Parse error: )?([\s\S]*)$/.exec((error as Error).message) ?? [];
    throw new ConfigurationError(`${file}:${line}: ${reason} (see toml.io for what is allowed)`);
  }
}

function isToml(text: string): boolean {
  try {
    Bun.TOML.parse(text);
    return true;
  } catch {
    return false;
  }
}

function checkName(name: string, fail: (problem: string) => never): void {
  if (!isFileName(name)) fail("not a command's name (a file's name, without '/', is allowed)");
  if (isBuiltin(name)) fail("built in (any other name is allowed)");
}

/** Dates are objects, too. */
function isTable(value: unknown): value is Table {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function isFileName(name: string): boolean {
  if (name === "" || name === "." || name === ".." || /[/\0]/.test(name)) return false;
  return fromUtf8(name).length <= fileNameBytesMax;
}

function isText(value: unknown): value is string {
  return isArgument(value) && value !== "";
}

function isArgument(value: unknown): value is string {
  return typeof value === "string" && !value.includes("\0");
}

function isVariableName(value: unknown): value is string {
  return isText(value) && !value.includes("=");
}

function directoryOf(file: string): string {
  return file.slice(0, Math.max(1, file.lastIndexOf("/")));
}

function shownKey(path: readonly string[]): string {
  return path.map(shownName).join(".");
}

/** A value as a message shows it: short. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (isTable(value)) return "a table";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value !== "string") return "a date or time";
  return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
}
