/** What this process is: its exact arguments and environment, its directory, its runtime. */
import * as errno from "../../ffi/errno.ts";
import {
  PR_SET_CHILD_SUBREAPER,
  PR_SET_DUMPABLE,
  PR_SET_NAME,
  PRIO_PROCESS,
  SYS_getpriority,
} from "../../ffi/linux/constants.ts";
import { allocate, cString } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { type StringList, stringList, utf8 } from "../base/strings.ts";
import { check, SystemError } from "./errors.ts";
import { readFile } from "./files.ts";
import { stringPointers } from "./spawn.ts";

/** The program of this very process, also when its file has been replaced or removed. */
export const ownExecutable = "/proc/self/exe";

/** Our arguments as they are: `process.argv` decodes, and not every argument is UTF-8. */
export function ownArguments(sys: Sys): StringList {
  return stringList(readFile(sys, "/proc/self/cmdline"));
}

/** Our environment as it was at start. */
export function ownEnvironment(sys: Sys): StringList {
  return stringList(readFile(sys, "/proc/self/environ"));
}

/** The working directory's path, or undefined when it has none any more. */
export function workingDirectory(sys: Sys): string | undefined {
  const buffer = allocate(4096);
  if (sys.getcwd(buffer, buffer.length) === 0) return undefined;
  return utf8(buffer.subarray(0, buffer.indexOf(0)));
}

/** Replaces this process by `path`. Returns only by throwing. */
export function exec(sys: Sys, path: string, argv: StringList, env: StringList): never {
  const result = sys.execve(cString(path), stringPointers(argv), stringPointers(env));
  throw new SystemError("execve", -result, path);
}

/** Orphans below us become our children, not init's. See prctl(2). */
export function becomeSubreaper(sys: Sys): void {
  check(sys.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl");
}

/** Sets the name that `ps -o comm` and `top` show (15 bytes). See prctl(2). */
export function setProcessName(sys: Sys, name: string): void {
  check(sys.prctl_name(PR_SET_NAME, cString(name)), "prctl");
}

/** The nice value, -20 to 19. See getpriority(2): the kernel answers 20 - nice. */
export function niceValue(sys: Sys): number {
  return 20 - check(sys.getpriority(SYS_getpriority, PRIO_PROCESS, 0), "getpriority");
}

/** Takes on a nice value; one the kernel denies to this user leaves the own one in place. */
export function setNiceValue(sys: Sys, nice: number): void {
  const result = sys.setpriority(PRIO_PROCESS, 0, nice);
  if (result !== -errno.EACCES && result !== -errno.EPERM) check(result, "setpriority");
}

/** No core dump from here on, neither into a file nor into a program that takes them. See core(5). */
export function disableCoreDump(sys: Sys): void {
  check(sys.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl");
}

/**
 * From here on what runs often is compiled, as it is in any process of Bun's. The build puts that off for good: a
 * client's few milliseconds are better spent than on the JIT compiler's threads.
 */
export function compileWhatIsHot(): void {
  Bun.unsafe.setJITPolicy(1);
}

/** Ends the process at once: none of the runtime's own endings, which would touch the terminal. */
export function exitNow(sys: Sys, code: number): never {
  sys._exit(code);
  throw new Error("_exit returned");
}
