/**
 * Messages over a socket: where the protocol's bytes meet the kernel's datagrams. Client, daemon
 * and image all speak through this file.
 */

import { MSG_DONTWAIT } from "../../ffi/linux/constants.ts";
import { allocate, copyOf } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { inlineBodyBytesMax } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import { type Datagram, Receiver, send } from "../os/ancillary.ts";
import type { Fd, RawFd } from "../os/fd.ts";
import { createSealed, readSealed } from "../os/memfd.ts";
import { decodeBody, decodeHeader, isBodyInMemfd } from "../protocol/decode.ts";
import { encodeBody, encodeHeader } from "../protocol/encode.ts";
import { type Envelope, type Header, headerSize } from "../protocol/messages.ts";
import { ProtocolError } from "../protocol/wire.ts";

/** A decoded message with the descriptors it brought; disposing closes those not taken. */
export interface Received extends Envelope, Disposable {
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
): "sent" | "again" | "gone" {
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
    const inMemfd = isBodyInMemfd(header);
    const body = inMemfd ? this.#readBody(header, datagram) : copyBody(datagram);
    const message = decodeBody(header, body);
    const fds = inMemfd ? datagram.fds.slice(1) : datagram.fds;
    const kept = owned.move();
    if (inMemfd) datagram.fds[0]?.[Symbol.dispose]();
    return { id: header.id, message, fds, [Symbol.dispose]: () => kept[Symbol.dispose]() };
  }

  #readBody(header: Header, datagram: Datagram): Uint8Array {
    const [file] = datagram.fds;
    const body = file && readSealed(this.#sys, file.raw, header.bodySize);
    if (!body) throw new ProtocolError("the body is not in a sealed memory file");
    return body;
  }
}

/** The receiver's buffer is used again; the message keeps a copy. */
function copyBody(datagram: Datagram): Uint8Array<ArrayBuffer> {
  return copyOf(datagram.bytes.subarray(headerSize));
}
