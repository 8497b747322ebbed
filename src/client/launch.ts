/**
 * Starting the daemon when there is none (`--create`). Of many clients that find none at once, one
 * starts it: it holds a lock on the socket's directory, which leaves nothing behind, while the
 * others try again to connect.
 */
import { O_DIRECTORY } from "../../ffi/linux/constants.ts";
import type { Sys } from "../../ffi/sys.ts";
import { launchTimeoutMs } from "../base/limits.ts";
import { fromUtf8, stringList } from "../base/strings.ts";
import { isSuccess } from "../base/wait-status.ts";
import { type Candidate, pidPathOf } from "../domain/discovery.ts";
import { tryReap } from "../os/children.ts";
import { standard } from "../os/fd.ts";
import { closeOnExec, open, openNull } from "../os/files.ts";
import { isPidFileHeld, tryLock } from "../os/lock.ts";
import { waitReadable } from "../os/poll.ts";
import { isAnybody } from "../os/proc.ts";
import { ownEnvironment, ownExecutable } from "../os/process.ts";
import { trySpawn } from "../os/spawn.ts";
import { anybody, Connector, type Daemon } from "./connect.ts";
import { ClientError } from "./errors.ts";

/** How long to leave the lock to others before the next try. */
const retryMs = 5;

/** Connects to the daemon at `candidate`, starting it if need be. @throws ClientError */
export function connectOrLaunch(sys: Sys, candidate: Candidate, nowMs: () => number): Daemon {
  const { socketPath } = candidate;
  const uid = sys.geteuid();
  if (isAnybody(sys, uid)) {
    throw new ClientError(`cannot start a daemon at ${socketPath}: ${anybody(uid)}`);
  }
  using directory = open(sys, socketPath.slice(0, socketPath.lastIndexOf("/") + 1), O_DIRECTORY);
  const deadlineMs = nowMs() + launchTimeoutMs;
  using connector = new Connector(sys, (message, isStale) => {
    // A stale socket is replaced. Anything else is in the way of a new one.
    if (!isStale) throw new ClientError(`cannot start a daemon at ${socketPath}: ${message}`);
  });
  for (;;) {
    const isOurs = tryLock(sys, directory.raw);
    const daemon = connector.tryReach(candidate);
    if (daemon) return daemon;
    // A daemon that is stopping does not answer any more, but it still holds its lock.
    const isStopping = isOurs && isPidFileHeld(sys, pidPathOf(socketPath));
    if (isOurs && !isStopping) {
      const isLaunched = launch(sys, candidate);
      const launched = connector.tryReach(candidate);
      if (launched) return launched;
      throw new ClientError(
        isLaunched
          ? `cannot use the daemon just started at ${socketPath}: it does not answer`
          : `cannot start a daemon at ${socketPath}`,
      );
    }
    if (nowMs() > deadlineMs) {
      const seconds = launchTimeoutMs / 1000;
      throw new ClientError(
        isStopping
          ? `no daemon at ${socketPath}: the one there has been stopping for ${seconds} s`
          : `no daemon at ${socketPath}: another client has been starting it for ${seconds} s`,
      );
    }
    waitReadable(sys, [], retryMs);
  }
}

/** Runs `pfd --daemonize` and waits for its word. @returns whether a daemon answers now. */
function launch(sys: Sys, { socketPath, mode }: Candidate): boolean {
  using nothing = openNull(sys);
  // What we inherited is for the job; a daemon that held it would hold it for ever.
  closeOnExec(sys, 3);
  const words = ["pfd", "--daemonize", "--socket", socketPath];
  if (mode !== "explicit") words.push("--mode", mode);
  const pid = trySpawn(sys, {
    path: ownExecutable,
    argv: stringList(fromUtf8(words.map((word) => `${word}\0`).join(""))),
    env: ownEnvironment(sys),
    descriptors: new Map([
      [0, nothing.raw],
      [1, nothing.raw],
      [2, standard.error],
    ]),
  });
  if (pid < 0) return false;
  const exit = tryReap(sys, pid, { wait: true });
  return exit !== undefined && isSuccess(exit.waitStatus);
}
