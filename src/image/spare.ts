/**
 * A spare: a forked child of an image that waits for its one job, becomes it, and ends with it.
 *
 * A forked process pays for each page of memory when it first writes to it, and for each function
 * when it first calls it. So a spare rehearses before it waits: it hands itself a job and goes the
 * whole way, up to the command's own code, on /dev/null. Then only the job is left to be done.
 */

import type { Sys } from "../../ffi/sys.ts";
import { Scope } from "../base/scope.ts";
import { fromLatin1, latin1, stringList, strings } from "../base/strings.ts";
import { type BuiltinName, isBuiltin } from "../domain/builtins.ts";
import { check, reasonOf, SystemError } from "../os/errors.ts";
import { duplicate, type Fd, type RawFd } from "../os/fd.ts";
import { closeOthers, openNull, openPlace, replaceFd } from "../os/files.ts";
import { exitNow, setProcessName } from "../os/process.ts";
import { restoreIgnoredByBun } from "../os/signals.ts";
import { socketPair } from "../os/socket.ts";
import { clearOfTargets } from "../os/spawn.ts";
import type { Message, RunRequest } from "../protocol/messages.ts";
import { MessageReceiver, type Received, sendMessage } from "../transport/channel.ts";
import { runCommand } from "./commands/table.ts";

/** Waits for the job on `daemon` and runs it. The process ends here. Consumes `daemon`. */
export function runSpare(sys: Sys, daemon: Fd): never {
  check(sys.setpgid(0, 0), "setpgid"); // a job is a process group of its own
  restoreIgnoredByBun(sys);
  const receiver = new MessageReceiver(sys);
  let link = rehearse(sys, receiver, daemon);
  const received = receiver.receive(link.raw);
  if (typeof received === "string") exitNow(sys, 0); // the daemon needs us no more
  let answer: Message = { type: "started" };
  let job: Job | undefined;
  try {
    job = enterJob(sys, received, link);
    link = job.link;
    setProcessName(sys, job.name);
  } catch (error) {
    const errno = error instanceof SystemError ? error.errno : 0;
    answer = { type: "failed", errno, reason: reasonOf(error) };
  }
  sendMessage(sys, link.raw, { id: received.id, message: answer });
  if (!job) exitNow(sys, 1);
  link[Symbol.dispose]();
  exitNow(sys, runCommand(sys, job.name, job.args));
}

/** Runs a job of our own on /dev/null. @returns the socket to the daemon, under a new number. */
function rehearse(sys: Sys, receiver: MessageReceiver, daemon: Fd): Fd {
  const pair = socketPair(sys);
  const request: RunRequest = {
    type: "run",
    wait: false,
    umask: 0o077,
    directoryIndex: 0,
    directoryPath: fromLatin1("/"),
    descriptors: [0, 1, 2].map((number) => ({ number, index: 1 })),
    argv: stringList(fromLatin1("add\x001\x000.2\0")),
    env: stringList(fromLatin1("PATH=/bin\0")),
  };
  const fds = [openPlace(sys, "/").raw, openNull(sys).raw];
  sendMessage(sys, pair.ours.raw, { id: 0, message: request }, fds);
  const received = receiver.receive(pair.theirs.raw);
  if (typeof received === "string") throw new Error("the rehearsal was not received");
  const { link, name, args } = enterJob(sys, received, daemon); // closes all that was opened here
  runCommand(sys, name, args);
  return link;
}

interface Job {
  readonly name: BuiltinName;
  readonly args: readonly string[];
  /** The socket to the daemon, out of the way of the job's descriptors. */
  readonly link: Fd;
}

/**
 * Puts directory, umask and descriptors in place and closes all others but the socket to the
 * daemon, which is moved. @throws SystemError, and the job cannot run.
 */
function enterJob(sys: Sys, { message, fds }: Received, daemon: Fd): Job {
  if (message.type !== "run") throw new Error(`a spare does not take '${message.type}'`);
  const [name = "", ...args] = strings(message.argv).map(latin1);
  if (!isBuiltin(name)) throw new Error(`${name} is not a command of this image`);
  const rawOf = (index: number): RawFd => (fds[index] as Fd).raw; // the decoder checked the index
  sys.umask(message.umask);
  check(sys.fchdir(rawOf(message.directoryIndex)), "fchdir");
  const descriptors = new Map<number, RawFd>();
  for (const { number, index } of message.descriptors) descriptors.set(number, rawOf(index));
  const highest = Math.max(2, ...descriptors.keys());
  const link = duplicate(sys, daemon.raw, highest + 1);
  const copies = new Scope(); // closed with all the others, by number
  for (const [number, source] of clearOfTargets(sys, descriptors, copies)) {
    replaceFd(sys, source, number);
  }
  closeOthers(sys, [...descriptors.keys(), link.raw]);
  return { name, args, link };
}
