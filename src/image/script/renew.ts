/**
 * Everything that a child forked out of a running Bun must put right before it is a process of its
 * own: one function per fact. docs/fork-safety.md has the facts; the first four need no job and are
 * done by a spare while it waits.
 */

import { setRandomSeed } from "bun:jsc";
import * as errno from "../../../ffi/errno.ts";
import {
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  O_CLOEXEC,
} from "../../../ffi/linux/constants.ts";
import { allocate, cString } from "../../../ffi/memory.ts";
import { epollEvent } from "../../../ffi/structs.ts";
import type { Sys } from "../../../ffi/sys.ts";
import { firstString, latin1, type StringList, strings } from "../../base/strings.ts";
import type { StreamKind } from "../../domain/warmth.ts";
import { check } from "../../os/errors.ts";
import { type Fd, own, type RawFd } from "../../os/fd.ts";
import {
  descriptorNumbers,
  descriptorTarget,
  readFile,
  replaceFd,
  statusOfFd,
} from "../../os/files.ts";
import { setProcessName, setShownWords } from "../../os/process.ts";
import { findStaticData, setStaticData } from "../../os/static-data.ts";
import { terminalSettings } from "../../os/terminal.ts";
import { nodeCrypto } from "./builtins.ts";
import { renewArgumentsCopies } from "./observe.ts";
import { beginNow, beginWith } from "./stand-ins.ts";

/** eventfd(2): not shared with what we exec, and never waited for. */
const EFD_CLOEXEC_NONBLOCK = 0o2004000;

/** What is waited for in an epoll instance. */
interface Registration {
  readonly number: number;
  readonly events: number;
  readonly data: bigint;
}

/**
 * Bun's epoll instance is shared with the image after a fork, and so are the eventfds that wake it:
 * each gets a new one under its number, with the same registrations. See epoll(7), proc(5).
 */
export function replaceEventLoop(sys: Sys): void {
  for (const loop of eventLoops(sys)) {
    const registrations = registrationsIn(sys, loop);
    using fresh = own(sys, sys.epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    replaceFd(sys, fresh.raw, loop, EPOLL_CLOEXEC);
    for (const registration of registrations) {
      renewEventFd(sys, registration.number);
      check(register(sys, loop, registration), "epoll_ctl");
    }
  }
}

function eventLoops(sys: Sys): number[] {
  return descriptorNumbers(sys).filter(
    (number) => descriptorTarget(sys, number) === "anon_inode:[eventpoll]",
  );
}

function registrationsIn(sys: Sys, loop: number): Registration[] {
  const registrations: Registration[] = [];
  for (const line of latin1(readFile(sys, `/proc/self/fdinfo/${loop}`)).split("\n")) {
    const [, number, events, data] =
      /^tfd:\s*(\d+) events:\s*([0-9a-f]+) data:\s*([0-9a-f]+)/.exec(line) ?? [];
    if (number === undefined || events === undefined || data === undefined) continue;
    registrations.push({
      number: Number(number),
      events: Number.parseInt(events, 16),
      data: BigInt(`0x${data}`),
    });
  }
  return registrations;
}

/** @returns 0 or a negated errno. */
function register(sys: Sys, loop: number, { number, events, data }: Registration): number {
  const event = allocate(epollEvent.size);
  epollEvent.set(event, "events", events);
  event.view.setBigUint64(epollEvent.offset("data"), data, true);
  return sys.epoll_ctl(loop, EPOLL_CTL_ADD, number, event);
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
  beginNow();
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
 * The environment, in place: modules have kept the object. What is started without an environment of
 * its own would get what the *image* was started with, which the runtime keeps for itself.
 */
export function renewEnvironment(env: ReadonlyMap<string, string>): void {
  const own = process.env;
  // Bun does not show a time zone that is empty.
  const isShown = (name: string): boolean => name !== "TZ" || env.get(name) !== "";
  for (const name of Object.keys(own)) if (!env.has(name) || !isShown(name)) delete own[name];
  for (const [name, value] of env) if (isShown(name) && own[name] !== value) own[name] = value;
  beginWith(Object.fromEntries(env));
}

/** What native code sees of the environment, by getenv(3): byte for byte. An entry that names no variable is left out. */
export function renewNativeEnvironment(sys: Sys, env: StringList): void {
  check(sys.clearenv(), "clearenv");
  for (const entry of strings(env)) {
    const nameSize = entry.indexOf(equalsSign);
    if (nameSize < 1) continue;
    const [name, value] = [entry.subarray(0, nameSize), entry.subarray(nameSize + 1)];
    check(sys.setenv(cString(name), cString(value), 1), "setenv");
  }
}
const equalsSign: number = "=".charCodeAt(0);

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
 * The numbers, by slot, to which the placeholders at 0, 1 and 2 were duplicated: Bun copies a stream when it is
 * first asked for, and a module that was loaded ahead may have done so. The other sides of the placeholders are not meant.
 */
export function findStreamCopies(
  sys: Sys,
  otherSides: readonly Fd[],
): ReadonlyMap<number, readonly number[]> {
  const isOther = (number: number): boolean => otherSides.some(({ raw }) => raw === number);
  const slots = new Map([0, 1, 2].map((slot) => [statusOfFd(sys, slot as RawFd).identity, slot]));
  const copies = new Map<number, number[]>();
  for (const number of descriptorNumbers(sys)) {
    if (number <= 2 || isOther(number)) continue;
    const slot = slots.get(identityOf(sys, number) ?? "");
    if (slot !== undefined) copies.set(slot, [...(copies.get(slot) ?? []), number]);
  }
  return copies;
}

/**
 * Puts `fd` at a number that the runtime may wait for. An epoll instance knows what it waits for by its file and not by
 * its number alone: what was registered has to be so with the new file, or else it fails to wait for it, and output is lost.
 */
export function replaceWatched(sys: Sys, fd: RawFd, number: number): void {
  const watched = eventLoops(sys).flatMap((loop) =>
    registrationsIn(sys, loop)
      .filter((registration) => registration.number === number)
      .map((registration) => ({ loop, registration })),
  );
  for (const { loop } of watched)
    check(sys.epoll_ctl(loop, EPOLL_CTL_DEL, number, null), "epoll_ctl");
  replaceFd(sys, fd, number, O_CLOEXEC);
  for (const { loop, registration } of watched) {
    const result = register(sys, loop, registration);
    if (result !== -errno.EPERM) check(result, "epoll_ctl"); // a file is always ready
  }
}

function identityOf(sys: Sys, number: number): string | undefined {
  try {
    return statusOfFd(sys, number as RawFd).identity;
  } catch {
    return undefined; // the one that was used for listing
  }
}

/** A terminal's size: a stream that was asked for ahead, and listens for changes, has the image's. */
export function renewTerminalSizes(kinds: readonly StreamKind[]): void {
  if (process.listenerCount("SIGWINCH") === 0) return; // to look for a stream would make one
  for (const [number, name] of [
    [1, "stdout"],
    [2, "stderr"],
  ] as const) {
    if (kinds[number] !== "terminal") continue;
    const stream = process[name] as { _refreshSize?: () => void };
    stream._refreshSize?.();
  }
}

/**
 * Bun looks at the terminals it has at 0, 1 and 2 when it starts, and gives them the settings they had
 * then when it ends, also by a signal. The image's are placeholders with settings of their own.
 * @returns where it keeps these, by slot; undefined when that cannot be told.
 */
export function findTerminalSettings(
  sys: Sys,
  kinds: readonly StreamKind[],
): ReadonlyMap<number, number> | undefined {
  const addresses = new Map<number, number>();
  let from = 0;
  for (const [slot, kind] of kinds.entries()) {
    const settings = kind === "terminal" ? terminalSettings(sys, slot as RawFd) : undefined;
    if (!settings) continue;
    const address = findStaticData(sys, settings, from);
    if (address === undefined) return undefined;
    addresses.set(slot, address);
    from = address + settings.length;
  }
  return addresses;
}

/** What the runtime will set again are the settings of the job's own terminals. */
export function renewTerminalSettings(sys: Sys, addresses: ReadonlyMap<number, number>): void {
  for (const [slot, address] of addresses) {
    const settings = terminalSettings(sys, slot as RawFd);
    if (settings) setStaticData(sys, address, settings); // a terminal that was hung up has none
  }
}

/** Which permissions new files do not get. */
export function renewUmask(sys: Sys, umask: number): void {
  sys.umask(umask);
}

/** What `ps` shows: the command's name as after exec(2), its words, and its environment. */
export function renewTitle(sys: Sys, argv: StringList, env: StringList): void {
  const command = latin1(firstString(argv));
  setProcessName(sys, command.slice(command.lastIndexOf("/") + 1));
  setShownWords(sys, argv, env);
}
