/**
 * From a command's name to a program that runs: where it is looked for, in which order, and in which
 * words it is refused, as execvp(3) and a shell do it. The daemon starts the program as a child, a
 * starter becomes it; both come here, so that it makes no difference.
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
  fromUtf8,
  latin1,
  type StringList,
  stringList,
  strings,
  utf8,
} from "../base/strings.ts";
import { executableCandidates, isPath } from "../domain/lookup.ts";
import { reasonOf, SystemError } from "../os/errors.ts";
import { executeAccess, type Path, targetStatus } from "../os/files.ts";
import type { RefusalCode, RunRequest } from "../protocol/messages.ts";

/** Why a job cannot be started, as its client is told. */
export interface Refused {
  readonly code: RefusalCode;
  readonly errno: number;
  readonly reason: string;
}

/**
 * Starts one file as a program. The answer is a pid (or does not come, when we have become the
 * program), or the negated errno.
 */
export type StartFile = (path: Path, argv: StringList) => number;

/** The command as it is shown: one without a name must be seen, too. */
export function commandName({ argv }: RunRequest): string {
  return utf8(firstString(argv)) || "''";
}

/**
 * Starts the first file along PATH that can be started. `directory` is the job's, from which
 * relative paths are looked up; when left out it is our own.
 */
export function startProgram(
  sys: Sys,
  request: RunRequest,
  start: StartFile,
  directory: number = AT_FDCWD,
): number | Refused {
  const { argv, env } = request;
  const name = firstString(argv);
  const searchPath = environmentValue(env, "PATH");
  if (searchPath && searchPath.length > searchPathBytesMax) {
    return refusalOf(commandName(request), errno.E2BIG);
  }
  const passing = name.length > fileNameBytesMax ? absent : absentOrTooLong;
  let failure: number = errno.ENOENT;
  let isThere = false;
  const startSeen: StartFile = (path, words) => {
    isThere = true;
    return start(path, words);
  };
  for (const path of executableCandidates(name, searchPath)) {
    const result = tryFile(sys, directory, path, argv, startSeen);
    if (result >= 0) return result;
    if (isPath(name) || !passing.has(-result)) failure = -result;
    if (!passing.has(-result) && result !== -errno.EACCES) break; // as in execvp(3)
  }
  if (failure === errno.EACCES && executeAccess(sys, directory, ".") === -errno.EACCES) {
    return directoryRefused(request, failure);
  }
  if (failure === errno.ENOENT && isThere) {
    const reason = `${commandName(request)}: cannot be executed: its interpreter is missing`;
    return { code: "notFound", errno: failure, reason };
  }
  return refusalOf(commandName(request), failure);
}

/** The job's directory may not be entered. */
export function directoryRefused(request: RunRequest, number: number): Refused {
  const where = utf8(request.directoryPath);
  const reason = `${commandName(request)}: cannot start in ${where}: ${errnoText(number)}`;
  return { code: "noDirectory", errno: number, reason };
}

/** An error of ours, on the way to the program, as the job's client is told. */
export function errorRefused(request: RunRequest, error: unknown): Refused {
  const number = error instanceof SystemError ? error.errno : 0;
  const reason =
    error instanceof SystemError && numberTooHigh.has(error.syscall) && number !== errno.EMFILE
      ? "a descriptor's number is over the daemon's limit on open files (choose with --fd, or start the daemon under a higher ulimit -n)"
      : reasonOf(error);
  const words = `${commandName(request)}: cannot be started: ${reason}`;
  return { code: "failed", errno: number, reason: words };
}

/** The calls that put a descriptor where the job is to have it. */
const numberTooHigh: ReadonlySet<string> = new Set([
  "fcntl",
  "dup3",
  "posix_spawn_file_actions_adddup2",
]);

function tryFile(
  sys: Sys,
  directory: number,
  path: Path,
  argv: StringList,
  start: StartFile,
): number {
  // Looking first is much cheaper than a process that finds out.
  const access = executeAccess(sys, directory, path);
  if (access < 0) return access;
  if (targetStatus(sys, directory, path)?.kind === "directory") return -errno.EACCES;
  const result = start(path, argv);
  if (result !== -errno.ENOEXEC) return result;
  // A script without a #! line: execvp(3) and every shell give it to sh.
  return start("/bin/sh", shellArguments(path, argv));
}

/** The system's trouble, not the program's. EBADF: a descriptor's number is over our own limit. */
const systemTrouble: ReadonlySet<number> = new Set([
  errno.EAGAIN,
  errno.ENOMEM,
  errno.EMFILE,
  errno.ENFILE,
  errno.EBADF,
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

/** What the client is told, in the words and with the status of a shell. */
function refusalOf(name: string, number: number): Refused {
  const refused = { errno: number };
  if (number === errno.ENOENT) {
    const what = isPath(fromUtf8(name)) ? "no such file" : "command not found";
    return { ...refused, code: "notFound", reason: `${name}: ${what}` };
  }
  const why = errnoText(number);
  if (systemTrouble.has(number)) {
    return { ...refused, code: "failed", reason: `${name}: cannot be started: ${why}` };
  }
  return { ...refused, code: "notExecutable", reason: `${name}: cannot be executed: ${why}` };
}
