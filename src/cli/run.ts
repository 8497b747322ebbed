/**
 * `prefork run`, and `pfc`: the lean path. It loads the client and nothing else, unless help is
 * asked for.
 */
import type { Sys } from "../../ffi/sys.ts";
import { jobFdNumberMax } from "../base/limits.ts";
import { dropStrings, type StringList, strings } from "../base/strings.ts";
import type { Daemon } from "../client/connect.ts";
import { ClientError } from "../client/errors.ts";
import { connectOrLaunch } from "../client/launch.ts";
import { endAs, runJob } from "../client/run.ts";
import { releaseSignals } from "../client/signals.ts";
import { creationCandidate, DiscoveryError, type Surroundings } from "../domain/discovery.ts";
import { SystemError } from "../os/errors.ts";
import { closedAtStart } from "../os/fd.ts";
import { descriptorTarget } from "../os/files.ts";
import { exitNow, ownEnvironment } from "../os/process.ts";
import { exitCodes } from "./exit-codes.ts";
import {
  lastValue,
  parseCount,
  type Reading,
  readOptions,
  runOptions,
  UsageError,
} from "./options.ts";
import type { Output } from "./output.ts";
import { discoveryRequest, findDaemon, noDaemon, ownVariables, surroundings } from "./place.ts";

/**
 * Runs a job as `words` (what stands behind `run` or `pfc`) ask for. The process ends here.
 * `showHelp` loads what the help needs. Signals are held by now, see client/signals.ts.
 */
export async function run(
  sys: Sys,
  output: Output,
  words: StringList,
  showHelp: () => Promise<number>,
): Promise<never> {
  try {
    const reading = readOptions(decodeWords(words), runOptions);
    if (!reading.flags.has("wait")) releaseSignals(sys);
    if (reading.flags.has("help")) exitNow(sys, await showHelp());
    const argv = dropStrings(words, reading.wordCount);
    if (argv.count === 0) throw new UsageError("no command was given");
    if (argv.bytes[0] === 0) throw new UsageError("the command is empty");
    const env = ownEnvironment(sys);
    const closed = closedAtStart(sys);
    const fds = (reading.values.get("fd") ?? []).map((text) =>
      parseCount("fd", text, { min: 0, max: jobFdNumberMax }),
    );
    for (const number of fds) requireOpen(sys, number); // before we open any ourselves
    const around = surroundings(sys, ownVariables, (message) => output.complain(message));
    const daemon = reach(sys, output, { reading, around });
    const caller = { argv, env, closed, workingDirectory: around.directory };
    const ending = runJob(sys, daemon, caller, {
      wait: reading.flags.has("wait"),
      noStdin: reading.flags.has("no-stdin"),
      fds,
      directory: lastValue(reading, "cwd"),
    });
    endAs(sys, ending);
  } catch (error) {
    exitNow(sys, complain(output, error));
  }
}

/** The daemon to use: one that is there, or, with `--create`, a new one. */
function reach(
  sys: Sys,
  output: Output,
  { reading, around }: { reading: Reading; around: Surroundings },
): Daemon {
  const request = discoveryRequest(
    {
      socket: lastValue(reading, "socket"),
      mode: lastValue(reading, "mode"),
      project: lastValue(reading, "project"),
    },
    ownVariables,
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

/** @throws ClientError when nothing was handed to us under this number. */
function requireOpen(sys: Sys, number: number): void {
  const target = descriptorTarget(sys, number);
  // The runtime has opened these for its event loop before any script ran.
  const isOurs = target === "anon_inode:[eventpoll]" || target === "anon_inode:[eventfd]";
  if (target !== undefined && !isOurs) return;
  throw new ClientError(`cannot pass descriptor ${number}: it is not open (--fd ${number})`);
}

/** Options are text; the command behind them stays bytes. */
function decodeWords(words: StringList): string[] {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return strings(words).map((word) => decoder.decode(word));
}

function complain(output: Output, error: unknown): number {
  if (error instanceof UsageError) {
    output.complain(`${error.message} (see '${output.called} --help')`);
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
