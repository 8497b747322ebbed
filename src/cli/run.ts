/** `prefork run`, and `pfc`: from the words to the end of the job. */
import type { Sys } from "../../ffi/sys.ts";
import { dropStrings, fromLatin1, latin1, type StringList, utf8 } from "../base/strings.ts";
import type { Daemon } from "../client/connect.ts";
import { ClientError } from "../client/errors.ts";
import { connectOrLaunch } from "../client/launch.ts";
import { endAs, runJob, startJob } from "../client/run.ts";
import type { Start } from "../client/start.ts";
import { type ClientTerminal, findTerminal } from "../client/terminal.ts";
import { creationCandidate, DiscoveryError, type Surroundings } from "../domain/discovery.ts";
import { editEnvironment } from "../domain/environment.ts";
import { reasonOf, SystemError } from "../os/errors.ts";
import { standard } from "../os/fd.ts";
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
import { Output } from "./output.ts";
import {
  discoveryRequest,
  findDaemon,
  noDaemon,
  surroundings,
  type Variables,
  variablesOf,
} from "./place.ts";

/** What needs more than this module. */
export type Asked = "help" | "version" | "relay";

/**
 * Runs a job as `words` (what stands behind `run` or `pfc`) ask for. The process ends here. It returns, and has done
 * nothing, when the help or the version is asked for, or a terminal of the job's own and there is no `openRelay`.
 */
export function run(
  sys: Sys,
  output: Output,
  words: StringList,
  start: Start,
  openRelay?: (sys: Sys) => ClientTerminal,
): Asked {
  try {
    const reading = readOptions(new StringWords(words), runOptions);
    if (reading.flags.has("help")) return "help";
    if (reading.flags.has("version")) return "version";
    if (reading.flags.has("tty") && !openRelay) return "relay";
    const argv = dropStrings(words, reading.wordCount);
    if (argv.count === 0) throw new UsageError("no command was given");
    const options = readJobOptions(reading, start);
    const edits = readEnvironmentEdits(reading);
    const env = ownEnvironment(sys);
    if (!options.wait) setSignalMask(sys, start.blockedSignals); // we act on signals as any program
    const variables = variablesOf(env);
    const around = surroundings(sys, variables, (message) => output.complain(message));
    const daemon = reach(sys, output, { reading, around, variables });
    const caller = {
      ...start,
      argv,
      env: edits ? editEnvironment(env, edits) : env,
      workingDirectory: around.directory,
    };
    if (!options.wait) endAs(sys, startJob(sys, daemon, caller, options));
    const terminal =
      openRelay && needsRelay(sys, output, { reading, closed: start.closed })
        ? openRelay(sys)
        : findTerminal(sys, start.closed);
    endAs(sys, runJob(sys, daemon, caller, options, terminal));
  } catch (error) {
    exitNow(sys, complain(sys, output, error));
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

function complain(sys: Sys, output: Output, error: unknown): number {
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
  endAsMistaken(sys, error);
}

/** Ends the process for a mistake of our own: one line, in the hope that somebody reports it. */
export function endAsMistaken(sys: Sys, error: unknown): never {
  new Output(sys, "prefork").complain(`internal error: ${reasonOf(error)}`);
  exitNow(sys, exitCodes.preforkFailed);
}
