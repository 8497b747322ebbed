/**
 * `prefork run`, and `pfc`: the lean path. It loads the client and nothing else, unless help is
 * asked for.
 */
import type { Sys } from "../../ffi/sys.ts";
import { jobFdNumberMax } from "../base/limits.ts";
import { dropStrings, type StringList, strings } from "../base/strings.ts";
import { connectFirst, type Daemon } from "../client/connect.ts";
import { ClientError } from "../client/errors.ts";
import { connectOrLaunch } from "../client/launch.ts";
import { endAs, runJob } from "../client/run.ts";
import { candidates, creationCandidate, DiscoveryError } from "../domain/discovery.ts";
import { SystemError } from "../os/errors.ts";
import { fillStandard } from "../os/fd.ts";
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
import { discoveryRequest, surroundings } from "./place.ts";

/**
 * Runs a job as `words` (what stands behind `run` or `pfc`) ask for. The process ends here.
 * `showHelp` loads what the help needs.
 */
export async function run(
  sys: Sys,
  output: Output,
  words: StringList,
  showHelp: () => Promise<number>,
): Promise<never> {
  try {
    const reading = readOptions(decodeWords(words), runOptions);
    if (reading.flags.has("help")) exitNow(sys, await showHelp());
    const argv = dropStrings(words, reading.wordCount);
    if (argv.count === 0) throw new UsageError("no command was given");
    if (argv.bytes[0] === 0) throw new UsageError("the command is empty");
    const env = ownEnvironment(sys);
    fillStandard(sys);
    const fds = (reading.values.get("fd") ?? []).map((text) =>
      parseCount("fd", text, { min: 0, max: jobFdNumberMax }),
    );
    const daemon = reach(sys, output, reading, env);
    const ending = runJob(
      sys,
      daemon,
      { argv, env },
      {
        wait: reading.flags.has("wait"),
        noStdin: reading.flags.has("no-stdin"),
        fds,
        directory: lastValue(reading, "cwd"),
      },
    );
    endAs(sys, ending);
  } catch (error) {
    exitNow(sys, complain(output, error));
  }
}

/** The daemon to use: one that is there, or, with `--create`, a new one. */
function reach(sys: Sys, output: Output, reading: Reading, env: StringList): Daemon {
  const warn = (message: string): void => output.complain(message);
  const around = surroundings(sys, env, warn);
  const request = discoveryRequest(
    {
      socket: lastValue(reading, "socket"),
      mode: lastValue(reading, "mode"),
      project: lastValue(reading, "project"),
    },
    env,
  );
  const creates = reading.flags.has("create");
  const places = candidates(request, around);
  const daemon = connectFirst(sys, places, creates ? () => {} : warn);
  if (daemon) return daemon;
  if (creates) {
    return connectOrLaunch(sys, creationCandidate(request, around), () => performance.now());
  }
  const tried = places.map(({ socketPath }) => socketPath).join(", ") || "no place";
  throw new ClientError(
    `no daemon: nobody answers at ${tried} (start one with 'prefork serve -d', or use --create)`,
  );
}

/** Options are text; the command behind them stays bytes. */
function decodeWords(words: StringList): string[] {
  const decoder = new TextDecoder();
  return [...strings(words)].map((word) => decoder.decode(word));
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
