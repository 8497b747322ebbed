/** Bun on exactly one thread, and a heap that a forked child may inherit. docs/fork-safety.md */
import { MADV_DOFORK } from "../../ffi/linux/constants.ts";
import type { Sys } from "../../ffi/sys.ts";
import { fromLatin1, latin1, type StringList, stringList, strings } from "../base/strings.ts";
import { check } from "./errors.ts";
import { readFile } from "./files.ts";
import { ProcessStatus } from "./proc.ts";

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

/**
 * Settings that keep processes small which run only our own code: garbage is collected after 2 MB
 * and not after 32, and the optimizing compilers, whose code and profiles take as much memory as
 * all the rest, stay off. The daemon waits for the kernel; it does not compute.
 */
const leanSettings: readonly string[] = ["BUN_JSC_largeHeapSize=2000000", "BUN_JSC_useDFGJIT=0"];

const settings: readonly string[] = [...oneThreadSettings, ...leanSettings];

/** An environment for a one-thread process of ours: the caller's without settings for Bun. */
export function oneThreadEnvironment(env: StringList): StringList {
  const kept = strings(env)
    .map(latin1)
    .filter((entry) => !entry.startsWith("BUN_"));
  return stringList(fromLatin1([...kept, ...settings].map((s) => `${s}\0`).join("")));
}

/**
 * For a one-thread process that runs scripts of the user's: his environment, at full speed. In a compiled binary Bun
 * would replace `process.env.NODE_ENV` in what it loads by a constant; defined as itself, it is left as it is.
 */
export function scriptEnvironment(env: StringList): StringList {
  const kept = strings(env)
    .map(latin1)
    .filter((entry) => !overridden.has(entry.slice(0, entry.indexOf("="))));
  const own = [...oneThreadSettings, `BUN_OPTIONS=${keepEnvironment}`];
  return stringList(fromLatin1([...kept, ...own].map((s) => `${s}\0`).join("")));
}

const keepEnvironment: string = ["NODE_ENV", "BUN_ENV"]
  .map((name) => `--define=process.env.${name}=process.env.${name}`)
  .join(" ");

/** `BUN_BE_BUN` would make the process a plain Bun, which knows nothing of us. */
const overridden: ReadonlySet<string> = new Set([
  ...oneThreadSettings.map((setting) => setting.slice(0, setting.indexOf("="))),
  "BUN_OPTIONS",
  "BUN_BE_BUN",
]);

/** Whether `env` is what `oneThreadEnvironment` makes: the runtime has read it at start. */
export function isOneThreadEnvironment(env: StringList): boolean {
  const entries = new Set(strings(env).map(latin1));
  return settings.every((setting) => entries.has(setting));
}

export function threadCount(sys: Sys): number {
  return Number(new ProcessStatus(sys).field("Threads"));
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
