/** The commands prefork brings along, by name, and how one is run in a process of its own. */
import type { Sys } from "../../../ffi/sys.ts";
import { fromLatin1, latin1, type StringList, strings } from "../../base/strings.ts";
import { type BuiltinName, isBuiltin } from "../../domain/builtins.ts";
import { reasonOf, SystemError } from "../../os/errors.ts";
import { type RawFd, standard } from "../../os/fd.ts";
import { writeAll } from "../../os/files.ts";
import { add } from "./add.ts";
import type { Command, CommandResult } from "./command.ts";

const commands: Readonly<Record<BuiltinName, Command>> = { add };

/** A command of ours, and what it is called with. */
export interface Builtin {
  readonly name: BuiltinName;
  readonly args: readonly string[];
}

/** The command of ours that the words of a job name, if they do. */
export function builtinOf(argv: StringList): Builtin | undefined {
  const [name = "", ...args] = strings(argv).map(latin1);
  return isBuiltin(name) ? { name, args } : undefined;
}

/** Runs a command. What it has to say is still to be written. */
export function resultOf({ name, args }: Builtin): CommandResult {
  return commands[name](args);
}

/** What is said on standard error when the output of a command could not be written. */
export function complaintAbout({ name }: Builtin, reason: string): string {
  return `${name}: cannot write: ${reason}\n`;
}

/** Runs a command on the process's own standard descriptors. @returns the exit status. */
export function runCommand(sys: Sys, builtin: Builtin): number {
  const { output, complaints, status } = resultOf(builtin);
  const isHeard = tryPrint(sys, standard.error, complaints) === undefined;
  const failure = tryPrint(sys, standard.output, output);
  if (failure === undefined) return isHeard ? status : Math.max(status, 1);
  tryPrint(sys, standard.error, complaintAbout(builtin, failure));
  return 1;
}

/** @returns why it could not be written, or undefined when it was. */
function tryPrint(sys: Sys, fd: RawFd, text: string): string | undefined {
  try {
    writeAll(sys, fd, fromLatin1(text));
    return undefined;
  } catch (error) {
    return error instanceof SystemError ? error.reason : reasonOf(error);
  }
}
