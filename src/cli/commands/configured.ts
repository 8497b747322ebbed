/** `prefork allow` and `prefork commands`: the commands that files configure. */
import type { Sys } from "../../../ffi/sys.ts";
import { builtinNames } from "../../domain/builtins.ts";
import {
  type CommandConfiguration,
  ConfigurationError,
  printable,
  shownName,
} from "../../domain/configuration.ts";
import { Configurations, type ListedCommand } from "../../execution/configuration.ts";
import { openPlace, realPathOf } from "../../os/files.ts";
import { workingDirectory } from "../../os/process.ts";
import { ownVariables } from "../place.ts";
import { type Command, helpOption, jsonOption, textValue } from "./command.ts";

export const allowCommand: Command = {
  summary: "Let the commands of a project's prefork.toml be used, as long as it does not change",
  options: {
    revoke: { type: "boolean", description: "do not let them be used any longer" },
    help: helpOption,
  },
  operand: {
    name: "dir",
    description: "in the project; the working directory when left out",
    isTaken: true,
  },
  examples: (name) => [
    [name, "after reading ./prefork.toml: it is code that will run as you"],
    [`${name} --revoke ~/src/app`, "as before"],
  ],
  run: ({ sys, output }, values) => {
    const directory = directoryOf(sys, textValue(values, "dir"));
    const configurations = new Configurations(sys);
    if (values["revoke"] === true) {
      const { file, wasAllowed } = configurations.revoke(directory, ownVariables);
      output.print(`${wasAllowed ? "revoked" : "was not allowed:"} ${printable(file)}\n`);
      return 0;
    }
    const { file, commands } = configurations.allow(directory, ownVariables);
    const rows = commands.map((command) => ["", shownName(command.name), target(command)]);
    const none = "it names no commands\n";
    output.print(`allowed ${printable(file)}\n${rows.length === 0 ? none : table(rows)}`);
    return 0;
  },
};

export const commandsCommand: Command = {
  summary: "List the commands that are built in or configured, as seen from this directory",
  options: { json: jsonOption, help: helpOption },
  examples: (name) => [
    [name, "name, kind, where it comes from, what it runs"],
    [`${name} --json`, "for programs, on one line"],
  ],
  run: ({ sys, output }, values) => {
    const configurations = new Configurations(sys);
    const { commands, notices } = configurations.all(directoryOf(sys, undefined), ownVariables);
    if (values["json"] === true) {
      const builtins = builtinNames.map((name) => ({ name, kind: "built-in" }));
      const listed = [...builtins, ...commands.map(forPrograms)];
      output.print(`${JSON.stringify({ commands: listed, notices })}\n`);
      return 0;
    }
    const builtins = builtinNames.map((name) => [name, "built-in"]);
    output.print(table([...builtins, ...commands.map(forPeople)]));
    for (const notice of notices) output.complain(notice);
    return 0;
  },
};

function forPrograms({ name, kind, file, line, script, bin }: ListedCommand): object {
  return { name, kind, file, line, script, bin };
}

function forPeople(command: ListedCommand): string[] {
  const { name, kind, file, line } = command;
  return [shownName(name), kind, `${printable(file)}:${line}`, target(command)];
}

function target({ script, bin }: CommandConfiguration): string {
  return printable(script === undefined ? `bin ${bin}` : `script ${script}`);
}

/** Rows in columns, each as wide as its longest text. */
function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, text] of row.entries()) {
      widths[index] = Math.max(widths[index] ?? 0, text.length);
    }
  }
  const lines = rows.map((row) =>
    row.map((text, index) => text.padEnd(widths[index] ?? 0)).join("  "),
  );
  return lines.map((line) => `${line.trimEnd()}\n`).join("");
}

/** The real path of a directory, since what is above it is found by its path. */
function directoryOf(sys: Sys, named: string | undefined): string {
  if (named === undefined) {
    const own = workingDirectory(sys);
    if (own !== undefined) return own;
    throw new ConfigurationError("the working directory has no path any more (change to another)");
  }
  using place = openPlace(sys, named);
  const path = realPathOf(sys, place.raw);
  if (path !== undefined) return path;
  throw new ConfigurationError(`${named}: its path cannot be told (is /proc mounted?)`);
}
