/** What this process is: its exact arguments and environment, its directory, its runtime. */
import {
  MADV_DOFORK,
  POLLIN,
  PR_SET_CHILD_SUBREAPER,
  PR_SET_NAME,
  RLIMIT_CORE,
} from "../../ffi/linux/constants.ts";
import { allocate, cString, type Memory } from "../../ffi/memory.ts";
import { pollfd, rlimit } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { fromLatin1, latin1, type StringList, stringList, strings } from "../base/strings.ts";
import { check, retry, SystemError } from "./errors.ts";
import type { RawFd } from "./fd.ts";
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
  return new TextDecoder().decode(buffer.subarray(0, buffer.indexOf(0)));
}

/**
 * The settings with which JavaScriptCore runs on exactly one thread, read at start only.
 * One thread is what makes signal masks mean something and fork() safe.
 */
const oneThreadSettings: readonly string[] = [
  "BUN_JSC_useConcurrentGC=0",
  "BUN_JSC_numberOfGCMarkers=1",
  "BUN_JSC_useConcurrentJIT=0",
  "BUN_JSC_useWarmUpMarkedBlocks=0",
];

/** An environment for a one-thread process of ours: the caller's without settings for Bun. */
export function oneThreadEnvironment(env: StringList): StringList {
  const kept = [...strings(env)].map(latin1).filter((entry) => !entry.startsWith("BUN_"));
  return stringList(fromLatin1([...kept, ...oneThreadSettings].map((s) => `${s}\0`).join("")));
}

/** Whether `env` is what `oneThreadEnvironment` makes: the runtime has read it at start. */
export function isOneThreadEnvironment(env: StringList): boolean {
  const entries = new Set([...strings(env)].map(latin1));
  return oneThreadSettings.every((setting) => entries.has(setting));
}

export function threadCount(sys: Sys): number {
  const match = /^Threads:\s*(\d+)$/m.exec(latin1(readFile(sys, "/proc/self/status")));
  return Number(match?.[1]);
}

/** Replaces this process by `path`. Returns only by throwing. */
export function exec(sys: Sys, path: string, argv: StringList, env: StringList): never {
  const result = sys.execve(cString(path), stringPointers(argv), stringPointers(env));
  throw new SystemError("execve", -result, path);
}

/**
 * Lets a forked child inherit all of our memory: JavaScriptCore marks its heap MADV_DONTFORK (flag
 * `dc` in smaps), and a child without it dies at its first step. To be called before each fork,
 * since new parts of the heap are marked anew. See madvise(2), proc(5).
 */
export function inheritHeap(sys: Sys): void {
  let range: readonly [number, number] | undefined;
  for (const line of latin1(readFile(sys, "/proc/self/smaps")).split("\n")) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (head) {
      range = [Number.parseInt(head[1] ?? "", 16), Number.parseInt(head[2] ?? "", 16)];
    } else if (range && /^VmFlags:.* dc( |$)/.test(line)) {
      check(sys.madvise(range[0], range[1] - range[0], MADV_DOFORK), "madvise");
    }
  }
}

/** Orphans below us become our children, not init's. See prctl(2). */
export function becomeSubreaper(sys: Sys): void {
  check(sys.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl");
}

/** Sets the name that `ps -o comm` and `top` show (15 bytes). */
export function setProcessName(sys: Sys, name: string): void {
  const text: Memory = cString(name);
  check(sys.prctl(PR_SET_NAME, Number(text.address), 0, 0, 0), "prctl");
}

/** No core file from here on. */
export function disableCoreFile(sys: Sys): void {
  const limit = allocate(rlimit.size);
  check(sys.getrlimit(RLIMIT_CORE, limit), "getrlimit");
  rlimit.set(limit, "rlim_cur", 0);
  check(sys.setrlimit(RLIMIT_CORE, limit), "setrlimit");
}

/** Waits until one of `fds` is readable or hung up. @returns those, none when time ran out. */
export function waitReadable(sys: Sys, fds: readonly RawFd[], timeoutMs: number): RawFd[] {
  const list = allocate(pollfd.size * fds.length);
  for (const [index, fd] of fds.entries()) {
    pollfd.set(list, "fd", fd, index * pollfd.size);
    pollfd.set(list, "events", POLLIN, index * pollfd.size);
  }
  check(
    retry(() => sys.poll(list, fds.length, timeoutMs)),
    "poll",
  );
  return fds.filter((_, index) => pollfd.get(list, "revents", index * pollfd.size) !== 0);
}

/** Ends the process at once: none of the runtime's own endings, which would touch the terminal. */
export function exitNow(sys: Sys, code: number): never {
  sys._exit(code);
  throw new Error("_exit returned");
}
