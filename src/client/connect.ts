/** Reaching the daemon: the first candidate that answers and may be trusted. */
import type { Sys } from "../../ffi/sys.ts";
import { answerTimeoutMs } from "../base/limits.ts";
import type { Candidate } from "../domain/discovery.ts";
import type { Fd } from "../os/fd.ts";
import { openConnector, peerCredentials, tryConnect, type Unreachable } from "../os/socket.ts";

/** A connection to a daemon that has proved to be ours or root's. */
export interface Daemon {
  readonly socket: Fd;
  readonly socketPath: string;
  readonly pid: number;
}

/** Hears what is passed over on the way. */
export type Warn = (message: string) => void;

const unreachableWords: Readonly<Record<Exclude<Unreachable, "missing">, string>> = {
  refused: "it is stale: nobody listens",
  denied: "permission denied",
  "not-a-daemon": "it is not a daemon's socket",
  busy: "the daemon does not answer: its queue is full",
};

/** Connects to the first candidate that answers; the others are passed over with a warning. */
export function connectFirst(
  sys: Sys,
  candidates: Iterable<Candidate>,
  warn: Warn,
): Daemon | undefined {
  using owned = new DisposableStack();
  let socket = owned.use(openConnector(sys, answerTimeoutMs));
  for (const { socketPath } of candidates) {
    const outcome = tryConnect(sys, socket.raw, socketPath);
    if (outcome === "missing") continue;
    if (outcome !== "connected") {
      warn(`ignoring ${socketPath}: ${unreachableWords[outcome]}`);
      continue;
    }
    const { pid, uid } = peerCredentials(sys, socket.raw);
    // Who gets our descriptors can type into our terminal: only ourselves, or root.
    if (uid === sys.geteuid() || uid === 0) {
      owned.move();
      return { socket, socketPath, pid };
    }
    warn(`ignoring ${socketPath}: its daemon belongs to user ${uid}`);
    socket[Symbol.dispose]();
    socket = owned.use(openConnector(sys, answerTimeoutMs));
  }
  return undefined;
}
