/**
 * A process of ours that was started for one built-in command because no image serves: it takes on the job's context and
 * runs it.
 */
import type { Sys } from "../../ffi/sys.ts";
import { commandProcessName } from "../domain/builtins.ts";
import { errorRefused, type Refused, refusalOf } from "../execution/program.ts";
import { SystemError } from "../os/errors.ts";
import { Fd, type RawFd } from "../os/fd.ts";
import { exitNow, setProcessName, setShownWords } from "../os/process.ts";
import { restoreIgnoredByBun } from "../os/signals.ts";
import { takeControllingTerminal } from "../os/terminal.ts";
import type { Message, RunRequest } from "../protocol/messages.ts";
import { MessageReceiver, sendMessage } from "../transport/channel.ts";
import { builtinOf, runCommand } from "./commands/table.ts";
import { enterAttributes, enterDirectory, leaveGroup, placeDescriptors } from "./context.ts";

/** Waits for the job on the socket that the daemon has left at `number`, and becomes it. The process ends here. */
export function runFreshCommand(sys: Sys, number: number): never {
  setProcessName(sys, commandProcessName);
  restoreIgnoredByBun(sys);
  const daemon = new Fd(sys, number);
  const received = new MessageReceiver(sys).receive(daemon.raw);
  if (typeof received === "string") exitNow(sys, 0); // the daemon needs us no more
  const { id, message, fds } = received;
  const builtin = message.type === "run" ? builtinOf(message.argv) : undefined;
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
  exitNow(sys, runCommand(sys, builtin));
}

function refusalFor(error: unknown, request: RunRequest): Refused {
  if (error instanceof SystemError && error.syscall === "fchdir") {
    return refusalOf(request, { stage: "directory", errno: error.errno });
  }
  return errorRefused(request, error);
}
