/** Bun on exactly one thread. docs/fork-safety.md */
import type { Sys } from "../../ffi/sys.ts";
import {
  environmentValue,
  fromLatin1,
  latin1,
  type StringList,
  stringList,
  strings,
} from "../base/strings.ts";
import { linkCount, numbersIn, readFile } from "./files.ts";

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
 * and not after 32, and optimizing compilers, whose code and profiles take memory, stay off. The
 * daemon has the first of them, and a third less work for each job by it; an image is forked for
 * each job, and what it holds is paid for each time.
 */
const smallHeap = "BUN_JSC_largeHeapSize=2000000";
const settingsOf = {
  daemon: [...oneThreadSettings, smallHeap, "BUN_JSC_useFTLJIT=0"],
  image: [...oneThreadSettings, smallHeap, "BUN_JSC_useDFGJIT=0"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** An environment for a one-thread process of ours: the caller's without settings for Bun. */
export function oneThreadEnvironment(env: StringList, role: keyof typeof settingsOf): StringList {
  const settings = settingsOf[role];
  const kept = strings(env)
    .map(latin1)
    .filter((entry) => !entry.startsWith("BUN_"));
  return stringList(fromLatin1([...kept, ...settings].map((s) => `${s}\0`).join("")));
}

/**
 * Settings for images of scripts. With one thread a job waits for the optimizing compiler: it is
 * called for what runs long, and not for what runs often in a job of half a second.
 */
const patientSettings: readonly string[] = [
  "BUN_JSC_thresholdForOptimizeAfterWarmUp=10000",
  "BUN_JSC_thresholdForFTLOptimizeAfterWarmUp=1000000",
];

/**
 * For a process that runs scripts of the user's: his environment, and for an image one thread. In a
 * compiled binary Bun would replace `process.env.NODE_ENV` in what it loads by a constant; defined
 * as itself, it is left as it is.
 */
export function scriptEnvironment(env: StringList, { isImage }: { isImage: boolean }): StringList {
  const kept = strings(env)
    .map(latin1)
    .filter((entry) => !overridden.has(entry.slice(0, entry.indexOf("="))));
  const own = isImage ? [...oneThreadSettings, ...patientSettings] : [];
  const all = [...kept, ...own, `BUN_OPTIONS=${keepEnvironment}`, ...cacheSettings(env)];
  return stringList(fromLatin1(all.map((entry) => `${entry}\0`).join("")));
}

/**
 * Bun keeps what it has transpiled under the source alone, and makes it anew when it was made under other options: with
 * ours it would share that with the user's own Bun, and each would undo what the other has done.
 */
function cacheSettings(env: StringList): string[] {
  const text = (name: string): string => latin1(environmentValue(env, name) ?? new Uint8Array());
  if (text(cacheName) !== "") return [];
  const caches = text("XDG_CACHE_HOME") || (text("HOME") && `${text("HOME")}/.cache`);
  return caches.startsWith("/") ? [`${cacheName}=${caches}/prefork/transpiled`] : [];
}

const cacheName = "BUN_RUNTIME_TRANSPILER_CACHE_PATH";

const keepEnvironment: string = ["NODE_ENV", "BUN_ENV"]
  .map((name) => `--define=process.env.${name}=process.env.${name}`)
  .join(" ");

/** `BUN_BE_BUN` would make the process a plain Bun, which knows nothing of us. */
const overridden: ReadonlySet<string> = new Set(["BUN_OPTIONS", "BUN_BE_BUN"]);

/** Whether `env` is what `oneThreadEnvironment` makes for a daemon: the runtime has read it at start. */
export function isDaemonEnvironment(env: StringList): boolean {
  const entries = new Set(strings(env).map(latin1));
  return settingsOf.daemon.every((setting) => entries.has(setting));
}

/** Whether this process has one thread: the directory of its threads has two links, and one for each. */
export function isAlone(sys: Sys): boolean {
  return linkCount(sys, "/proc/self/task") === 3;
}

/** The threads of this process by name; the first one is the process itself. See proc(5). */
export function threadNames(sys: Sys): string[] {
  return numbersIn(sys, "/proc/self/task").map((id) =>
    latin1(readFile(sys, `/proc/self/task/${id}/comm`)).trim(),
  );
}

/** @throws Error when a child of this process would have one thread less. */
export function refuseThreads(sys: Sys): void {
  if (isAlone(sys)) return;
  const [, ...others] = threadNames(sys);
  throw new Error(`of the image's threads only one survives, and not ${others.join(", ")}`);
}
