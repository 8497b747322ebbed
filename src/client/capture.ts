/** The execution context of this process, as a request with the descriptors that go with it. */

import type { Sys } from "../../ffi/sys.ts";
import { jobFdNumberMax, jobFdsMax } from "../base/limits.ts";
import type { Scope } from "../base/scope.ts";
import { fromLatin1, fromUtf8, type StringList } from "../base/strings.ts";
import { readAttributes } from "../os/attributes.ts";
import { SystemError } from "../os/errors.ts";
import { type Fd, type RawFd, standard } from "../os/fd.ts";
import { openNull, openPlace } from "../os/files.ts";
import { isInForeground, ProcessStatus } from "../os/proc.ts";
import { niceValue } from "../os/process.ts";
import { inheritedLimits } from "../os/resource-limits.ts";
import { inheritedBlocked, inheritedIgnored } from "../os/signals.ts";
import { isTerminal } from "../os/terminal.ts";
import type {
  DescriptorMapping,
  JobPolicy,
  ProcessAttributes,
  RunRequest,
  TerminalGuard,
} from "../protocol/messages.ts";
import { ClientError } from "./errors.ts";
import type { Start } from "./start.ts";
import { isUnconfigured } from "./unconfigured.ts";

/** A descriptor of ours, and its number in the job. */
export interface PassedDescriptor {
  readonly own: number;
  readonly number: number;
}

/** What the caller asked for about the job. */
export interface JobOptions {
  readonly wait: boolean;
  /** The command is a script, to be run out of a warm image. */
  readonly warm: boolean;
  /** "null": /dev/null; "default": what we have, but not the terminal for a job nobody waits for. */
  readonly stdin: "default" | "keep" | "null";
  /** Descriptors to pass besides 0, 1 and 2. */
  readonly descriptors: readonly PassedDescriptor[];
  /** Where the job starts, in latin1; the caller's directory when left out. */
  readonly directory: string | undefined;
  readonly policy: JobPolicy;
}

/** What is to be run, and what is known of this process. */
export interface Caller extends Start {
  readonly argv: StringList;
  readonly env: StringList;
  /** The working directory's path, undefined when it has none any more. */
  readonly workingDirectory: string | undefined;
}

/** The terminals a job is given, if any. */
export interface JobTerminals {
  /** Becomes the job's 0, 1 and 2, and its controlling terminal. */
  readonly controlling?: RawFd | undefined;
  readonly guarded?: { readonly terminal: RawFd } & Omit<TerminalGuard, "index">;
}

/** A request and its descriptors, borrowed from us or owned by `owned`. */
export interface Captured {
  readonly request: RunRequest;
  readonly fds: readonly RawFd[];
}

/** Descriptors we opened for the request are owned by `owned`. @throws ClientError */
export function capture(
  sys: Sys,
  caller: Caller,
  options: JobOptions,
  { owned, terminals }: { owned: Scope; terminals: JobTerminals },
): Captured {
  const directory = owned.use(openDirectory(sys, options.directory));
  const fds: RawFd[] = [directory.raw];
  const descriptors: DescriptorMapping[] = [];
  const indices = new Map<number, number>();
  /** What comes later takes the place of what was to have the same number in the job. */
  const pass = (number: number, fd: RawFd): void => {
    const taken = indices.get(number);
    if (taken !== undefined) {
      fds[taken] = fd;
      return;
    }
    const index = fds.push(fd) - 1;
    indices.set(number, index);
    descriptors.push({ number, index });
  };
  const { controlling, guarded } = terminals;
  const hasNoInput = controlling === undefined && replacesInput(sys, options);
  for (const number of [0, 1, 2]) {
    if (controlling !== undefined) pass(number, controlling);
    else if (!caller.closed.has(number)) pass(number, number as RawFd);
  }
  if (hasNoInput) pass(0, owned.use(openNull(sys)).raw);
  for (const { own, number } of options.descriptors) pass(number, own as RawFd);
  requireRoom(descriptors, fds.length - 1);
  // What the job is to have comes first.
  const terminalGuard = guarded &&
    fds.length <= jobFdsMax && {
      index: fds.push(guarded.terminal) - 1,
      settings: guarded.settings,
      expected: guarded.expected,
    };
  const shown = options.directory ?? caller.workingDirectory ?? "(deleted)";
  const request: RunRequest = {
    type: "run",
    wait: options.wait,
    attributes: captureAttributes(sys, caller.blockedSignals),
    policy: options.policy,
    warm: options.warm,
    unconfigured: options.warm || isUnconfigured(sys, caller, directory.raw),
    controllingTerminal: controlling !== undefined,
    terminalGuard: terminalGuard || undefined,
    directoryIndex: 0,
    directoryPath: options.directory === undefined ? fromUtf8(shown) : fromLatin1(shown),
    descriptors,
    argv: caller.argv,
    env: caller.env,
  };
  return { request, fds };
}

/**
 * A job nobody waits for would take the shell's input away, and so would one in the background: the
 * kernel stops only those who read the controlling terminal of their own session.
 */
function replacesInput(sys: Sys, { wait, stdin }: JobOptions): boolean {
  if (stdin !== "default") return stdin === "null";
  return isTerminal(sys, standard.input) && !(wait && isInForeground(sys));
}

/** @throws ClientError for numbers too high, and for more than one message takes. */
function requireRoom(descriptors: readonly DescriptorMapping[], count: number): void {
  for (const { number } of descriptors) {
    if (number <= jobFdNumberMax) continue;
    throw new ClientError(`cannot pass descriptor ${number}: the highest is ${jobFdNumberMax}`);
  }
  if (count <= jobFdsMax) return;
  throw new ClientError(
    `too many descriptors: ${count}, and one message takes ${jobFdsMax} ` +
      "(name those that matter with --fd)",
  );
}

function captureAttributes(sys: Sys, blockedSignals: Uint8Array): ProcessAttributes {
  const status = new ProcessStatus(sys);
  const parent = ProcessStatus.of(sys, status.field("PPid"));
  return {
    umask: Number.parseInt(status.field("Umask"), 8),
    nice: niceValue(sys),
    limits: inheritedLimits(sys, Number(status.field("PPid"))),
    ignoredSignals: inheritedIgnored(status, parent),
    blockedSignals: inheritedBlocked(blockedSignals, parent),
    ...readAttributes(sys),
  };
}

function openDirectory(sys: Sys, path: string | undefined): Fd {
  try {
    return openPlace(sys, path === undefined ? "." : fromLatin1(path));
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    const where = path === undefined ? "the working directory" : `the directory ${error.path}`;
    throw new ClientError(`cannot use ${where}: ${error.reason} (--cwd DIR)`);
  }
}
