/** All subcommands but `run`: citty's tree, the help, and the mapping of errors to statuses. */
import { type ArgsDef, type CommandDef, renderUsage, runCommand } from "citty";
import type { Sys } from "../../ffi/sys.ts";
import { ClientError } from "../client/errors.ts";
import { ConfigurationError } from "../domain/configuration.ts";
import { DiscoveryError } from "../domain/discovery.ts";
import { SystemError } from "../os/errors.ts";
import { standard } from "../os/fd.ts";
import type { Command, Invocation } from "./commands/command.ts";
import { allowCommand, commandsCommand } from "./commands/configured.ts";
import { pingCommand, statusCommand, stopCommand } from "./commands/control.ts";
import { runHelp } from "./commands/run-help.ts";
import { serveCommand } from "./commands/serve.ts";
import { versionCommand } from "./commands/version.ts";
import { whyCommand } from "./commands/why.ts";
import { exitCodes } from "./exit-codes.ts";
import { readOptions, UsageError } from "./options.ts";
import type { Output } from "./output.ts";

const commands: Readonly<Record<string, Command>> = {
  run: runHelp,
  serve: serveCommand,
  status: statusCommand,
  ping: pingCommand,
  stop: stopCommand,
  commands: commandsCommand,
  allow: allowCommand,
  why: whyCommand,
  version: versionCommand,
};

const overview: CommandDef = {
  meta: {
    name: "prefork",
    description: "Runs commands in a long-running daemon as if they ran here",
  },
  subCommands: Object.fromEntries(
    Object.entries(commands).map(([name, command]) => [name, definition(name, command)]),
  ),
};

const overviewExamples = [
  ["prefork run --create --wait add 1 2", "start a daemon if need be, and print 3"],
  ["prefork serve --daemonize", "start a daemon in the background"],
  ["prefork status", "what it is doing"],
  ["prefork stop", "end its jobs and then the daemon"],
] as const;

/** Runs the subcommand that the first word names. @returns the exit status. */
export async function main(sys: Sys, output: Output, words: readonly string[]): Promise<number> {
  const [name, ...rest] = words;
  if (name === undefined) {
    output.complain("no subcommand was given (see 'prefork --help')");
    return exitCodes.usage;
  }
  if (name === "--help" || name === "-h" || name === "help") {
    return await showHelp(sys, output, rest[0] ?? "prefork");
  }
  if (name === "--version" || name === "-V") return await runSubcommand(sys, output, "version", []);
  return await runSubcommand(sys, output, name, rest);
}

/** Runs one subcommand. @returns the exit status. */
export async function runSubcommand(
  sys: Sys,
  parent: Output,
  name: string,
  words: readonly string[],
): Promise<number> {
  const output = parent.for(name);
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command) {
    parent.complain(`'${name}' is not a subcommand (see 'prefork --help')`);
    return exitCodes.usage;
  }
  try {
    // citty takes any word that begins with a dash for an option: read strictly first.
    const reading = readOptions(words, command.options);
    if (reading.flags.has("help")) return await showHelp(sys, output, name);
    if (reading.flags.has("version")) return await runSubcommand(sys, parent, "version", []);
    const extra = words[reading.wordCount + (command.operand?.isTaken ? 1 : 0)];
    if (extra !== undefined) throw new UsageError(`unexpected word '${extra}'`);
    const runnable = definition(name, command, { sys, output });
    const { result } = await runCommand(runnable, { rawArgs: [...words] });
    return result as number;
  } catch (error) {
    return complain(output, name, error);
  }
}

/** Prints the help of `name`, or the overview. */
export async function showHelp(sys: Sys, output: Output, name: string): Promise<number> {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command && name !== "prefork") {
    output.complain(`'${name}' is not a subcommand (see 'prefork --help')`);
    return exitCodes.usage;
  }
  const { called } = output.for(name);
  const usage = await renderUsage(command ? definition(called, command) : overview);
  const examples = command?.examples(called) ?? overviewExamples;
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, what]) => `  ${line.padEnd(width)}  ${what}`);
  const text = `${usage.replace(/ +$/gm, "").trimEnd()}\n\nEXAMPLES\n\n${lines.join("\n")}\n`;
  const isTerminal = sys.isatty(standard.output) === 1;
  output.print(isTerminal ? text : Bun.stripANSI(text));
  return exitCodes.ok;
}

/** A subcommand as citty knows it; without an invocation it is only good for its help. */
function definition(name: string, command: Command, invocation?: Invocation): CommandDef {
  const { operand, options } = command;
  const args: ArgsDef = { ...options };
  if (operand) {
    const { description, isTaken } = operand;
    args[operand.name] = { type: "positional", description, required: !isTaken };
  }
  return {
    meta: { name, description: command.summary },
    args,
    run: ({ args: values }) => invocation && command.run(invocation, values),
  };
}

function complain(output: Output, name: string, error: unknown): number {
  if (error instanceof UsageError) {
    output.complain(`${error.message} (see '${output.called} --help')`);
    return exitCodes.usage;
  }
  if (error instanceof ConfigurationError) {
    output.complain(error.message);
    return exitCodes.preforkFailed;
  }
  if (error instanceof ClientError) {
    output.complain(error.message);
    return error.status;
  }
  if (error instanceof DiscoveryError || error instanceof SystemError) {
    output.complain(error.message);
    return name === "serve" ? exitCodes.daemonFailed : exitCodes.preforkFailed;
  }
  throw error;
}
