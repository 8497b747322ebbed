/** `prefork allow` and `prefork commands`: the commands that files configure. */
import type { Sys } from "../../../ffi/sys.ts";
import { type Report, status } from "../../client/control.ts";
import { ClientError } from "../../client/errors.ts";
import { builtinNames } from "../../domain/builtins.ts";
import {
  type CommandConfiguration,
  ConfigurationError,
  printable,
  shownName,
} from "../../domain/configuration.ts";
import { DiscoveryError } from "../../domain/discovery.ts";
import { Configurations, type ListedCommand } from "../../execution/configuration.ts";
import { findScript, identityOf, recipeOf } from "../../execution/script.ts";
import { SystemError } from "../../os/errors.ts";
import { openPlace, realPathOf } from "../../os/files.ts";
import { ownEnvironment, workingDirectory } from "../../os/process.ts";
import {
  baseImageOf,
  baseReadiness,
  formatReadiness,
  type Readiness,
  scriptReadiness,
  scriptsOf,
} from "../images.ts";
import { discoveryOptions } from "../options.ts";
import { ownVariables } from "../place.ts";
import {
  type Command,
  helpOption,
  type Invocation,
  jsonOption,
  textValue,
  type Values,
} from "./command.ts";
import { find } from "./reach.ts";

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
  options: { json: jsonOption, ...discoveryOptions, help: helpOption },
  examples: (name) => [
    [name, "name, kind, where it comes from, what it runs, and the state of its image"],
    [`${name} --json`, "for programs, on one line"],
  ],
  run: (invocation, values) => {
    const { sys, output } = invocation;
    const configurations = new Configurations(sys);
    const directory = directoryOf(sys, undefined);
    const { commands, notices } = configurations.all(directory, ownVariables);
    const report = tryReport(invocation, values);
    const builtinImage = report && baseReadiness(baseImageOf(report));
    const listed = commands.map((command) => ({
      command,
      image: report && readinessOf(sys, command, { directory, report }),
    }));
    if (values["json"] === true) {
      const builtins = builtinNames.map((name) => ({
        name,
        kind: "built-in",
        image: builtinImage,
      }));
      const all = [...builtins, ...listed.map(forPrograms)];
      output.print(`${JSON.stringify({ commands: all, notices })}\n`);
      return 0;
    }
    const builtins = builtinNames.map((name) => [name, "built-in", "", "", shown(builtinImage)]);
    output.print(table([...builtins, ...listed.map(forPeople)]));
    for (const notice of notices) output.complain(notice);
    return 0;
  },
};

/** A command, and the state of its image; undefined without a daemon. */
interface Listed {
  readonly command: ListedCommand;
  readonly image: Readiness | undefined;
}

/** What a daemon reports, if there is one: the list is right without it. */
function tryReport({ sys, output }: Invocation, values: Values): Report | undefined {
  try {
    const { daemon } = find(sys, output, values);
    return daemon && status(sys, daemon);
  } catch (error) {
    const isKnown = [ClientError, DiscoveryError, SystemError].some(
      (kind) => error instanceof kind,
    );
    if (!isKnown) throw error;
    output.complain((error as Error).message);
    return undefined;
  }
}

/** That of the images which a run from `directory`, with our environment, would ask for. */
function readinessOf(
  sys: Sys,
  command: ListedCommand,
  { directory, report }: { directory: string; report: Report },
): Readiness {
  const { script, bin = "", env } = command; // one of the two is there
  const found = findScript(script ?? bin, directory);
  if (found === undefined) {
    const reason = script === undefined ? "not found in any node_modules/.bin" : "no such file";
    return { state: "missing", reason };
  }
  if (found.isProgram) return { state: "cold", reason: "it is no script, and runs as a program" };
  const wanted = identityOf(recipeOf(found.path, command), ownEnvironment(sys), env);
  return scriptReadiness(scriptsOf(report).find(({ identity }) => identity === wanted));
}

function forPrograms({ command, image }: Listed): object {
  const { name, kind, file, line, script, bin } = command;
  return { name, kind, file, line, script, bin, image };
}

function forPeople({ command, image }: Listed): string[] {
  const { name, kind, file, line } = command;
  return [shownName(name), kind, `${printable(file)}:${line}`, target(command), shown(image)];
}

function shown(image: Readiness | undefined): string {
  return image ? formatReadiness(image) : "-";
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
