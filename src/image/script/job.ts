/** From a warm or a fresh process to the job: the context is taken on, and the script is next. */
import { O_CLOEXEC } from "../../../ffi/linux/constants.ts";
import type { Sys } from "../../../ffi/sys.ts";
import { ownDescriptorsMin } from "../../base/limits.ts";
import { Scope } from "../../base/scope.ts";
import { dropStrings, fromUtf8, stringList, strings, utf8 } from "../../base/strings.ts";
import { environmentMap } from "../../domain/environment.ts";
import type { Orders } from "../../domain/warmth.ts";
import { errorRefused } from "../../execution/program.ts";
import { SystemError } from "../../os/errors.ts";
import { duplicate, type Fd, isOpen, type RawFd, standard } from "../../os/fd.ts";
import { openNull, openPlace, replaceFd } from "../../os/files.ts";
import { exitNow, ownArguments } from "../../os/process.ts";
import { raiseOpenFiles } from "../../os/resource-limits.ts";
import { runtimeMask } from "../../os/signals.ts";
import { takeControllingTerminal } from "../../os/terminal.ts";
import type { Message, RunRequest } from "../../protocol/messages.ts";
import { type MessageReceiver, type Received, sendMessage } from "../../transport/channel.ts";
import { enterAttributes, leaveGroup } from "../context.ts";
import { rehearsedJob } from "../rehearsal.ts";
import type { Inputs } from "./inputs.ts";
import { loadedFiles } from "./modules.ts";
import {
  hideOwnModules,
  renewArguments,
  renewClocks,
  renewDirectory,
  renewEnvironment,
  renewNativeEnvironment,
  renewTerminalSettings,
  renewTerminalSizes,
  renewTitle,
  renewUmask,
  replaceWatched,
} from "./renew.ts";

/** What the process was made for. */
export interface Made {
  readonly orders: Orders;
  /** What a warm one was made of. */
  readonly inputs?: Inputs;
  /** Where a warm one keeps settings of terminals: see `findTerminalSettings`. */
  readonly terminals?: ReadonlyMap<number, number>;
  /** What a warm one has duplicated its standard streams to: see `findStreamCopies`. */
  readonly streamCopies?: ReadonlyMap<number, readonly number[]>;
}

/** The job cannot run in this process, but in another; nothing has been done yet. */
class UnfitError extends Error {}

/** Waits for the job and takes its context on. Consumes `daemon`. @returns the entry module. */
export function becomeJob(sys: Sys, receiver: MessageReceiver, daemon: Fd, made: Made): string {
  const { orders, inputs } = made;
  const received = receiver.receive(daemon.raw);
  if (typeof received === "string") exitNow(sys, 0); // the daemon needs us no more
  const { id, message: request } = received;
  if (request.type !== "run") exitNow(sys, 1);
  const say = (message: Message): void => {
    sendMessage(sys, daemon.raw, { id, message });
  };
  try {
    const changed = inputs?.changed();
    if (changed !== undefined) throw new UnfitError(`${changed} has changed`);
    leaveGroup(sys, request);
    enter(sys, request, received, made);
  } catch (error) {
    if (error instanceof UnfitError) say({ type: "unfit", reason: error.message });
    else say({ type: "refused", ...errorRefused(request, error) });
    exitNow(sys, 1);
  }
  say({ type: "started", pid: sys.getpid() });
  if (!orders.isRecorded) daemon[Symbol.dispose]();
  else atExit(() => tellModules(say));
  return orders.script;
}

/**
 * Goes the way of a job without becoming one: with the context that this process has. What is new to it is so no more
 * for those that are forked out of it. Nothing is different afterwards.
 */
export function rehearseJob(sys: Sys, receiver: MessageReceiver, made: Made): void {
  const env = Object.entries(process.env).map(([name, value]) => `${name}=${value}\0`);
  using directory = openPlace(sys, ".");
  const { request, received } = rehearsedJob(sys, receiver, {
    argv: ownArguments(sys),
    env: stringList(fromUtf8(env.join(""))),
    directory: directory.raw,
    streams: [standard.input, standard.output, standard.error],
  });
  made.inputs?.changed();
  const umask = sys.umask(0);
  try {
    enter(sys, { ...request, attributes: { ...request.attributes, umask } }, received, made);
  } catch (error) {
    if (!(error instanceof UnfitError)) throw error;
    sys.umask(umask); // no job can have this directory
  }
}

function enter(
  sys: Sys,
  request: RunRequest,
  { fds }: Received,
  { orders, terminals = new Map(), streamCopies = new Map() }: Made,
): void {
  using owned = new Scope();
  // Out of the way of all the numbers at which they are to be.
  const moved = fds.map((fd) => owned.use(duplicate(sys, fd.raw, ownDescriptorsMin)).raw);
  for (const fd of fds) fd[Symbol.dispose]();
  const directory = moved[request.directoryIndex] as RawFd; // the decoder checked the index
  if (!renewDirectory(sys, directory)) throw new UnfitError("its directory cannot be entered");
  placeDescriptors(sys, request, moved, streamCopies);
  if (request.controllingTerminal) takeControllingTerminal(sys, 0 as RawFd);
  renewUmask(sys, request.attributes.umask);
  renewTitle(sys, request.argv, request.env);
  const { attributes } = request;
  const blockedSignals = runtimeMask(attributes.blockedSignals);
  enterAttributes(sys, { ...request, attributes: { ...attributes, blockedSignals } });
  raiseOpenFiles(sys);
  const args = strings(dropStrings(request.argv, 1)).map(utf8);
  renewArguments(orders.script, [...orders.prefix, ...args]);
  renewEnvironment(environmentMap(request.env));
  renewNativeEnvironment(sys, request.env);
  renewClocks();
  renewTerminalSettings(sys, terminals);
  if (orders.isImage) renewTerminalSizes(orders.streams);
  hideOwnModules();
}

function tellModules(say: (message: Message) => void): void {
  try {
    say({ type: "recorded", json: JSON.stringify(loadedFiles()) });
  } catch (error) {
    if (!(error instanceof SystemError)) throw error; // ignoring it: the daemon has ended
  }
}

/** Calls `act` when the process ends, by a listener that a script does not see. */
function atExit(act: () => void): void {
  process.on("exit", act);
  const { eventNames, listenerCount, listeners, rawListeners } = process;
  const others = (all: readonly unknown[]): unknown[] => all.filter((one) => one !== act);
  const unseen = {
    eventNames: () =>
      eventNames.call(process).filter((name) => name !== "exit" || unseen.listenerCount(name) > 0),
    listenerCount: (name: string, one?: (...args: unknown[]) => void) =>
      one === undefined
        ? others(listeners.call(process, name)).length
        : listenerCount.call(process, name, one),
    listeners: (name: string) => others(listeners.call(process, name)),
    rawListeners: (name: string) => others(rawListeners.call(process, name)),
  };
  for (const [name, value] of Object.entries(unseen)) {
    Object.defineProperty(process, name, { value, configurable: true, writable: true });
  }
}

function placeDescriptors(
  sys: Sys,
  { descriptors }: RunRequest,
  fds: readonly RawFd[],
  streamCopies: ReadonlyMap<number, readonly number[]>,
): void {
  const wanted = new Map<number, RawFd>();
  for (const { number, index } of descriptors) wanted.set(number, fds[index] as RawFd);
  for (const number of wanted.keys()) {
    if (number > 2 && isOpen(sys, number)) {
      throw new UnfitError(`descriptor ${number} is in use by the runtime`);
    }
  }
  // Under a number that none of them has: it is closed when all are in place.
  using opened = openNull(sys);
  using nothing = duplicate(sys, opened.raw, ownDescriptorsMin);
  opened[Symbol.dispose]();
  for (const slot of [0, 1, 2]) {
    const fd = wanted.get(slot);
    for (const copy of streamCopies.get(slot) ?? []) replaceWatched(sys, fd ?? nothing.raw, copy);
    // Bun itself opens /dev/null where it finds one of the three closed.
    if (fd === undefined) replaceFd(sys, nothing.raw, slot, O_CLOEXEC);
    else replaceFd(sys, fd, slot);
  }
  for (const [number, fd] of wanted) if (number > 2) replaceFd(sys, fd, number);
}
