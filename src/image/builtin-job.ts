/**
 * A process of ours that waits for one built-in command, takes on its context and runs it. It was forked out of an image
 * (spare.ts), or started for the occasion because no image serves.
 */
import type { Sys } from "../../ffi/sys.ts";
import { latin1, type StringList, strings } from "../base/strings.ts";
import { type BuiltinName, commandProcessName, isBuiltin } from "../domain/builtins.ts";
import { errorRefused, type Refused, refusalOf } from "../execution/program.ts";
import { SystemError } from "../os/errors.ts";
import { Fd, type RawFd } from "../os/fd.ts";
import { exitNow, setProcessName, setShownWords } from "../os/process.ts";
import { restoreIgnoredByBun } from "../os/signals.ts";
import { takeControllingTerminal } from "../os/terminal.ts";
import type { Message, RunRequest } from "../protocol/messages.ts";
import { MessageReceiver, sendMessage } from "../transport/channel.ts";
import { runCommand } from "./commands/table.ts";
import { enterAttributes, enterDirectory, leaveGroup, placeDescriptors } from "./context.ts";

/** A process that was started for the occasion; the daemon has left its socket at `number`. */
export function runFreshCommand(sys: Sys, number: number): never {
  setProcessName(sys, commandProcessName);
  restoreIgnoredByBun(sys);
  runBuiltinJob(sys, new MessageReceiver(sys), new Fd(sys, number));
}

/**
 * Waits for the job on `daemon` and becomes it. The process ends here. Consumes `daemon`. The signals
 * that Bun ignores have their default actions by now.
 */
export function runBuiltinJob(sys: Sys, receiver: MessageReceiver, daemon: Fd): never {
  const received = receiver.receive(daemon.raw);
  if (typeof received === "string") exitNow(sys, 0); // the daemon needs us no more
  const { id, message, fds } = received;
  const builtin = message.type === "run" ? builtinOf(message) : undefined;
  if (message.type !== "run" || !builtin) exitNow(sys, 1);
  let link = daemon;
  const say = (word: Message): void => {
    sendMessage(sys, link.raw, { id, message: word });
  };
  try {
    leaveGroup(sys, message);
    const rawFds = fds.map((fd) => fd.raw);
    enterDirectory(sys, message, rawFds);
    link = placeDescriptors(sys, message, rawFds, daemon);
    if (message.controllingTerminal) takeControllingTerminal(sys, 0 as RawFd);
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
    return refusalOf(request, { stage: "directory", errno: error.errno });
  }
  return errorRefused(request, error);
}

/** Runs the built-in command of a job that has been taken on. The process ends here. */
export function runBuiltin(sys: Sys, argv: StringList): never {
  const builtin = builtinOf({ argv });
  exitNow(sys, builtin ? runCommand(sys, builtin.name, builtin.args) : 1);
}

interface Builtin {
  readonly name: BuiltinName;
  readonly args: readonly string[];
}

/** The command of ours that a request names, if it does. */
export function builtinOf({ argv }: Pick<RunRequest, "argv">): Builtin | undefined {
  const [name = "", ...args] = strings(argv).map(latin1);
  return isBuiltin(name) ? { name, args } : undefined;
}
