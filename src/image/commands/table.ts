/** The commands prefork brings along, by name, and how one is run in a process of its own. */
import type { Sys } from "../../../ffi/sys.ts";
import { fromLatin1 } from "../../base/strings.ts";
import type { BuiltinName } from "../../domain/builtins.ts";
import { reasonOf, SystemError } from "../../os/errors.ts";
import { type RawFd, standard } from "../../os/fd.ts";
import { writeAll } from "../../os/files.ts";
import { add } from "./add.ts";
import type { Command } from "./command.ts";

const commands: Readonly<Record<BuiltinName, Command>> = { add };

/** Runs a command on the process's own standard descriptors. @returns the exit status. */
export function runCommand(sys: Sys, name: BuiltinName, args: readonly string[]): number {
  const { output, complaints, status } = commands[name](args);
  const isHeard = tryPrint(sys, standard.error, complaints) === undefined;
  const failure = tryPrint(sys, standard.output, output);
  if (failure === undefined) return isHeard ? status : Math.max(status, 1);
  tryPrint(sys, standard.error, `${name}: cannot write: ${failure}\n`);
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
