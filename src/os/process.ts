/** What this process is: its exact arguments and environment, its directory, its runtime. */
import {
  PR_SET_CHILD_SUBREAPER,
  PR_SET_DUMPABLE,
  PR_SET_MM,
  PR_SET_MM_MAP,
  PR_SET_NAME,
  PRIO_PROCESS,
  SYS_getpriority,
} from "../../ffi/linux/constants.ts";
import { allocate, copyOf, cString, type Memory } from "../../ffi/memory.ts";
import { prctlMmMap } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { type StringList, stringList, utf8 } from "../base/strings.ts";
import { check, SystemError } from "./errors.ts";
import { readFile } from "./files.ts";
import { statFields } from "./proc.ts";
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

/**
 * Makes `argv` and `env` what `ps` and /proc/PID show of this process; those it was started with remain what it runs
 * with. See PR_SET_MM_MAP in prctl(2): it takes no privilege, but a kernel with CONFIG_CHECKPOINT_RESTORE, which those of
 * distributions have. A refusal is ignored: what a process does never depends on what is shown of it.
 */
export function setShownWords(sys: Sys, argv: StringList, env: StringList): void {
  const words = allocate(argv.bytes.length + env.bytes.length);
  words.set(argv.bytes);
  words.set(env.bytes, argv.bytes.length);
  const environment = words.from(argv.bytes.length);
  // The whole map is set: what is to stay has to be said, too.
  fixedPlaces ??= shownPlaces(sys);
  const map = copyOf(fixedPlaces);
  prctlMmMap.set(map, "brk", check(sys.sbrk(0), "sbrk"));
  prctlMmMap.point(map, "arg_start", words);
  prctlMmMap.point(map, "arg_end", environment);
  prctlMmMap.point(map, "env_start", environment);
  prctlMmMap.point(map, "env_end", words.from(words.length));
  if (sys.prctl_map(PR_SET_MM, PR_SET_MM_MAP, map, map.length, 0) >= 0) shownWords.push(words);
}
/** The kernel reads them in our memory whenever somebody looks. */
const shownWords: Memory[] = [];

/** Where the kernel believes the parts of our memory to be that stay where they are, also in those forked out of us; without `brk`. */
export function shownPlaces(sys: Sys): Memory {
  const map = allocate(prctlMmMap.size);
  const field = statFields(sys);
  prctlMmMap.set(map, "start_code", field(26));
  prctlMmMap.set(map, "end_code", field(27));
  prctlMmMap.set(map, "start_stack", field(28));
  prctlMmMap.set(map, "start_data", field(45));
  prctlMmMap.set(map, "end_data", field(46));
  prctlMmMap.set(map, "start_brk", field(47));
  prctlMmMap.set(map, "arg_start", field(48));
  prctlMmMap.set(map, "arg_end", field(49));
  prctlMmMap.set(map, "env_start", field(50));
  prctlMmMap.set(map, "env_end", field(51));
  prctlMmMap.set(map, "exe_fd", 0xffff_ffff); // -1: the executable stays
  return map;
}
let fixedPlaces: Memory | undefined;

/** The nice value, -20 to 19. See getpriority(2): the kernel answers 20 - nice. */
export function niceValue(sys: Sys): number {
  return 20 - check(sys.getpriority(SYS_getpriority, PRIO_PROCESS, 0), "getpriority");
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
