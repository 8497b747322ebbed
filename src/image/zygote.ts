/**
 * An image: a warm process that forks children for commands, and does nothing else. Its modules are
 * loaded when it starts; asked by the daemon, it forks a spare (see spare.ts) and announces it.
 * It leaves when the daemon's end of the socket closes. docs/fork-safety.md has the rules it keeps.
 */

import { allocate, copyOf } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { Scope } from "../base/scope.ts";
import { imageName } from "../domain/builtins.ts";
import { tryReap } from "../os/children.ts";
import { check, reasonOf, retry, SystemError } from "../os/errors.ts";
import { Fd, standard } from "../os/fd.ts";
import { openPipe, writeText } from "../os/files.ts";
import { inheritHeap } from "../os/heap.ts";
import { threadNames } from "../os/one-thread.ts";
import { exitNow, setProcessName } from "../os/process.ts";
import { socketPair } from "../os/socket.ts";
import type { Message } from "../protocol/messages.ts";
import { MessageReceiver, sendMessage } from "../transport/channel.ts";
import { runSpare } from "./spare.ts";

/** Runs the image of the built-in commands, on the socket that the daemon left at `socketNumber`. */
export function runImage(sys: Sys, socketNumber: number): never {
  const daemon = new Fd(sys, socketNumber);
  setProcessName(sys, imageName);
  sendMessage(sys, daemon.raw, { id: 0, message: { type: "ready" } });
  const spare = serveForks(sys, new MessageReceiver(sys), daemon);
  try {
    runSpare(sys, spare);
  } catch (error) {
    // The daemon reaps us, and standard error is its log.
    writeText(sys, standard.error, `a spare cannot get ready: ${reasonOf(error)}\n`);
    exitNow(sys, 1);
  }
}

/**
 * Forks a spare whenever the daemon asks for one. Returns in the spares, once in each, with the socket
 * from which its job comes; in the image, never. Consumes `daemon`.
 */
export function serveForks(sys: Sys, receiver: MessageReceiver, daemon: Fd): Fd {
  const tell = (message: Message, fds: readonly Fd[] = []): void => {
    const raw = fds.map((fd) => fd.raw);
    sendMessage(sys, daemon.raw, { id: 0, message }, raw);
  };
  for (;;) {
    const received = receiver.receive(daemon.raw);
    if (received === "gone") exitNow(sys, 0);
    if (received === "again") continue;
    using request = received;
    if (request.message.type !== "fork") exitNow(sys, 1);
    try {
      const fork = forkSpare(sys);
      if (fork.isSpare) {
        daemon[Symbol.dispose]();
        return fork.socket;
      }
      using socket = fork.socket;
      tell({ type: "spare", pid: fork.pid }, [socket]);
    } catch (error) {
      const errno = error instanceof SystemError ? error.errno : 0;
      tell({ type: "failed", errno, reason: `cannot fork: ${reasonOf(error)}` });
    }
  }
}

/**
 * Forks twice; the process in the middle leaves, so that the spare becomes the daemon's child.
 * The daemon hears of the spare when that has happened. @returns in both: the spare with its end of
 * a socket, the image with the daemon's end and the spare's pid.
 */
function forkSpare(
  sys: Sys,
): { isSpare: true; socket: Fd } | { isSpare: false; socket: Fd; pid: number } {
  const [, ...others] = threadNames(sys);
  if (others.length > 0) {
    throw new Error(`of the image's threads only one survives, and not ${others.join(", ")}`);
  }
  using owned = new Scope();
  const pair = socketPair(sys);
  owned.use(pair.ours);
  const theirs = owned.use(pair.theirs);
  const pipe = openPipe(sys);
  owned.use(pipe.readEnd);
  const writeEnd = owned.use(pipe.writeEnd);
  inheritHeap(sys);
  const middle = check(sys.fork(), "fork");
  if (middle === 0) {
    const spare = sys.fork();
    if (spare !== 0) {
      // Also a failure, as a negated errno.
      const pid = copyOf(new Uint8Array(Int32Array.of(spare).buffer));
      sys.write(writeEnd.raw, pid, pid.length);
      exitNow(sys, 0);
    }
    pair.ours[Symbol.dispose]();
    pipe.readEnd[Symbol.dispose]();
    pipe.writeEnd[Symbol.dispose]();
    return { isSpare: true, socket: theirs.move() };
  }
  writeEnd[Symbol.dispose]();
  tryReap(sys, middle, { wait: true });
  const word = allocate(4);
  const size = check(retry(sys.read, pipe.readEnd.raw, word, word.length), "read");
  const pid = word.view.getInt32(0, true);
  if (size !== word.length) throw new Error("the process in the middle died");
  check(pid, "fork");
  return { isSpare: false, pid, socket: pair.ours.move() };
}
