/**
 * `prefork serve`: becomes the daemon, here or in the background.
 *
 * The process first execs itself into the one-thread runtime. With `daemonize` it then forks,
 * makes a session, forks again, and execs once more, into a daemon that shares nothing with the
 * command that launched it; that command waits on a pipe for the daemon's word.
 */

import {
  F_SETFD,
  FD_CLOEXEC,
  O_APPEND,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
} from "../../ffi/linux/constants.ts";
import { cString } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { launchTimeoutMs } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import { fromUtf8, latin1, stringList } from "../base/strings.ts";
import { logPathOf } from "../domain/discovery.ts";
import { preferShortTurns } from "../os/attributes.ts";
import { check, reasonOf, SystemError } from "../os/errors.ts";
import { ownHead } from "../os/executable.ts";
import { Fd, isOpen, standard } from "../os/fd.ts";
import {
  closeOnExec,
  open,
  openNull,
  openPipe,
  readToEnd,
  removeFile,
  replaceFd,
  statusOf,
  writeText,
} from "../os/files.ts";
import { InheritedHeap } from "../os/heap.ts";
import { isDaemonEnvironment, oneThreadEnvironment } from "../os/one-thread.ts";
import { waitReadable } from "../os/poll.ts";
import {
  becomeSubreaper,
  exec,
  exitNow,
  ownArguments,
  ownEnvironment,
  ownExecutable,
  setProcessName,
} from "../os/process.ts";
import { resetSignal, signalNumbers, trySignal } from "../os/signals.ts";
import { Daemon, type DaemonSettings } from "./daemon.ts";
import { openEndpoint } from "./endpoint.ts";
import { createLog, type LogLevel } from "./log.ts";

export interface ServeOptions extends Omit<DaemonSettings, "hasHead"> {
  /** Absolute, like all paths here: a daemon's working directory is the root. */
  readonly socketPath: string;
  readonly pidFile: string | undefined;
  readonly logFile: string | undefined;
  readonly logLevel: LogLevel;
  readonly daemonize: boolean;
  /** Where a daemonized daemon says that it is ready; it lets the launcher's stdio go then. */
  readonly readyFd: number | undefined;
}

/** What a daemon writes when it answers; the form is sd_notify's. */
const readyWord = "READY=1\n";
/** The number under which the second stage finds the pipe to its launcher. */
const readyFdNumber = 3;

/**
 * Makes sure that this process runs on one thread, by replacing itself if need be. `readyFd` comes
 * along: Bun marks what it inherits from 4 on close-on-exec.
 */
export function enterOneThread(sys: Sys, readyFd: number | undefined): void {
  const env = ownEnvironment(sys);
  if (isDaemonEnvironment(env)) return;
  // One that is not open is complained about by the daemon itself.
  if (readyFd !== undefined) sys.fcntl(readyFd, F_SETFD, 0);
  exec(sys, ownExecutable, ownArguments(sys), oneThreadEnvironment(env, "daemon"));
}

/** @returns the exit status: of the daemon when it is done, or of the launch. */
export function serve(sys: Sys, options: ServeOptions, fail: (reason: string) => number): number {
  try {
    return options.daemonize ? daemonize(sys, options, fail) : runDaemon(sys, options);
  } catch (error) {
    const reason = reasonOf(error);
    if (!(error instanceof SystemError)) return fail(reason);
    return fail(`cannot serve at ${options.socketPath}: ${reason}`);
  }
}

function runDaemon(sys: Sys, options: ServeOptions): number {
  using owned = new Scope();
  setProcessName(sys, "pfd");
  // What we inherited is not ours to hand on, and must not be held open by our jobs.
  closeOnExec(sys, 3);
  const ready = options.readyFd === undefined ? undefined : ownReadyFd(sys, options.readyFd, owned);
  const defaultLog = ready ? logPathOf(options.socketPath) : undefined;
  const endpoint = owned.use(openEndpoint(sys, options.socketPath, options.pidFile));
  const log = openLog(sys, options.logFile, defaultLog);
  if (log) owned.use(log.file);
  // Whoever started us may ignore it, and then nobody would ever learn how a job ended.
  resetSignal(sys, signalNumbers.SIGCHLD);
  becomeSubreaper(sys);
  const logger = createLog(sys, options.logLevel);
  const settings = { ...options, hasHead: ownHead(sys) !== undefined };
  const daemon = owned.use(new Daemon(sys, logger, endpoint, settings));
  // Until here a failure is told to whoever started us; from here on the log has it.
  if (log) replaceFd(sys, log.file.raw, standard.error);
  preferShortTurns(sys);
  daemon.start();
  if (ready) {
    using nothing = openNull(sys);
    replaceFd(sys, nothing.raw, standard.input);
    replaceFd(sys, nothing.raw, standard.output);
    // The launcher may be gone; the daemon serves all the same.
    tryWrite(sys, ready, readyWord);
    ready[Symbol.dispose]();
  }
  try {
    while (!daemon.isFinished) daemon.turn();
  } catch (error) {
    // A mistake of our own. The jobs go on; waiting clients see that the daemon is gone.
    logger.error(`internal error: ${reasonOf(error)}`);
    logger.debug(error instanceof Error ? error.stack : error);
    return 1;
  }
  logger.info("stopped");
  // A log that outlives its daemon is one that somebody needs to read; this one is not.
  if (log?.isTemporary) removeFile(sys, log.path);
  return 0;
}

interface LogFile {
  readonly path: string;
  readonly file: Fd;
  /** Made by us, in a place nobody chose. */
  readonly isTemporary: boolean;
}

/** The log file asked for, else the default one, else none. */
function openLog(sys: Sys, asked?: string, byDefault?: string): LogFile | undefined {
  const path = asked ?? byDefault;
  if (path === undefined) return undefined;
  const flags = O_WRONLY | O_APPEND | O_NOFOLLOW;
  if (asked === undefined && !statusOf(sys, path)) {
    const file = open(sys, path, flags | O_CREAT | O_EXCL, 0o600);
    return { path, file, isTemporary: true };
  }
  return { path, file: open(sys, path, flags | O_CREAT, 0o600), isTemporary: false };
}

function ownReadyFd(sys: Sys, number: number, owned: Scope): Fd {
  if (!isOpen(sys, number)) throw new Error(`descriptor ${number} is not open (--ready-fd)`);
  check(sys.fcntl(number, F_SETFD, FD_CLOEXEC), "fcntl");
  return owned.use(new Fd(sys, number));
}

function tryWrite(sys: Sys, fd: Fd, words: string): void {
  try {
    writeText(sys, fd.raw, words);
  } catch {
    // Ignoring it: see the caller.
  }
}

/** Launches a daemon in the background. @returns 0 when it answers; else it has said why not. */
function daemonize(sys: Sys, options: ServeOptions, fail: (reason: string) => number): number {
  const { readEnd, writeEnd } = openPipe(sys);
  using answer = readEnd;
  new InheritedHeap(sys).renew();
  const child = check(sys.fork(), "fork");
  if (child === 0) becomeSecondStage(sys, options, writeEnd);
  writeEnd[Symbol.dispose]();
  if (waitReadable(sys, [answer.raw], launchTimeoutMs).length === 0) {
    // Its session is the child's, and so is its process group.
    trySignal(sys, -child, signalNumbers.SIGKILL);
    return fail(`the daemon did not become ready within ${launchTimeoutMs / 1000} s`);
  }
  return latin1(readToEnd(sys, answer.raw)) === readyWord ? 0 : 1;
}

/**
 * In the forked child: leaves session, terminal and directory behind, then becomes the daemon by
 * exec. See daemon(7). Only system calls happen here; a failure ends the process with a word.
 */
function becomeSecondStage(sys: Sys, options: ServeOptions, ready: Fd): never {
  try {
    check(sys.setsid(), "setsid");
    // Not a session leader: no terminal opened later can become ours.
    if (check(sys.fork(), "fork") > 0) exitNow(sys, 0);
    sys.umask(0o077);
    check(sys.chdir(cString("/")), "chdir", "/");
    using nothing = openNull(sys);
    replaceFd(sys, nothing.raw, standard.input);
    replaceFd(sys, nothing.raw, standard.output);
    if (ready.raw === readyFdNumber) check(sys.fcntl(ready.raw, F_SETFD, 0), "fcntl");
    else replaceFd(sys, ready.raw, readyFdNumber);
    const words = secondStageArguments(options).map((word) => `${word}\0`);
    const argv = stringList(fromUtf8(words.join("")));
    exec(sys, ownExecutable, argv, oneThreadEnvironment(ownEnvironment(sys), "daemon"));
  } catch (error) {
    writeText(sys, standard.error, `pfd: cannot become a daemon: ${reasonOf(error)}\n`);
    exitNow(sys, 1);
  }
}

function secondStageArguments(options: ServeOptions): string[] {
  const words = ["pfd", "--socket", options.socketPath, "--ready-fd", String(readyFdNumber)];
  words.push("--log-level", options.logLevel, "--grace", String(options.graceMs / 1000));
  words.push("--max-jobs", String(options.jobsMax));
  if (options.mode !== "explicit") words.push("--mode", options.mode);
  if (options.pidFile !== undefined) words.push("--pid-file", options.pidFile);
  if (options.logFile !== undefined) words.push("--log", options.logFile);
  return words;
}
