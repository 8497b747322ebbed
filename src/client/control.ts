/** Asking the daemon about itself: ping, status, stop. */
import { safeDestr } from "destr";
import type { Sys } from "../../ffi/sys.ts";
import { answerTimeoutMs } from "../base/limits.ts";
import { tryOpenPidFd } from "../os/children.ts";
import { waitReadable } from "../os/poll.ts";
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
  using process = tryOpenPidFd(sys, daemon.pid);
  const answer = ask(new Conversation(sys, daemon, socket.raw), { type: "stop", now }, "report");
  const report = parseReport(answer, statusShape);
  if (process) waitReadable(sys, [process.raw], -1);
  return report;
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
