/** What a subcommand is. */
import type { Sys } from "../../../ffi/sys.ts";
import type { Option, Options } from "../options.ts";
import type { Output } from "../output.ts";

export interface Invocation {
  readonly sys: Sys;
  readonly output: Output;
}

/** The values citty has read, by option name. */
export type Values = Readonly<Record<string, unknown>>;

export interface Operand {
  readonly name: string;
  readonly description: string;
  /** Whether one word is taken, which may be left out; else it is for the help only. */
  readonly isTaken?: true;
}

export interface Command {
  readonly summary: string;
  readonly options: Options;
  /** What stands behind the options. */
  readonly operand?: Operand;
  /** Lines to type, each with what it does; `name` is how the subcommand was called. */
  readonly examples: (name: string) => readonly (readonly [line: string, what: string])[];
  /** @returns the exit status. */
  readonly run: (invocation: Invocation, values: Values) => number;
}

export const helpOption: Option = { type: "boolean", alias: "h", description: "show this help" };

export const jsonOption: Option = { type: "boolean", description: "print JSON for programs" };

/** A text among the values, undefined when the option was not given. */
export function textValue(values: Values, name: string): string | undefined {
  const value = values[name];
  return typeof value === "string" ? value : undefined;
}
