/** Asking the daemon about itself: ping, status, stop. */
import { safeDestr } from "destr";
import type { Sys } from "../../ffi/sys.ts";
import { answerTimeoutMs } from "../base/limits.ts";
import { pidPathOf } from "../domain/discovery.ts";
import { tryOpenPidFd } from "../os/children.ts";
import { pidFileHolder } from "../os/lock.ts";
import { waitReadable } from "../os/poll.ts";
import { signalNumbers, trySignal } from "../os/signals.ts";
import type { Message } from "../protocol/messages.ts";
import type { Daemon } from "./connect.ts";
import { Conversation } from "./conversation.ts";
import { ClientError } from "./errors.ts";

/** A control body: an object with some keys that must be there; what else it holds is passed on. */
export type Report = Readonly<Record<string, unknown>>;

export function ping(sys: Sys, daemon: Daemon): Report {
  using socket = daemon.socket;
  const answer = ask(new Conversation(sys, daemon, socket.raw), { type: "ping" }, "pong");
  return parseReport(answer, { pid: "number", version: "string" });
}

export function status(sys: Sys, daemon: Daemon): Report {
  using socket = daemon.socket;
  const answer = ask(new Conversation(sys, daemon, socket.raw), { type: "status" }, "report");
  return parseReport(answer, statusShape);
}

/** Stops the daemon and returns when it is gone, however long its jobs take. */
export function stop(sys: Sys, daemon: Daemon, now: boolean): Report {
  using socket = daemon.socket;
  // A daemon outside our pid namespace has no number here; then its end of the socket must do.
  using process = daemon.pid > 0 ? tryOpenPidFd(sys, daemon.pid) : undefined;
  const answer = ask(new Conversation(sys, daemon, socket.raw), { type: "stop", now }, "report");
  const report = parseReport(answer, statusShape);
  waitReadable(sys, [(process ?? socket).raw], -1);
  return report;
}

/**
 * Waits for a daemon that is stopping already: it does not answer any more, but holds its lock.
 * @returns its pid, or undefined when none of `socketPaths` has one.
 */
export function awaitStopping(
  sys: Sys,
  socketPaths: readonly string[],
  now: boolean,
): number | undefined {
  for (const socketPath of socketPaths) {
    const pid = pidFileHolder(sys, pidPathOf(socketPath));
    using process = pid === undefined ? undefined : tryOpenPidFd(sys, pid);
    if (pid === undefined || !process) continue;
    if (now) trySignal(sys, pid, signalNumbers.SIGTERM); // its second signal: it does not wait
    waitReadable(sys, [process.raw], -1);
    return pid;
  }
  return undefined;
}

const statusShape = {
  pid: "number",
  version: "string",
  uptimeMs: "number",
  socket: "string",
  mode: "string",
  state: "string",
  running: "number",
  done: "number",
  failed: "number",
  image: "object",
} as const;

function ask(conversation: Conversation, request: Message, expected: "pong" | "report"): string {
  conversation.send(request);
  const answer = conversation.receive(answerTimeoutMs);
  if (answer.type === "refused") throw new ClientError(answer.reason);
  if (answer.type !== expected) throw conversation.unexpected(answer);
  return answer.json;
}

function parseReport(json: string, shape: Readonly<Record<string, string>>): Report {
  let value: unknown;
  try {
    value = safeDestr(json);
  } catch {
    value = undefined;
  }
  const report = value as Report | null | undefined;
  for (const [key, type] of Object.entries(shape)) {
    if (report && typeof report[key] === type && report[key] !== null) continue;
    throw new ClientError(`cannot understand the daemon's report: no ${key} in it`);
  }
  return report as Report;
}
