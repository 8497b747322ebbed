/**
 * What an image of a script does once it is made: asked by the daemon, it forks a spare and announces it. It leaves when
 * the daemon's end of the socket closes. docs/fork-safety.md has the rules it keeps.
 */
import type { Sys } from "../../../ffi/sys.ts";
import { ownDescriptorsMin } from "../../base/limits.ts";
import { Scope } from "../../base/scope.ts";
import { reasonOf, SystemError } from "../../os/errors.ts";
import { duplicate, type Fd } from "../../os/fd.ts";
import { forkTwice } from "../../os/fork.ts";
import { InheritedHeap } from "../../os/heap.ts";
import { refuseThreads } from "../../os/one-thread.ts";
import { exitNow } from "../../os/process.ts";
import { socketPair } from "../../os/socket.ts";
import type { Message } from "../../protocol/messages.ts";
import { type MessageReceiver, sendMessage } from "../../transport/channel.ts";

/**
 * Forks a spare whenever the daemon asks for one. Returns in the spares, once in each, with the socket
 * from which its job comes; in the image, never. Consumes `daemon`.
 */
export function serveForks(sys: Sys, receiver: MessageReceiver, daemon: Fd): Fd {
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
      const low = owned.use(pair.theirs);
      const theirs = owned.use(duplicate(sys, low.raw, ownDescriptorsMin)); // a job may want the numbers below
      low[Symbol.dispose]();
      refuseThreads(sys);
      heap.renew();
      const pid = forkTwice(sys);
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
