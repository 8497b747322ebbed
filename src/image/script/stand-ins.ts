/**
 * Functions of the runtime that know of nothing but the process they were started in, which is the
 * image. Modules keep functions: so others stand in for them before a module is loaded. As long as
 * no job has come, these do what those did; renew.ts tells them of the job.
 */
import type { PerformanceMarkOptions, PerformanceMeasureOptions } from "node:perf_hooks";

import { nodeModule } from "./builtins.ts";

/** How a job began. */
interface Beginning {
  /** What the runtime's own clocks said then: milliseconds and nanoseconds since its start. */
  readonly ms: number;
  readonly ns: number;
  readonly timeOrigin: number;
  /** Later changes of `process.env` do not count, as with Bun itself. */
  readonly env: Readonly<Record<string, string>> | undefined;
}

let beginning: Beginning = { ms: 0, ns: 0, timeOrigin: performance.timeOrigin, env: undefined };

const now: () => number = performance.now.bind(performance);
const { nanoseconds, spawn, spawnSync, which } = Bun;

/** The clocks count from now. */
export function beginNow(): void {
  beginning = { ...beginning, ms: now(), ns: nanoseconds(), timeOrigin: Date.now() };
}

/** What is started without an environment of its own gets this one. */
export function beginWith(env: Readonly<Record<string, string>>): void {
  beginning = { ...beginning, env };
}

/** Puts all of them in place. */
export function standIn(): void {
  standInForClocks();
  standInForStarters();
  standInForCompileCache();
}

/**
 * What the runtime keeps of compiled modules it makes anew where it was made under other options, and ours are not those
 * of the user's own Bun: in one directory each would undo what the other has done.
 */
function standInForCompileCache(): void {
  const { enableCompileCache } = nodeModule;
  nodeModule.enableCompileCache = (options) => {
    const { NODE_COMPILE_CACHE, XDG_CACHE_HOME, HOME } = process.env;
    const caches = XDG_CACHE_HOME || (HOME && `${HOME}/.cache`);
    const isChosen = options !== undefined || NODE_COMPILE_CACHE || !caches;
    return enableCompileCache(isChosen ? options : `${caches}/prefork/compiled`);
  };
}

function standInForClocks(): void {
  const prototype = Object.getPrototypeOf(performance) as Performance;
  const { mark, measure, toJSON } = prototype;
  // Named like what they stand for.
  define(performance, { now: () => now() - beginning.ms });
  define(prototype, {
    toJSON: () => ({ ...toJSON.call(performance), timeOrigin: beginning.timeOrigin }),
    mark: (name: string, options: PerformanceMarkOptions = {}) =>
      mark.call(performance, name, { startTime: performance.now(), ...options }),
    measure: (name: string, from?: string | PerformanceMeasureOptions, to?: string) =>
      Reflect.apply(measure, performance, to ? [name, from, to] : [name, upToNow(from)]),
  });
  Object.defineProperty(prototype, "timeOrigin", {
    get: () => beginning.timeOrigin,
    configurable: true,
    enumerable: true,
  });
  Bun.nanoseconds = () => nanoseconds() - beginning.ns;
  process.uptime = () => performance.now() / 1000;
}

function define(owner: object, functions: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(functions)) {
    Object.defineProperty(owner, name, {
      value,
      configurable: true,
      enumerable: true,
      writable: true,
    });
  }
}

/** A measure without an end ends now, which the runtime would tell by its own clock. */
function upToNow(from?: string | PerformanceMeasureOptions): PerformanceMeasureOptions {
  if (typeof from !== "object") return { start: from ?? 0, end: performance.now() };
  const isOpen = from.start !== undefined && from.end === undefined && from.duration === undefined;
  return isOpen ? { ...from, end: performance.now() } : from;
}

function standInForStarters(): void {
  Bun.spawn = ((...args: unknown[]) =>
    Reflect.apply(spawn, Bun, withEnvironment(args))) as typeof spawn;
  Bun.spawnSync = ((...args: unknown[]) =>
    Reflect.apply(spawnSync, Bun, withEnvironment(args))) as typeof spawnSync;
  Bun.which = (command, options) =>
    which(command, beginning.env ? { PATH: beginning.env["PATH"] ?? "", ...options } : options);
  globalThis.Worker = new Proxy(Worker, {
    construct: (target, [script, options], newTarget) =>
      Reflect.construct(target, [script, { env: beginning.env, ...options }], newTarget),
  });
}

/**
 * The arguments of Bun.spawn (a list and options, or options with `cmd`), with an environment if
 * they have none. A script that starts the runtime it runs on (child_process.fork() does) means
 * Bun, which our binary is on request.
 */
function withEnvironment(args: unknown[]): unknown[] {
  const { env } = beginning;
  if (!env) return args;
  const index = Array.isArray(args[0]) ? 1 : 0;
  const options = (args[index] ?? {}) as { cmd?: unknown[]; env?: Record<string, string> };
  const command = index === 1 ? (args[0] as unknown[]) : options.cmd;
  const isOurs = command?.[0] === process.execPath;
  if (options.env !== undefined && !isOurs) return args;
  const changed = [...args];
  const own = options.env ?? env;
  changed[index] = { ...options, env: isOurs ? { ...own, BUN_BE_BUN: "1" } : own };
  return changed;
}
