/**
 * A job that a process of ours hands to itself, to go the way of a job once before the first one comes: what is called for
 * the first time is linked then, and what is written to for the first time after a fork is copied.
 */
import type { Sys } from "../../ffi/sys.ts";
import { signalMaskSize } from "../base/limits.ts";
import { fromLatin1, type StringList } from "../base/strings.ts";
import type { RawFd } from "../os/fd.ts";
import { niceValue } from "../os/process.ts";
import { resourceLimits } from "../os/resource-limits.ts";
import { socketPair } from "../os/socket.ts";
import { type RunRequest, unknownAttributes } from "../protocol/messages.ts";
import { type MessageReceiver, type Received, sendMessage } from "../transport/channel.ts";

/** What is chosen of the context; all else is as this process has it. Descriptors are borrowed. */
export interface RehearsedContext {
  readonly argv: StringList;
  readonly env: StringList;
  readonly directory: RawFd;
  /** For 0, 1 and 2. */
  readonly streams: readonly RawFd[];
}

/** Sends the job to this process and receives it. The copies of the descriptors are the caller's. */
export function rehearsedJob(
  sys: Sys,
  receiver: MessageReceiver,
  { argv, env, directory, streams }: RehearsedContext,
): { request: RunRequest; received: Received } {
  const pair = socketPair(sys);
  using from = pair.ours;
  using to = pair.theirs;
  const noSignals = new Uint8Array(signalMaskSize);
  const message: RunRequest = {
    type: "run",
    wait: false,
    attributes: {
      umask: 0o077,
      nice: niceValue(sys),
      limits: resourceLimits(sys),
      ignoredSignals: noSignals,
      blockedSignals: noSignals,
      ...unknownAttributes,
    },
    policy: { timeoutMs: 0, killAfterMs: 0, killGroup: false, onDisconnect: "hangup" },
    warm: false,
    unconfigured: true,
    controllingTerminal: false,
    terminalGuard: undefined,
    directoryIndex: 0,
    directoryPath: fromLatin1("/"),
    descriptors: streams.map((_, number) => ({ number, index: number + 1 })),
    argv,
    env,
  };
  sendMessage(sys, from.raw, { id: 0, message }, [directory, ...streams]);
  const received = receiver.receive(to.raw);
  if (typeof received === "string" || received.message.type !== "run") {
    throw new Error("the rehearsal was not received");
  }
  return { request: received.message, received };
}
