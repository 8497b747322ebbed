/**
 * A starter: a process of ours that waits for one job, takes on its context and becomes it, a
 * program by exec, a command of ours by running it. What a parent cannot give to a child with
 * posix_spawn(3) (hard limits, a nice value, ignored signals, a controlling terminal) a starter gives to itself.
 * It was forked out of an image (spare.ts) or started for the occasion.
 */
import { copyOf, cString } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { Scope } from "../base/scope.ts";
import { latin1, strings } from "../base/strings.ts";
import { type BuiltinName, isBuiltin, starterName } from "../domain/builtins.ts";
import {
  directoryRefused,
  errorRefused,
  type Refused,
  startProgram,
} from "../execution/program.ts";
import { applyAttributes } from "../os/attributes.ts";
import { check, SystemError } from "../os/errors.ts";
import { duplicate, Fd, type RawFd } from "../os/fd.ts";
import { closeOthers, replaceFd } from "../os/files.ts";
import { exitNow, setProcessName, setShownWords } from "../os/process.ts";
import { applyLimits } from "../os/resource-limits.ts";
import { ignoreSignals, restoreIgnoredByBun, setSignalMask } from "../os/signals.ts";
import { clearOfTargets, stringPointers } from "../os/spawn.ts";
import { takeControllingTerminal } from "../os/terminal.ts";
import type { Message, RunRequest } from "../protocol/messages.ts";
import { MessageReceiver, sendMessage } from "../transport/channel.ts";
import { runCommand } from "./commands/table.ts";

/** A starter that was started for the occasion; the daemon has left its socket at `number`. */
export function runFreshStarter(sys: Sys, number: number): never {
  setProcessName(sys, starterName);
  restoreIgnoredByBun(sys);
  runStarter(sys, new MessageReceiver(sys), new Fd(sys, number));
}

/**
 * Waits for the job on `daemon` and becomes it. The process ends here. Consumes `daemon`. The signals
 * that Bun ignores have their default actions by now.
 */
export function runStarter(sys: Sys, receiver: MessageReceiver, daemon: Fd): never {
  const received = receiver.receive(daemon.raw);
  if (typeof received === "string") exitNow(sys, 0); // the daemon needs us no more
  const { id, message, fds } = received;
  if (message.type !== "run") exitNow(sys, 1);
  let link = daemon;
  const say = (word: Message): void => {
    sendMessage(sys, link.raw, { id, message: word });
  };
  const builtin = builtinOf(message);
  try {
    leaveGroup(sys, message);
    const rawFds = fds.map((fd) => fd.raw);
    link = enterPlace(sys, message, rawFds, daemon);
    if (message.controllingTerminal) takeControllingTerminal(sys, 0 as RawFd);
    if (!builtin) {
      say({ type: "executing" });
      say({ type: "refused", ...becomeProgram(sys, message) });
      exitNow(sys, 1);
    }
    setProcessName(sys, builtin.name);
    setShownWords(sys, message.argv, message.env);
    enterAttributes(sys, message);
    say({ type: "started", pid: sys.getpid() });
  } catch (error) {
    say({ type: "refused", ...refusalFor(error, message) });
    exitNow(sys, 1);
  }
  link[Symbol.dispose]();
  exitNow(sys, runCommand(sys, builtin.name, builtin.args));
}

function refusalFor(error: unknown, request: RunRequest): Refused {
  if (error instanceof SystemError && error.syscall === "fchdir") {
    return directoryRefused(request, error.errno);
  }
  return errorRefused(request, error);
}

/** A job is a process group of its own; with a terminal of its own, a session. */
export function leaveGroup(sys: Sys, { controllingTerminal }: RunRequest): void {
  if (controllingTerminal) check(sys.setsid(), "setsid");
  else check(sys.setpgid(0, 0), "setpgid");
}

/**
 * Puts directory, umask and descriptors in place and closes all others but the socket to the
 * daemon. Consumes `daemon`. @returns that socket, out of the way of the job's descriptors.
 */
export function enterPlace(sys: Sys, request: RunRequest, fds: readonly RawFd[], daemon: Fd): Fd {
  const rawOf = (index: number): RawFd => fds[index] as RawFd; // the decoder checked the index
  sys.umask(request.attributes.umask);
  check(sys.fchdir(rawOf(request.directoryIndex)), "fchdir");
  const descriptors = new Map<number, RawFd>();
  for (const { number, index } of request.descriptors) descriptors.set(number, rawOf(index));
  const highest = Math.max(2, ...descriptors.keys());
  const link = duplicate(sys, daemon.raw, highest + 1);
  const copies = new Scope(); // closed with all the others, by number
  for (const [number, source] of clearOfTargets(sys, descriptors, copies)) {
    replaceFd(sys, source, number);
  }
  closeOthers(sys, [...descriptors.keys(), link.raw]);
  return link;
}

interface Builtin {
  readonly name: BuiltinName;
  readonly args: readonly string[];
}

/** The command of ours that a request names, if it does. */
export function builtinOf({ argv }: RunRequest): Builtin | undefined {
  const [name = "", ...args] = strings(argv).map(latin1);
  return isBuiltin(name) ? { name, args } : undefined;
}

/** Replaces this process by the program. @returns why that cannot be. */
function becomeProgram(sys: Sys, request: RunRequest): Refused {
  const env = stringPointers(request.env);
  const outcome = startProgram(sys, request, (path, argv) => {
    const [file, words] = [cString(path), stringPointers(argv)];
    enterAttributes(sys, request);
    return sys.execve(file, words, env);
  });
  if (typeof outcome === "number") throw new Error("execve returned");
  return outcome;
}

/** The last step: from here on limits and signals are the job's. */
export function enterAttributes(sys: Sys, { attributes }: RunRequest): void {
  const { ignoredSignals, blockedSignals, limits } = attributes;
  applyAttributes(sys, attributes);
  ignoreSignals(sys, ignoredSignals);
  setSignalMask(sys, blockedSignals);
  applyLimits(sys, copyOf(limits));
}
