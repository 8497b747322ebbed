/**
 * From a command's name to a program that runs: where it is looked for, in which order, and in which words a job is
 * refused, as execvp(3) and a shell do it. A starter looks the program up and becomes it; the daemon, which touches
 * nothing of the caller's, makes the words of what the starter says.
 */
import * as errno from "../../ffi/errno.ts";
import { errnoText } from "../../ffi/errno-names.ts";
import { AT_FDCWD } from "../../ffi/linux/constants.ts";
import type { Sys } from "../../ffi/sys.ts";
import { fileNameBytesMax, searchPathBytesMax } from "../base/limits.ts";
import {
  environmentValue,
  firstString,
  fromLatin1,
  latin1,
  type StringList,
  stringList,
  strings,
  utf8,
} from "../base/strings.ts";
import { executableCandidates, isPath } from "../domain/lookup.ts";
import { reasonOf, SystemError } from "../os/errors.ts";
import { executeAccess, type Path, targetStatus } from "../os/files.ts";
import type { NotStarted, RefusalCode, RunRequest } from "../protocol/messages.ts";

/** Why a job cannot be started, as its client is told. */
export interface Refused {
  readonly code: RefusalCode;
  readonly errno: number;
  readonly reason: string;
}

/** At which step a job was not started, and why. */
export type StartFailure = Omit<NotStarted, "type">;

/** Replaces this process by a file. @returns the negated errno with which that failed. */
export type Execute = (path: Path, argv: StringList) => number;

/** The command as it is shown: one without a name must be seen, too. */
export function commandName({ argv }: RunRequest): string {
  return utf8(firstString(argv)) || "''";
}

/**
 * Becomes the first file along PATH that can be executed; relative ones are looked up from our own directory, which is the
 * job's. @returns why there is none.
 */
export function executeProgram(
  sys: Sys,
  { argv, env }: RunRequest,
  execute: Execute,
): StartFailure {
  const name = firstString(argv);
  const searchPath = environmentValue(env, "PATH");
  if (searchPath && searchPath.length > searchPathBytesMax) {
    return { stage: "program", errno: errno.E2BIG };
  }
  const passing = name.length > fileNameBytesMax ? absent : absentOrTooLong;
  let failure: number = errno.ENOENT;
  let isThere = false;
  const executeSeen: Execute = (path, words) => {
    isThere = true;
    return execute(path, words);
  };
  for (const path of executableCandidates(name, searchPath)) {
    const result = -tryFile(sys, path, argv, executeSeen);
    if (isPath(name) || !passing.has(result)) failure = result;
    if (!passing.has(result) && result !== errno.EACCES) break; // as in execvp(3)
  }
  if (failure === errno.EACCES && executeAccess(sys, AT_FDCWD, ".") === -errno.EACCES) {
    return { stage: "directory", errno: failure };
  }
  const isInterpreterMissing = failure === errno.ENOENT && isThere;
  return { stage: isInterpreterMissing ? "interpreter" : "program", errno: failure };
}

/** What a client is told of a start that failed, in the words and with the status of a shell. */
export function refusalOf(request: RunRequest, { stage, errno: number }: StartFailure): Refused {
  const name = commandName(request);
  const why = errnoText(number);
  const failed = (reason: string): Refused => ({
    code: "failed",
    errno: number,
    reason: `${name}: cannot be started: ${reason}`,
  });
  switch (stage) {
    case "process":
      return failed(why);
    case "session":
      return failed(`it cannot be put into a process group of its own: ${why}`);
    case "directory": {
      const reason = `${name}: cannot start in ${utf8(request.directoryPath)}: ${why}`;
      return { code: "noDirectory", errno: number, reason };
    }
    case "descriptors":
      return failed(number === errno.EMFILE ? why : numberTooHigh);
    case "terminal":
      return failed(`it cannot be given its terminal: ${why}`);
    case "limits":
      return failed(`it cannot be given its limits: ${why}`);
    case "program":
      return programRefused(request, number);
    case "interpreter": {
      const reason = `${name}: cannot be executed: its interpreter is missing`;
      return { code: "notFound", errno: number, reason };
    }
    default:
      return stage satisfies never;
  }
}

/** An error of ours on the way to a job, as its client is told. */
export function errorRefused(request: RunRequest, error: unknown): Refused {
  const number = error instanceof SystemError ? error.errno : 0;
  const isTooHigh =
    error instanceof SystemError && placing.has(error.syscall) && number !== errno.EMFILE;
  const reason = isTooHigh ? numberTooHigh : reasonOf(error);
  const words = `${commandName(request)}: cannot be started: ${reason}`;
  return { code: "failed", errno: number, reason: words };
}

const numberTooHigh =
  "a descriptor's number is over the daemon's limit on open files (choose with --fd, or start the daemon under a higher ulimit -n)";

/** The calls that put a descriptor where the job is to have it. */
const placing: ReadonlySet<string> = new Set(["fcntl", "dup3", "posix_spawn_file_actions_adddup2"]);

/** @returns the negated errno. */
function tryFile(sys: Sys, path: Path, argv: StringList, execute: Execute): number {
  // Limits are taken on right before the first file that is there, and some of them bind at once.
  const access = executeAccess(sys, AT_FDCWD, path);
  if (access < 0) return access;
  if (targetStatus(sys, AT_FDCWD, path)?.kind === "directory") return -errno.EACCES;
  const result = execute(path, argv);
  if (result !== -errno.ENOEXEC) return result;
  // A script without a #! line: execvp(3) and every shell give it to sh.
  return execute("/bin/sh", shellArguments(path, argv));
}

/** The system's trouble, not the program's. */
const systemTrouble: ReadonlySet<number> = new Set([
  errno.EAGAIN,
  errno.ENOMEM,
  errno.EMFILE,
  errno.ENFILE,
]);

/** Nothing is there: the search in PATH goes on, and in the end this is not what is told. */
const absent: ReadonlySet<number> = new Set([
  errno.ENOENT,
  errno.ENOTDIR,
  errno.ENODEV,
  errno.ESTALE,
  errno.ETIMEDOUT,
]);

/** An element of PATH that is too long is none; a name that is too long is told. */
const absentOrTooLong: ReadonlySet<number> = new Set([...absent, errno.ENAMETOOLONG]);

function shellArguments(path: Path, argv: StringList): StringList {
  const [, ...rest] = strings(argv).map(latin1);
  const script = typeof path === "string" ? path : latin1(path);
  return stringList(fromLatin1(["/bin/sh", script, ...rest].map((s) => `${s}\0`).join("")));
}

function programRefused(request: RunRequest, number: number): Refused {
  const name = commandName(request);
  const refused = { errno: number };
  if (number === errno.ENOENT) {
    const what = isPath(firstString(request.argv)) ? "no such file" : "command not found";
    return { ...refused, code: "notFound", reason: `${name}: ${what}` };
  }
  const why = errnoText(number);
  if (systemTrouble.has(number)) {
    return { ...refused, code: "failed", reason: `${name}: cannot be started: ${why}` };
  }
  return { ...refused, code: "notExecutable", reason: `${name}: cannot be executed: ${why}` };
}
