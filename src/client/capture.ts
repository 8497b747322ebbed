/** The execution context of this process, as a request with the descriptors that go with it. */

import type { Sys } from "../../ffi/sys.ts";
import { jobFdNumberMax, jobFdsMax } from "../base/limits.ts";
import type { Scope } from "../base/scope.ts";
import type { StringList } from "../base/strings.ts";
import { SystemError } from "../os/errors.ts";
import { type Fd, type RawFd, standard } from "../os/fd.ts";
import { openNull, openPlace } from "../os/files.ts";
import type { DescriptorMapping, RunRequest } from "../protocol/messages.ts";
import { ClientError } from "./errors.ts";

/** What the caller asked for about the job. */
export interface JobOptions {
  readonly wait: boolean;
  /** Give the job /dev/null as standard input. */
  readonly noStdin: boolean;
  /** Descriptors to pass besides 0, 1 and 2. */
  readonly fds: readonly number[];
  /** Where the job starts; the caller's directory when left out. */
  readonly directory?: string | undefined;
}

/** What is to be run, and what is known of this process. */
export interface Caller {
  readonly argv: StringList;
  readonly env: StringList;
  /** Those of 0, 1 and 2 that were closed when we started: they are closed in the job, too. */
  readonly closed: ReadonlySet<number>;
  /** The working directory's path, undefined when it has none any more. */
  readonly workingDirectory: string | undefined;
}

/** A request and its descriptors, borrowed from us or owned by `owned`. */
export interface Captured {
  readonly request: RunRequest;
  readonly fds: readonly RawFd[];
}

/** Descriptors we opened for the request are owned by `owned`. @throws ClientError */
export function capture(sys: Sys, caller: Caller, options: JobOptions, owned: Scope): Captured {
  const directory = owned.use(openDirectory(sys, options.directory));
  const fds: RawFd[] = [directory.raw];
  const descriptors: DescriptorMapping[] = [];
  const pass = (number: number, fd: RawFd): void => {
    descriptors.push({ number, index: fds.length });
    fds.push(fd);
  };
  if (options.noStdin || (!options.wait && sys.isatty(0) === 1)) {
    // A job nobody waits for would take the shell's input away.
    pass(0, owned.use(openNull(sys)).raw);
  } else if (!caller.closed.has(0)) pass(0, standard.input);
  if (!caller.closed.has(1)) pass(1, standard.output);
  if (!caller.closed.has(2)) pass(2, standard.error);
  for (const number of new Set(options.fds)) {
    if (number <= 2) continue;
    if (number > jobFdNumberMax) {
      throw new ClientError(`cannot pass descriptor ${number}: the highest is ${jobFdNumberMax}`);
    }
    pass(number, number as RawFd);
  }
  if (descriptors.length > jobFdsMax) {
    throw new ClientError(
      `too many descriptors: ${descriptors.length}, and one message takes ${jobFdsMax} (fewer --fd)`,
    );
  }
  const umask = sys.umask(0o077);
  sys.umask(umask);
  const shown = options.directory ?? caller.workingDirectory ?? "(deleted)";
  const request: RunRequest = {
    type: "run",
    wait: options.wait,
    umask,
    directoryIndex: 0,
    directoryPath: new TextEncoder().encode(shown),
    descriptors,
    argv: caller.argv,
    env: caller.env,
  };
  return { request, fds };
}

function openDirectory(sys: Sys, path = "."): Fd {
  try {
    return openPlace(sys, path);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    const where = path === "." ? "the working directory" : `the directory ${path}`;
    throw new ClientError(`cannot use ${where}: ${error.reason} (--cwd DIR)`);
  }
}
