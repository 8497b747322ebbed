/**
 * Everything that a child forked out of a running Bun must put right before it is a process of its
 * own: one function per fact. docs/fork-safety.md has the facts; the first four need no job and are
 * done by a spare while it waits.
 */

import { setRandomSeed } from "bun:jsc";
import nodeCrypto from "node:crypto";
import { EPOLL_CLOEXEC, EPOLL_CTL_ADD, O_CLOEXEC } from "../../../ffi/linux/constants.ts";
import { allocate } from "../../../ffi/memory.ts";
import { epollEvent } from "../../../ffi/structs.ts";
import type { Sys } from "../../../ffi/sys.ts";
import { firstString, latin1, type StringList } from "../../base/strings.ts";
import type { StreamKind } from "../../domain/warmth.ts";
import { check } from "../../os/errors.ts";
import { own, type RawFd } from "../../os/fd.ts";
import {
  descriptorNumbers,
  descriptorTarget,
  readFile,
  replaceFd,
  statusOfFd,
} from "../../os/files.ts";
import { setProcessName, setShownWords } from "../../os/process.ts";
import { renewArgumentsCopies } from "./observe.ts";

/** eventfd(2): not shared with what we exec, and never waited for. */
const EFD_CLOEXEC_NONBLOCK = 0o2004000;

/**
 * Bun's epoll instance is shared with the image after a fork, and so are the eventfds that wake it:
 * each gets a new one under its number, with the same registrations. See epoll(7), proc(5).
 */
export function replaceEventLoop(sys: Sys): void {
  for (const number of descriptorNumbers(sys)) {
    if (descriptorTarget(sys, number) !== "anon_inode:[eventpoll]") continue;
    const registrations = latin1(readFile(sys, `/proc/self/fdinfo/${number}`));
    using fresh = own(sys, sys.epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    replaceFd(sys, fresh.raw, number, EPOLL_CLOEXEC);
    for (const line of registrations.split("\n")) {
      const [, target, events, data] =
        /^tfd:\s*(\d+) events:\s*([0-9a-f]+) data:\s*([0-9a-f]+)/.exec(line) ?? [];
      if (target === undefined || events === undefined || data === undefined) continue;
      renewEventFd(sys, Number(target));
      const event = allocate(epollEvent.size);
      epollEvent.set(event, "events", Number.parseInt(events, 16));
      event.view.setBigUint64(epollEvent.offset("data"), BigInt(`0x${data}`), true);
      check(sys.epoll_ctl(number, EPOLL_CTL_ADD, Number(target), event), "epoll_ctl");
    }
  }
}

function renewEventFd(sys: Sys, number: number): void {
  if (descriptorTarget(sys, number) !== "anon_inode:[eventfd]") return;
  using fresh = own(sys, sys.eventfd(0, EFD_CLOEXEC_NONBLOCK), "eventfd");
  replaceFd(sys, fresh.raw, number, EPOLL_CLOEXEC);
}

/** No two children of an image draw the same values. */
export function renewRandomness(): void {
  renewMathRandom();
  renewRandomBytes();
}

/** `Math.random` goes on where the image's was, in every child alike. */
function renewMathRandom(): void {
  setRandomSeed(nodeCrypto.randomBytes(4).readUInt32LE());
}

/**
 * Bun hands out random bytes from a block it has drawn ahead. What is left of the image's is used
 * up, so that the next one is drawn by this process alone.
 */
function renewRandomBytes(): void {
  for (let count = 0; count < 600; count++) {
    crypto.randomUUID();
    nodeCrypto.randomUUID();
    Bun.randomUUIDv7();
  }
  crypto.getRandomValues(new Uint8Array(16_384));
}

/** The numbers of the process and its parent, which the runtime keeps once it was asked. */
export function renewProcessNumbers(sys: Sys): void {
  Object.defineProperty(process, "pid", {
    value: sys.getpid(),
    configurable: true,
    enumerable: true,
    writable: true,
  });
}

/** What counts from the start of a process, counts from now: clocks that began with the image. */
export function renewClocks(): void {
  const origin = Date.now();
  const startMs = performance.now();
  const startNs = Bun.nanoseconds();
  const [now, nanoseconds] = [performance.now.bind(performance), Bun.nanoseconds];
  const counted = { now: () => now() - startMs }; // with the name of what it stands for
  Object.defineProperty(performance, "now", {
    value: counted.now,
    configurable: true,
    enumerable: true,
    writable: true,
  });
  Object.defineProperty(Object.getPrototypeOf(performance), "timeOrigin", {
    get: () => origin,
    configurable: true,
    enumerable: true,
  });
  Bun.nanoseconds = () => nanoseconds() - startNs;
  process.uptime = () => (now() - startMs) / 1000;
}

/** `process.argv` and what belongs to it; the image has none of its own. */
export function renewArguments(script: string, args: readonly string[]): void {
  process.argv.splice(0, process.argv.length, process.execPath, script, ...args);
  process.argv0 = "bun";
  process.title = "bun";
  process.execArgv.length = 0;
  renewArgumentsCopies();
  (Bun as { main: string }).main = script; // read-only for types alone
}

/**
 * The environment, in place: modules have kept the object. Children that are started without an
 * environment of their own would get what the *image* was started with, which the runtime keeps for
 * itself.
 */
export function renewEnvironment(env: ReadonlyMap<string, string>): void {
  const own = process.env;
  for (const name of Object.keys(own)) if (!env.has(name)) delete own[name];
  for (const [name, value] of env) if (own[name] !== value) own[name] = value;
  const { spawn, spawnSync } = Bun;
  const initial = Object.fromEntries(env); // as with Bun itself: later changes do not count
  Bun.spawn = ((...args: unknown[]) =>
    Reflect.apply(spawn, Bun, withEnv(args, initial))) as typeof spawn;
  Bun.spawnSync = ((...args: unknown[]) =>
    Reflect.apply(spawnSync, Bun, withEnv(args, initial))) as typeof spawnSync;
}

/**
 * The arguments of Bun.spawn (a list and options, or options with `cmd`), with an environment if
 * they have none. A script that starts the runtime it runs on (child_process.fork() does) means
 * Bun, which our binary is on request.
 */
function withEnv(args: unknown[], env: Record<string, string>): unknown[] {
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

/** The modules of ours that scripts would see among those that are loaded. */
export function hideOwnModules(): void {
  for (const name of Object.keys(require.cache)) {
    if (name.startsWith("/$bunfs/")) delete require.cache[name];
  }
}

/** The directory, which the runtime keeps, too. @returns false when it has no path from here. */
export function renewDirectory(sys: Sys, directory: RawFd): boolean {
  const path = descriptorTarget(sys, directory);
  if (path === undefined) return false;
  try {
    process.chdir(path);
  } catch {
    return false; // a directory that was deleted, or that cannot be seen from here
  }
  return path === process.cwd();
}

/**
 * Puts `fd` wherever the placeholder at `slot` was duplicated to: Bun copies 0, 1 and 2 when a
 * stream is first asked for, and a module that was loaded ahead may have done so.
 */
export function replaceStream(sys: Sys, slot: number, fd: RawFd, flags = 0): void {
  const placeholder = statusOfFd(sys, slot as RawFd).identity;
  for (const number of descriptorNumbers(sys)) {
    if (number === slot || number === fd) continue;
    if (identityOf(sys, number) === placeholder) replaceFd(sys, fd, number, O_CLOEXEC);
  }
  replaceFd(sys, fd, slot, flags);
}

function identityOf(sys: Sys, number: number): string | undefined {
  try {
    return statusOfFd(sys, number as RawFd).identity;
  } catch {
    return undefined; // the one that was used for listing
  }
}

/** A terminal's size, of which the runtime keeps what the image's was. */
export function renewTerminalSizes(kinds: readonly StreamKind[]): void {
  for (const [number, name] of [
    [1, "stdout"],
    [2, "stderr"],
  ] as const) {
    if (kinds[number] !== "terminal") continue;
    const stream = process[name] as { _refreshSize?: () => void };
    stream._refreshSize?.();
  }
}

/** What `ps` shows: the command's name as after exec(2), its words, and its environment. */
export function renewTitle(sys: Sys, argv: StringList, env: StringList): void {
  const command = latin1(firstString(argv));
  setProcessName(sys, command.slice(command.lastIndexOf("/") + 1));
  setShownWords(sys, argv, env);
}
