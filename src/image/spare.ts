/**
 * A spare: a forked child of an image that waits for its one job, becomes it, and ends with it.
 * Everything a forked child must put right happens here, in the order of the file.
 */
import type { Sys } from "../../ffi/sys.ts";
import { latin1, strings } from "../base/strings.ts";
import { isBuiltin } from "../domain/builtins.ts";
import { check, reasonOf, SystemError } from "../os/errors.ts";
import { duplicate, type Fd, type RawFd } from "../os/fd.ts";
import { closeOthers, replaceFd } from "../os/files.ts";
import { exitNow, setProcessName } from "../os/process.ts";
import { restoreIgnoredByBun } from "../os/signals.ts";
import { clearOfTargets } from "../os/spawn.ts";
import type { Message, RunRequest } from "../protocol/messages.ts";
import { MessageReceiver, type Received, sendMessage } from "../transport/channel.ts";
import { runCommand } from "./commands/table.ts";

/** Waits for the job on `daemon` and runs it. The process ends here. Consumes `daemon`. */
export function runSpare(sys: Sys, daemon: Fd): never {
  check(sys.setpgid(0, 0), "setpgid"); // a job is a process group of its own
  restoreIgnoredByBun(sys);
  const received = new MessageReceiver(sys).receive(daemon.raw);
  if (typeof received === "string") exitNow(sys, 0); // the daemon needs us no more
  const { message, id } = received;
  if (message.type !== "run") exitNow(sys, 1);
  const argv = [...strings(message.argv)].map(latin1);
  const name = argv[0] ?? "";
  let answer: Message = { type: "started" };
  let link: Fd = daemon;
  try {
    link = enterContext(sys, message, received, daemon);
    if (!isBuiltin(name)) throw new Error(`${name} is not a command of this image`);
    setProcessName(sys, name);
  } catch (error) {
    const errno = error instanceof SystemError ? error.errno : 0;
    answer = { type: "failed", errno, reason: `${name}: ${reasonOf(error)}` };
  }
  sendMessage(sys, link.raw, { id, message: answer });
  if (answer.type === "failed" || !isBuiltin(name)) exitNow(sys, 1);
  link[Symbol.dispose]();
  exitNow(sys, runCommand(sys, name, argv.slice(1)));
}

/**
 * Puts directory, umask and descriptors in place and closes all others.
 * @returns the socket to the daemon, moved out of the way of the job's descriptors.
 */
function enterContext(sys: Sys, request: RunRequest, { fds }: Received, daemon: Fd): Fd {
  const rawOf = (index: number): RawFd => (fds[index] as Fd).raw; // the decoder checked the index
  sys.umask(request.umask);
  check(sys.fchdir(rawOf(request.directoryIndex)), "fchdir");
  const descriptors = new Map(
    request.descriptors.map(({ number, index }) => [number, rawOf(index)] as const),
  );
  const highest = Math.max(2, ...descriptors.keys());
  const link = duplicate(sys, daemon.raw, highest + 1);
  using copies = new DisposableStack();
  for (const [number, source] of clearOfTargets(sys, descriptors, copies)) {
    replaceFd(sys, source, number);
  }
  copies.move(); // closed with all the others, by number
  closeOthers(sys, [...descriptors.keys(), link.raw]);
  return link;
}
