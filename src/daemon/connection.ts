/** One peer: its messages in, its replies out, and how long it may keep us waiting. */

import { crowdedTimeoutMs, repliesMax, requestTimeoutMs } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import { hasClosed } from "../os/ancillary.ts";
import { SystemError } from "../os/errors.ts";
import type { Fd } from "../os/fd.ts";
import { type PeerCredentials, peerCredentials } from "../os/socket.ts";
import type { Timer } from "../os/timers.ts";
import { IncompatibleError } from "../protocol/decode.ts";
import type { Envelope, Message, Refusal } from "../protocol/messages.ts";
import { ProtocolError } from "../protocol/wire.ts";
import { type Received, sendMessage } from "../transport/channel.ts";
import type { Loop } from "./loop.ts";

/** Messages taken from one peer before others have their turn. */
const messagesPerTurn = 16;

export interface ConnectionEvents {
  /** A whole message, which is consumed. */
  readonly onMessage: (connection: Connection, received: Received) => void;
  /** The peer is gone, or we are done with it: the connection is closed. */
  readonly onClosed: (connection: Connection) => void;
}

export class Connection {
  readonly peer: PeerCredentials;
  readonly #loop: Loop;
  readonly #socket: Fd;
  readonly #events: ConnectionEvents;
  readonly #replies: Envelope[] = [];
  /** Runs until the first request has come. */
  #deadline: Timer | undefined;
  readonly #openedMs: number;
  /** The socket is full, and we wait for room. */
  #isBlocked = false;
  #isEnding = false;
  #isClosed = false;
  #isPeerGone = false;

  /** Consumes `socket`, also when it throws. */
  constructor(loop: Loop, socket: Fd, events: ConnectionEvents) {
    using owned = new Scope();
    owned.use(socket);
    this.#loop = loop;
    this.#socket = socket;
    this.#events = events;
    this.peer = peerCredentials(loop.sys, socket.raw);
    loop.poller.add(socket.raw, ({ readable, writable }) => {
      if (writable) this.#flush();
      if (readable && !this.#isClosed) this.receive();
    });
    owned.defer(() => loop.poller.remove(socket.raw));
    this.#openedMs = loop.nowMs();
    this.#deadline = loop.timers.after(requestTimeoutMs, () => this.#dropSilent());
    owned.move();
  }

  /** Others wait for its place: the peer is dropped if it has had time enough for a request and sent none. */
  makeRoom(): void {
    const isSilent = this.#deadline !== undefined && !this.#isClosed;
    if (isSilent && this.#loop.nowMs() - this.#openedMs >= crowdedTimeoutMs) this.#dropSilent();
  }

  #dropSilent(): void {
    this.#loop.log.warn(`closing the client ${this.peer.pid}: it sent no request`);
    this.close();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** It was closed because the peer had closed it. */
  get isPeerGone(): boolean {
    return this.#isPeerGone;
  }

  /** Sends a reply, at once or when the peer has room. A peer that never reads is dropped. */
  reply(message: Message, id = 0): void {
    if (this.#isClosed) return;
    if (this.#replies.length >= repliesMax) {
      this.#loop.log.warn(`closing the client ${this.peer.pid}: it does not read its replies`);
      this.close();
      return;
    }
    this.#replies.push({ id, message });
    if (this.#replies.length === 1) this.#flush();
  }

  refuse(refusal: Omit<Refusal, "type">, id = 0): void {
    this.reply({ type: "refused", ...refusal }, id);
    this.end();
  }

  /** Closes when all replies are out. */
  end(): void {
    this.#isEnding = true;
    if (this.#replies.length === 0) this.close();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#deadline?.cancel();
    this.#loop.poller.forget(this.#socket.raw);
    this.#socket[Symbol.dispose]();
    this.#events.onClosed(this);
  }

  #peerGone(): void {
    this.#isPeerGone = true;
    this.close();
  }

  /** Takes what the peer has sent. */
  receive(): void {
    for (let count = 0; count < messagesPerTurn && !this.#isClosed && !this.#isEnding; count++) {
      try {
        const received = this.#loop.receiver.receive(this.#socket.raw, { wait: false });
        if (received === "again") return;
        if (received === "gone") return this.#peerGone();
        this.#deadline?.cancel();
        this.#deadline = undefined;
        const isRun = received.message.type === "run";
        if (isRun && hasClosed(this.#loop.sys, this.#socket.raw)) {
          received[Symbol.dispose](); // nobody waits for it any more, so it is not begun
          return this.#peerGone();
        }
        this.#events.onMessage(this, received);
        if (isRun) return;
      } catch (error) {
        return this.refuse(this.#refusalFor(error));
      }
    }
    // A peer that still sends while it is being refused is not read any more, only hung up on.
    if (this.#isEnding && !this.#isClosed) this.close();
  }

  /** What a peer is told of an error; one that is our own mistake is thrown on. */
  #refusalFor(error: unknown): Omit<Refusal, "type"> {
    const refusal = refusalFor(error);
    if (!refusal) throw error;
    this.#loop.log.warn(`refusing the client ${this.peer.pid}: ${refusal.reason}`);
    return refusal;
  }

  #flush(): void {
    while (this.#replies[0]) {
      const outcome = this.#send(this.#replies[0]);
      if (outcome === "gone") return this.#peerGone();
      if (outcome === "again") {
        this.#watchForRoom(true);
        return;
      }
      this.#replies.shift();
    }
    if (this.#isEnding) return this.close();
    this.#watchForRoom(false);
  }

  /** A peer that cannot be told is hung up on, so that it does not wait for ever. */
  #send(reply: Envelope): "sent" | "again" | "gone" {
    try {
      return sendMessage(this.#loop.sys, this.#socket.raw, reply, [], { wait: false });
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#loop.log.error(`cannot answer the client ${this.peer.pid}: ${error.message}`);
      return "gone";
    }
  }

  #watchForRoom(writable: boolean): void {
    if (this.#isBlocked === writable) return;
    this.#isBlocked = writable;
    this.#loop.poller.watch(this.#socket.raw, { readable: true, writable });
  }
}

function refusalFor(error: unknown): Omit<Refusal, "type"> | undefined {
  if (error instanceof IncompatibleError) {
    return { code: "incompatible", errno: 0, reason: error.message };
  }
  if (error instanceof ProtocolError)
    return { code: "badRequest", errno: 0, reason: error.message };
  if (error instanceof SystemError) {
    return { code: "failed", errno: error.errno, reason: error.message };
  }
  return undefined;
}
