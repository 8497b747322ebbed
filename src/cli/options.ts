/**
 * The options of every subcommand, in citty's form, and a strict reading of words against such a
 * table. citty renders the help and reads the options of all subcommands but `run`; it takes any
 * word it does not know for an option, so words are read here first. `run` is read here alone: it
 * must not load a library before its command has been handed over.
 */

import { parseDuration } from "../base/duration.ts";
import { timeoutMsMax } from "../base/limits.ts";

interface OptionBase {
  readonly description: string;
  readonly alias?: string;
  readonly valueHint?: string;
}

/** One option: a subset of citty's argument definitions. */
export type Option = OptionBase &
  (
    | { readonly type: "boolean" }
    | { readonly type: "string"; readonly default?: string }
    | { readonly type: "enum"; readonly options: string[]; readonly default?: string }
  );
export type Options = Readonly<Record<string, Option>>;

export const discoveryOptions = {
  socket: {
    type: "string",
    valueHint: "PATH",
    description: "the daemon's socket, instead of looking for one (also $PFD_SOCKET)",
  },
  mode: {
    type: "enum",
    options: ["local", "project", "runtime"],
    description:
      "where to look: local is ./pfd.sock or ./.pfd.sock, project and runtime are in $XDG_RUNTIME_DIR; all three in this order when left out",
  },
  project: {
    type: "string",
    valueHint: "NAME",
    description:
      "the project's name (also $PFD_PROJECT), instead of that of the nearest directory with .git, package.json or prefork.toml",
  },
} as const satisfies Options;

export const versionOption = {
  type: "boolean",
  alias: "V",
  description: "show the version",
} as const satisfies Option;

export const runOptions = {
  wait: {
    type: "boolean",
    alias: "w",
    description: "stay until the command has ended, pass signals on to it, and end as it ended",
  },
  create: {
    type: "boolean",
    alias: "C",
    description:
      "start a daemon when there is none: of the mode that is forced, else of the runtime mode",
  },
  warm: {
    type: "boolean",
    description:
      "the command is a JavaScript or TypeScript file, or a tool of the nearest node_modules/.bin: run it out of a warm image",
  },
  tty: {
    type: "boolean",
    alias: "t",
    description:
      "give the command a terminal of its own, relayed to this one (implies --wait; -tt: also when stdin is no terminal)",
  },
  "no-stdin": { type: "boolean", alias: "n", description: "give the command /dev/null as stdin" },
  stdin: {
    type: "boolean",
    description: "leave a terminal as stdin also to a command nobody waits for",
  },
  fd: {
    type: "string",
    valueHint: "N[:M]",
    description:
      "pass the open descriptor N, as M if given (repeatable; without it, --wait passes all that are inherited)",
  },
  cwd: { type: "string", valueHint: "DIR", description: "run the command in DIR" },
  env: {
    type: "string",
    valueHint: "NAME[=VALUE]",
    description: "set a variable, or keep the caller's with --clear-env (repeatable)",
  },
  unset: {
    type: "string",
    valueHint: "NAME",
    description: "leave a variable out (repeatable)",
  },
  "clear-env": { type: "boolean", description: "begin with an empty environment" },
  timeout: {
    type: "string",
    valueHint: "SECONDS",
    description: "end the command with SIGTERM after this time; the status is 124 then",
  },
  "kill-after": {
    type: "string",
    valueHint: "SECONDS",
    description: "and with SIGKILL so long after that, if it goes on; the status is 137 then",
  },
  "kill-group": {
    type: "boolean",
    description: "when the command has ended, kill what it has left in its process group",
  },
  "on-disconnect": {
    type: "enum",
    options: ["hangup", "continue", "term", "kill"],
    description: "what the command gets when the client that waits for it dies (hangup)",
  },
  ...discoveryOptions,
  help: { type: "boolean", alias: "h", description: "show this help" },
  version: versionOption,
} as const satisfies Options;

/** The words make no sense as options; the message says which, and why. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Words that are looked at one by one: there may be very many behind the options. */
export interface Words {
  at(index: number): string | undefined;
}

/** What the words said. */
export interface Reading {
  /** How often each option without a value was given. */
  readonly flags: ReadonlyMap<string, number>;
  /** Every value of each option, in order. */
  readonly values: ReadonlyMap<string, readonly string[]>;
  /** How many words were options; the rest is the command's. */
  readonly wordCount: number;
}

/**
 * Reads options from the front of `words`, up to `--` or the first word that is not one.
 * @throws UsageError for an unknown option, a missing value, or a value that is not allowed.
 */
export function readOptions(words: Words, options: Options): Reading {
  const flags = new Map<string, number>();
  const values = new Map<string, string[]>();
  let at = 0;
  const setOption: SetOption = (shown, name, inlineValue) => {
    const option = options[name] as Option;
    if (option.type === "boolean") {
      if (inlineValue !== undefined) throw new UsageError(`option '${shown}' takes no value`);
      flags.set(name, (flags.get(name) ?? 0) + 1);
      return;
    }
    const value = inlineValue ?? words.at(at++);
    if (value === undefined) throw new UsageError(`option '${shown}' needs a value`);
    if (option.type === "enum" && !option.options.includes(value)) {
      const allowed = option.options.join(", ");
      throw new UsageError(`option '${shown}' is one of ${allowed}, not '${value}'`);
    }
    values.set(name, [...(values.get(name) ?? []), value]);
  };
  for (let word = words.at(at); word !== undefined; word = words.at(at)) {
    if (word === "--") {
      at++;
      break;
    }
    if (!word.startsWith("-") || word === "-") break;
    at++;
    if (word.startsWith("--")) {
      const equals = word.indexOf("=");
      const name = equals < 0 ? word.slice(2) : word.slice(2, equals);
      if (!Object.hasOwn(options, name)) throw new UsageError(`unknown option '--${name}'`);
      setOption(`--${name}`, name, equals < 0 ? undefined : word.slice(equals + 1));
    } else {
      readCluster(word.slice(1), options, setOption);
    }
  }
  return { flags, values, wordCount: at };
}

/** Notes an option that the table has, as it was written; takes its value from the next word if need be. */
type SetOption = (shown: string, name: string, inlineValue: string | undefined) => void;

/** Reads `-wC`, `-Cn`: single letters; what follows a letter that takes a value is the value. */
function readCluster(letters: string, options: Options, setOption: SetOption): void {
  for (let index = 0; index < letters.length; index++) {
    const letter = letters[index] as string;
    const name = nameOfAlias(letter, options);
    if (name === undefined) throw new UsageError(`unknown option '-${letter}'`);
    const rest = letters.slice(index + 1);
    if (options[name]?.type === "boolean") {
      setOption(`-${letter}`, name, undefined);
      continue;
    }
    setOption(`-${letter}`, name, rest === "" ? undefined : rest);
    return;
  }
}

function nameOfAlias(letter: string, options: Options): string | undefined {
  for (const name in options) if (options[name]?.alias === letter) return name;
  return undefined;
}

/** The last value of an option: the one that counts. */
export function lastValue(reading: Reading, name: string): string | undefined {
  return reading.values.get(name)?.at(-1);
}

/** A whole number in a range. @throws UsageError */
export function parseCount(
  name: string,
  text: string,
  range: { min: number; max: number },
): number {
  const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= range.min && number <= range.max) return number;
  throw new UsageError(
    `option '--${name}' is a whole number from ${range.min} to ${range.max}, not '${text}'`,
  );
}

/**
 * A time as milliseconds: seconds with a fraction if need be, or another unit, as
 * timeout(1) takes it. @throws UsageError
 */
export function parseSeconds(name: string, text: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds === undefined) {
    throw new UsageError(
      `option '--${name}' is a number of seconds, such as 5 or 0.5 (or 2m, 1h, 1d), not '${text}'`,
    );
  }
  if (milliseconds <= timeoutMsMax) return milliseconds;
  throw new UsageError(
    `option '--${name}' is at most ${Math.floor(timeoutMsMax / 86_400_000)}d, not '${text}'`,
  );
}
