/**
 * Messages over a socket: where the protocol's bytes meet the kernel's datagrams. Client, daemon
 * and image all speak through this file.
 */

import { MSG_DONTWAIT } from "../../ffi/linux/constants.ts";
import { allocate, copyOf, type Memory } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { inlineBodyBytesMax } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import { type Datagram, Receiver, send } from "../os/ancillary.ts";
import { closeAll, type Fd, type RawFd } from "../os/fd.ts";
import { createSealed, readSealed } from "../os/memfd.ts";
import { decodeBody, decodeHeader, isBodyInMemfd } from "../protocol/decode.ts";
import { encodeBody, encodeHeader } from "../protocol/encode.ts";
import { type Envelope, type Header, headerSize, type Message } from "../protocol/messages.ts";
import { ProtocolError } from "../protocol/wire.ts";

/** What became of a message: "again" is that nothing was sent (only without waiting), "gone" that the peer has left. */
export type Outcome = "sent" | "again" | "gone";

/** Where the job id stands: it is the header's last field. */
const idOffset = headerSize - 4;

/** A decoded message with the descriptors it brought; disposing closes those not taken. */
export class Received implements Envelope, Disposable {
  readonly id: number;
  readonly message: Message;
  /** Those of the message itself, without the file its body came in. */
  readonly fds: readonly Fd[];
  readonly #sys: Sys;
  /** As it arrived: header and body, or the header alone when the body is in the first descriptor. */
  readonly #datagram: Memory;
  readonly #allFds: readonly Fd[];

  constructor(sys: Sys, header: Header, parts: ReceivedParts) {
    this.#sys = sys;
    this.id = header.id;
    this.message = parts.message;
    this.#datagram = parts.datagram;
    this.#allFds = parts.fds;
    this.fds = isBodyInMemfd(header) ? parts.fds.slice(1) : parts.fds;
  }

  /**
   * Sends the message on as it arrived, under the id of a job, and does not wait. Its descriptors stay with us.
   * @throws SystemError
   */
  forward(socket: RawFd, id: number): Outcome {
    this.#datagram.view.setUint32(idOffset, id, true);
    const fds = this.#allFds.map((fd) => fd.raw);
    return send(this.#sys, socket, this.#datagram, fds, MSG_DONTWAIT);
  }

  [Symbol.dispose](): void {
    closeAll(this.#sys, this.#allFds);
  }
}

interface ReceivedParts {
  readonly message: Message;
  readonly datagram: Memory;
  /** All that came, owned from here on. */
  readonly fds: readonly Fd[];
}

/**
 * Sends one message; `fds` are borrowed.
 * @returns "sent", "again" (only with `wait: false`), or "gone" when the peer has left.
 */
export function sendMessage(
  sys: Sys,
  socket: RawFd,
  { id, message }: Envelope,
  fds: readonly RawFd[] = [],
  options: { wait: boolean } = { wait: true },
): Outcome {
  const body = encodeBody(message);
  const flags = options.wait ? 0 : MSG_DONTWAIT;
  if (body.length > inlineBodyBytesMax) {
    using file = createSealed(sys, body);
    const fdCount = fds.length + 1;
    const header = encodeHeader(message, body.length, { id, fdCount, bodyInMemfd: true });
    return send(sys, socket, copyOf(header), [file.raw, ...fds], flags);
  }
  const header = encodeHeader(message, body.length, {
    id,
    fdCount: fds.length,
    bodyInMemfd: false,
  });
  const datagram = allocate(headerSize + body.length);
  datagram.set(header);
  datagram.set(body, headerSize);
  return send(sys, socket, datagram, fds, flags);
}

/** Receives messages; one for all the sockets of a process, since its buffer is used in turns. */
export class MessageReceiver {
  readonly #sys: Sys;
  readonly #receiver: Receiver;

  constructor(sys: Sys) {
    this.#sys = sys;
    this.#receiver = new Receiver(sys, headerSize + inlineBodyBytesMax);
  }

  /**
   * Receives one message from `socket`.
   * @returns "again" when none waits (a non-blocking socket), "gone" when the peer has closed.
   * @throws ProtocolError when it cannot be understood; its descriptors are closed by then.
   */
  receive(socket: RawFd, options: { wait: boolean } = { wait: true }): Received | "again" | "gone" {
    const datagram = this.#receiver.receive(socket, options.wait ? 0 : MSG_DONTWAIT);
    if (typeof datagram === "string") return datagram;
    using owned = new Scope();
    for (const fd of datagram.fds) owned.use(fd);
    if (datagram.truncated) {
      throw new ProtocolError("the message was cut off: too large, or too few descriptors left");
    }
    const header = decodeHeader(datagram.bytes, datagram.fds.length);
    const kept = copyOf(datagram.bytes); // the receiver's buffer is used again
    const body = isBodyInMemfd(header)
      ? this.#readBody(header, datagram)
      : kept.subarray(headerSize);
    const message = decodeBody(header, body);
    owned.move();
    return new Received(this.#sys, header, { message, datagram: kept, fds: datagram.fds });
  }

  #readBody(header: Header, datagram: Datagram): Uint8Array {
    const [file] = datagram.fds;
    const body = file && readSealed(this.#sys, file.raw, header.bodySize);
    if (!body) throw new ProtocolError("the body is not in a sealed memory file");
    return body;
  }
}
