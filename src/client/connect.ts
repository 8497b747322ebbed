/** Reaching the daemon: the first candidate that answers and may be trusted. */
import type { Sys } from "../../ffi/sys.ts";
import { answerTimeoutMs } from "../base/limits.ts";
import type { Candidate } from "../domain/discovery.ts";
import type { Fd } from "../os/fd.ts";
import { isAnybody } from "../os/proc.ts";
import { openConnector, peerCredentials, tryConnect, type Unreachable } from "../os/socket.ts";

/** A connection to a daemon that has proved to be ours or root's. */
export interface Daemon {
  readonly socket: Fd;
  readonly socketPath: string;
  readonly pid: number;
}

/** Hears what is passed over on the way, and whether that was only a stale socket. */
export type Warn = (message: string, isStale: boolean) => void;

const unreachableWords: Readonly<Record<Exclude<Unreachable, "missing">, string>> = {
  refused: "it is stale: nobody listens",
  denied: "permission denied",
  "not-a-daemon": "it is not a daemon's socket",
  busy: "the daemon does not answer: its queue is full",
};

/** Why a user's number tells nothing. */
export function anybody(uid: number): string {
  return `user ${uid} stands for all users that this user namespace does not map, us included`;
}

/** Connects to one place after the other; one socket serves for all that fail. */
export class Connector implements Disposable {
  readonly #sys: Sys;
  readonly #warn: Warn;
  #socket: Fd | undefined;

  constructor(sys: Sys, warn: Warn) {
    this.#sys = sys;
    this.#warn = warn;
  }

  /** The daemon at `candidate`, or undefined: nobody is there, or nobody to be trusted. */
  tryReach({ socketPath }: Candidate): Daemon | undefined {
    this.#socket ??= openConnector(this.#sys, answerTimeoutMs);
    const outcome = tryConnect(this.#sys, this.#socket.raw, socketPath);
    if (outcome === "missing") return undefined;
    if (outcome !== "connected") {
      this.#warn(`ignoring ${socketPath}: ${unreachableWords[outcome]}`, outcome === "refused");
      return undefined;
    }
    const { pid, uid } = peerCredentials(this.#sys, this.#socket.raw);
    const flaw = this.#flawOf(uid);
    if (flaw === undefined) {
      const socket = this.#socket.move();
      this.#socket = undefined;
      return { socket, socketPath, pid };
    }
    this.#warn(`ignoring ${socketPath}: ${flaw}`, false);
    this[Symbol.dispose]();
    return undefined;
  }

  /** Who gets our descriptors can type into our terminal: only ourselves, or root. */
  #flawOf(uid: number): string | undefined {
    if (uid === 0) return undefined;
    if (uid !== this.#sys.geteuid()) return `its daemon belongs to user ${uid}`;
    return isAnybody(this.#sys, uid)
      ? `whose daemon it is cannot be told: ${anybody(uid)}`
      : undefined;
  }

  [Symbol.dispose](): void {
    this.#socket?.[Symbol.dispose]();
    this.#socket = undefined;
  }
}
