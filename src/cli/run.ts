/**
 * `prefork run`, and `pfc`: the lean path. It loads the client and nothing else, unless help is
 * asked for.
 */
import type { Sys } from "../../ffi/sys.ts";
import { dropStrings, fromLatin1, latin1, type StringList, utf8 } from "../base/strings.ts";
import type { Daemon } from "../client/connect.ts";
import { ClientError } from "../client/errors.ts";
import { connectOrLaunch } from "../client/launch.ts";
import { endAs, runJob, startJob } from "../client/run.ts";
import { findTerminal } from "../client/terminal.ts";
import { creationCandidate, DiscoveryError, type Surroundings } from "../domain/discovery.ts";
import { editEnvironment } from "../domain/environment.ts";
import { SystemError } from "../os/errors.ts";
import { closedAtStart, standard } from "../os/fd.ts";
import { inheritedDescriptors } from "../os/inherited.ts";
import { exitNow, ownEnvironment } from "../os/process.ts";
import { setSignalMask } from "../os/signals.ts";
import { isTerminal } from "../os/terminal.ts";
import { exitCodes } from "./exit-codes.ts";
import { readEnvironmentEdits, readJobOptions } from "./job-options.ts";
import {
  lastValue,
  type Reading,
  readOptions,
  runOptions,
  UsageError,
  type Words,
} from "./options.ts";
import type { Output } from "./output.ts";
import {
  discoveryRequest,
  findDaemon,
  noDaemon,
  surroundings,
  type Variables,
  variablesOf,
} from "./place.ts";

/**
 * Runs a job as `words` (what stands behind `run` or `pfc`) ask for. The process ends here.
 * `showHelp` loads what the help needs. Signals are held by now, see client/signals.ts;
 * `blockedSignals` were so before.
 */
export async function run(
  sys: Sys,
  output: Output,
  words: StringList,
  { blockedSignals, showHelp }: { blockedSignals: Uint8Array; showHelp: () => Promise<number> },
): Promise<never> {
  try {
    const reading = readOptions(new StringWords(words), runOptions);
    if (reading.flags.has("help")) exitNow(sys, await showHelp());
    const argv = dropStrings(words, reading.wordCount);
    if (argv.count === 0) throw new UsageError("no command was given");
    if (argv.bytes[0] === 0) throw new UsageError("the command is empty");
    // First of all: what we open ourselves must not be taken for something we were handed.
    const open = { closed: closedAtStart(sys), inherited: inheritedDescriptors(sys) };
    const options = readJobOptions(reading, open);
    const edits = readEnvironmentEdits(reading);
    const env = ownEnvironment(sys);
    if (!options.wait) setSignalMask(sys, blockedSignals); // we act on signals as any program
    const variables = variablesOf(env);
    const around = surroundings(sys, variables, (message) => output.complain(message));
    const daemon = reach(sys, output, { reading, around, variables });
    const caller = {
      argv,
      env: edits ? editEnvironment(env, edits) : env,
      ...open,
      workingDirectory: around.directory,
      blockedSignals,
    };
    if (!options.wait) endAs(sys, startJob(sys, daemon, caller, options));
    // Whatever is awaited on the way brings Bun's event loop and its threads to life, which costs more
    // than all that is left to do: so only who needs a module more waits for it.
    const relay = needsRelay(sys, output, { reading, closed: open.closed })
      ? await import("../client/relay.ts")
      : undefined;
    const terminal = relay ? relay.openRelay(sys) : findTerminal(sys, open.closed);
    endAs(sys, runJob(sys, daemon, caller, options, terminal));
  } catch (error) {
    exitNow(sys, complain(output, error));
  }
}

/** Whether the job is to have a terminal of its own, and not the caller's, if any. */
function needsRelay(
  sys: Sys,
  output: Output,
  { reading, closed }: { reading: Reading; closed: ReadonlySet<number> },
): boolean {
  const asked = reading.flags.get("tty") ?? 0;
  if (asked !== 1) return asked > 1;
  if (!closed.has(0) && isTerminal(sys, standard.input)) return true;
  output.complain("stdin is no terminal: the command gets none of its own (-tt gives it one)");
  return false;
}

/** The daemon to use: one that is there, or, with `--create`, a new one. */
function reach(
  sys: Sys,
  output: Output,
  { reading, around, variables }: { reading: Reading; around: Surroundings; variables: Variables },
): Daemon {
  const named = (name: string): string | undefined => {
    const value = lastValue(reading, name);
    return value === undefined ? undefined : textOf(value);
  };
  const request = discoveryRequest(
    {
      socket: named("socket"),
      mode: named("mode"),
      project: named("project"),
    },
    variables,
  );
  const creates = reading.flags.has("create");
  const { daemon, tried } = findDaemon(sys, { request, around }, (message, isStale) => {
    // What a new daemon will replace is no news.
    if (!(creates && isStale)) output.complain(message);
  });
  if (daemon) return daemon;
  if (!creates) throw noDaemon(tried);
  return connectOrLaunch(sys, creationCandidate(request, around), () => performance.now());
}

/** The words one by one, in latin1: none behind the options is looked at. */
class StringWords implements Words {
  readonly #bytes: Uint8Array;
  readonly #words: string[] = [];
  #start = 0;

  constructor({ bytes }: StringList) {
    this.#bytes = bytes;
  }

  at(index: number): string | undefined {
    while (this.#words.length <= index && this.#start < this.#bytes.length) {
      const end = this.#bytes.indexOf(0, this.#start);
      this.#words.push(latin1(this.#bytes.subarray(this.#start, end)));
      this.#start = end + 1;
    }
    return this.#words[index];
  }
}

/** Bytes that are text, after all. */
function textOf(bytes: string): string {
  return utf8(fromLatin1(bytes));
}

function complain(output: Output, error: unknown): number {
  if (error instanceof UsageError) {
    output.complain(`${textOf(error.message)} (see '${output.called} --help')`);
    return exitCodes.preforkFailed;
  }
  if (error instanceof ClientError) {
    output.complain(error.message);
    return error.status;
  }
  if (error instanceof DiscoveryError || error instanceof SystemError) {
    output.complain(error.message);
    return exitCodes.preforkFailed;
  }
  throw error;
}
