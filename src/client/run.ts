/**
 * `prefork run`: hands the context over, and leaves when the daemon has started the command; or,
 * asked to wait, relays signals and ends as the job ended.
 */

import type { Sys } from "../../ffi/sys.ts";
import { answerTimeoutMs } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import { parseWaitStatus } from "../base/wait-status.ts";
import { waitReadable } from "../os/poll.ts";
import { disableCoreFile, exitNow } from "../os/process.ts";
import {
  readSignal,
  resetSignal,
  signalNumbers,
  trySignal,
  unblockSignals,
} from "../os/signals.ts";
import type { Refusal, RefusalCode } from "../protocol/messages.ts";
import { type Caller, capture, type JobOptions } from "./capture.ts";
import type { Daemon } from "./connect.ts";
import { Conversation } from "./conversation.ts";
import { ClientError } from "./errors.ts";
import { openHeldSignals, stopping } from "./signals.ts";

const statusOfRefusal: Readonly<Partial<Record<RefusalCode, number>>> = {
  notFound: 127,
  notExecutable: 126,
};

/** How the client itself is to end. */
export type Ending =
  | { readonly kind: "exit"; readonly code: number }
  | { readonly kind: "signal"; readonly signal: number };

/** Runs one job in `daemon`. Consumes its socket. @throws ClientError when prefork failed. */
export function runJob(sys: Sys, daemon: Daemon, caller: Caller, options: JobOptions): Ending {
  using socket = daemon.socket;
  using signalFd = options.wait ? openHeldSignals(sys) : undefined;
  const signals = signalFd?.raw;
  const conversation = new Conversation(sys, daemon, socket.raw);
  {
    using opened = new Scope();
    const { request, fds } = capture(sys, caller, options, opened);
    conversation.send(request, fds);
  }
  const answer = conversation.receive(answerTimeoutMs);
  if (answer.type === "refused") throw refusalError(answer);
  if (answer.type !== "accepted") throw conversation.unexpected(answer);
  if (signals === undefined) return { kind: "exit", code: 0 };
  for (;;) {
    const ready = waitReadable(sys, [socket.raw, signals], -1);
    if (ready.includes(socket.raw)) {
      const message = conversation.receive(0);
      if (message.type === "refused") throw refusalError(message);
      if (message.type !== "exited") throw conversation.unexpected(message);
      const status = parseWaitStatus(message.waitStatus);
      return status.kind === "exited"
        ? { kind: "exit", code: status.code }
        : { kind: "signal", signal: status.signal };
    }
    const signal = readSignal(sys, signals);
    if (signal === undefined) continue;
    conversation.send({ type: "signal", signal });
    if (stopping.has(signal)) trySignal(sys, sys.getpid(), signalNumbers.SIGSTOP);
  }
}

/** Ends this process as the job ended: with its code, or by its signal. Never returns. */
export function endAs(sys: Sys, ending: Ending): never {
  if (ending.kind === "exit") exitNow(sys, ending.code);
  const { signal } = ending;
  disableCoreFile(sys); // the job has left one, if any
  if (signal !== signalNumbers.SIGKILL && signal !== signalNumbers.SIGSTOP) {
    resetSignal(sys, signal);
    unblockSignals(sys, [signal]);
  }
  trySignal(sys, sys.getpid(), signal);
  exitNow(sys, 128 + signal); // a signal whose default is not to end the process
}

function refusalError({ code, reason }: Refusal): ClientError {
  return new ClientError(reason, statusOfRefusal[code]);
}
