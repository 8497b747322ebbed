/** Talking to the daemon, with every failure said in words for the user. */
import type { Sys } from "../../ffi/sys.ts";
import { SystemError } from "../os/errors.ts";
import type { RawFd } from "../os/fd.ts";
import { waitReadable } from "../os/poll.ts";
import { IncompatibleError } from "../protocol/decode.ts";
import { type Message, protocolMajor } from "../protocol/messages.ts";
import { ProtocolError } from "../protocol/wire.ts";
import { MessageReceiver, sendMessage } from "../transport/channel.ts";
import type { Daemon } from "./connect.ts";
import { ClientError } from "./errors.ts";
import { type Blank, daemonWords } from "./words.ts";

/** The exchange of messages with one daemon; every failure is said in words for the user. */
export class Conversation {
  readonly #sys: Sys;
  readonly #daemon: Daemon;
  readonly #socket: RawFd;
  readonly #receiver: MessageReceiver;

  constructor(sys: Sys, daemon: Daemon, socket: RawFd) {
    this.#sys = sys;
    this.#daemon = daemon;
    this.#socket = socket;
    this.#receiver = new MessageReceiver(sys);
  }

  /** A daemon that is gone is noticed at the next `receive`, with what it may have said before. */
  send(message: Message, fds: readonly RawFd[] = []): void {
    try {
      const outcome = sendMessage(this.#sys, this.#socket, { id: 0, message }, fds);
      if (outcome !== "again") return; // that it is gone is noticed at the next `receive`
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      throw new ClientError(`cannot send to ${this.who}: ${error.message}`);
    }
    throw this.complaint("deaf");
  }

  /** The next message; waits for it. */
  receive(timeoutMs: number): Message {
    if (waitReadable(this.#sys, [this.#socket], timeoutMs).length === 0) {
      throw this.complaint("silent");
    }
    const message = this.take();
    if (message) return message;
    throw this.complaint("closed");
  }

  /** The next message, which is there by now; undefined: the daemon has closed the connection. */
  take(): Message | undefined {
    try {
      const received = this.#receiver.receive(this.#socket);
      if (typeof received === "string") return undefined;
      using owned = received;
      return owned.message;
    } catch (error) {
      if (error instanceof IncompatibleError) throw this.complaint("incompatible", error.major);
      if (!(error instanceof ProtocolError)) throw error;
      throw new ClientError(`cannot understand ${this.who}: ${error.message}`);
    }
  }

  /** Something is wrong with the daemon; `theirs` is the version of the protocol that it speaks. */
  complaint(what: keyof typeof daemonWords, theirs = protocolMajor): ClientError {
    const { socketPath, pid } = this.#daemon;
    const blanks: Readonly<Record<Blank, string>> = {
      "{place}": socketPath,
      "{pid}": `${pid}`,
      "{theirs}": `${theirs}`,
    };
    return new ClientError(
      daemonWords[what].replace(/\{\w+\}/g, (blank) => blanks[blank as Blank]),
    );
  }

  unexpected({ type }: Message): ClientError {
    return new ClientError(`cannot understand ${this.who}: it answered '${type}'`);
  }

  /** 0 when it is in another pid namespace, whose numbers mean nothing here. */
  get daemonPid(): number {
    return this.#daemon.pid;
  }

  /** The daemon, for the user. */
  get who(): string {
    return `the daemon at ${this.#daemon.socketPath} (pid ${this.#daemon.pid})`;
  }
}
