/**
 * An image: a warm process that forks children for commands, and does nothing else. Its modules are
 * loaded when it starts; asked by the daemon, it forks a spare (see spare.ts) and announces it.
 * It leaves when the daemon's end of the socket closes. docs/fork-safety.md has the rules it keeps.
 */

import { linkServeForks } from "../../ffi/head.ts";
import type { Sys } from "../../ffi/sys.ts";
import { Scope } from "../base/scope.ts";
import { imageName } from "../domain/builtins.ts";
import { reasonOf, SystemError } from "../os/errors.ts";
import { type HeadPart, ownHead } from "../os/executable.ts";
import { Fd, type RawFd } from "../os/fd.ts";
import { type Fork, forkSibling } from "../os/fork.ts";
import { InheritedHeap } from "../os/heap.ts";
import { isAlone, threadNames } from "../os/one-thread.ts";
import { exitNow, setProcessName, shownPlaces } from "../os/process.ts";
import { restoreIgnoredByBun } from "../os/signals.ts";
import { socketPair } from "../os/socket.ts";
import type { Message } from "../protocol/messages.ts";
import { MessageReceiver, sendMessage } from "../transport/channel.ts";
import { runBuiltin, runBuiltinJob } from "./builtin-job.ts";
import { rehearseCommand, rehearseSpare } from "./spare.ts";

/** Runs the image of the built-in commands, on the socket that the daemon left at `socketNumber`. */
export function runImage(sys: Sys, socketNumber: number): never {
  setProcessName(sys, imageName);
  const head = ownHead(sys);
  if (head) serveNatively(sys, head, socketNumber);
  const receiver = new MessageReceiver(sys);
  const daemon = rehearseSpare(sys, receiver, new Fd(sys, socketNumber));
  sendMessage(sys, daemon.raw, ready);
  runBuiltinJob(sys, receiver, serveForks(sys, receiver, daemon, forkSibling));
}

/**
 * Serves forks by the head: between two forks, and between a job's arrival and its command, nothing of JavaScript runs,
 * which would write to pages that each child has to copy. So only the command itself is rehearsed.
 */
function serveNatively(sys: Sys, { serveForks: address }: HeadPart, socketNumber: number): never {
  restoreIgnoredByBun(sys);
  rehearseCommand(sys);
  refuseThreads(sys);
  const serve = linkServeForks(address);
  const shown = shownPlaces(sys);
  sendMessage(sys, socketNumber as RawFd, ready);
  new InheritedHeap(sys).renew();
  runBuiltin(sys, serve(socketNumber, shown));
}

const ready = { id: 0, message: { type: "ready" } } as const;

/**
 * Forks a spare whenever the daemon asks for one. Returns in the spares, once in each, with the socket
 * from which its job comes; in the image, never. Consumes `daemon`.
 */
export function serveForks(sys: Sys, receiver: MessageReceiver, daemon: Fd, fork: Fork): Fd {
  const heap = new InheritedHeap(sys);
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
      using owned = new Scope();
      const pair = socketPair(sys);
      const ours = owned.use(pair.ours);
      const theirs = owned.use(pair.theirs);
      refuseThreads(sys);
      heap.renew();
      const pid = fork(sys);
      if (pid === 0) {
        daemon[Symbol.dispose]();
        return theirs.move();
      }
      tell({ type: "spare", pid }, [ours]);
    } catch (error) {
      const errno = error instanceof SystemError ? error.errno : 0;
      tell({ type: "failed", errno, reason: `cannot fork: ${reasonOf(error)}` });
    }
  }
}

function refuseThreads(sys: Sys): void {
  if (isAlone(sys)) return;
  const [, ...others] = threadNames(sys);
  throw new Error(`of the image's threads only one survives, and not ${others.join(", ")}`);
}
