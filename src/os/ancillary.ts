/** Datagrams with descriptors: sendmsg(2), recvmsg(2), SCM_RIGHTS. See unix(7) and cmsg(3). */
import * as errno from "../../ffi/errno.ts";
import {
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_PEEK,
  MSG_TRUNC,
  SCM_RIGHTS,
  SOL_SOCKET,
} from "../../ffi/linux/constants.ts";
import { allocate, type Memory } from "../../ffi/memory.ts";
import { cmsghdr, iovec, msghdr } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { kernelFdsMax } from "../base/limits.ts";
import { check, retry } from "./errors.ts";
import { Fd, type RawFd } from "./fd.ts";

/** CMSG_SPACE: a control message's header and data, padded to 8 bytes. */
function controlSpace(fdCount: number): number {
  return cmsghdr.size + Math.ceil((fdCount * 4) / 8) * 8;
}

/**
 * Sends one datagram with its descriptors. All of it is sent, or none.
 * `fds` are borrowed: the receiver gets copies, close your own afterwards.
 * @returns "sent", "again" when the socket is full, or "gone" when the peer has left.
 * @throws SystemError for anything else, EMSGSIZE and ETOOMANYREFS among them.
 */
export function send(
  sys: Sys,
  socket: RawFd,
  datagram: Memory,
  fds: readonly RawFd[],
  flags = 0,
): "sent" | "again" | "gone" {
  outgoing ??= makeOutgoing();
  const { header, vector, control } = outgoing;
  iovec.point(vector, "iov_base", datagram);
  iovec.set(vector, "iov_len", datagram.length);
  const controlSize = fds.length === 0 ? 0 : controlSpace(fds.length);
  cmsghdr.set(control, "cmsg_len", cmsghdr.size + fds.length * 4);
  for (let index = 0; index < fds.length; index++) {
    control.view.setInt32(cmsghdr.size + index * 4, fds[index] as RawFd, true);
  }
  msghdr.point(header, "msg_control", fds.length === 0 ? null : control);
  msghdr.set(header, "msg_controllen", controlSize);
  const result = retry(sys.sendmsg, socket, header, flags | MSG_NOSIGNAL);
  if (result === -errno.EAGAIN) return "again";
  if (result === -errno.EPIPE || result === -errno.ECONNRESET || result === -errno.ENOTCONN) {
    return "gone";
  }
  check(result, "sendmsg");
  return "sent";
}

interface Outgoing {
  readonly header: Memory;
  readonly vector: Memory;
  readonly control: Memory;
}

/** What every message is sent by: made once. */
let outgoing: Outgoing | undefined;

function makeOutgoing(): Outgoing {
  const header = allocate(msghdr.size);
  const vector = allocate(iovec.size);
  const control = allocate(controlSpace(kernelFdsMax));
  msghdr.point(header, "msg_iov", vector);
  msghdr.set(header, "msg_iovlen", 1);
  cmsghdr.set(control, "cmsg_level", SOL_SOCKET);
  cmsghdr.set(control, "cmsg_type", SCM_RIGHTS);
  return { header, vector, control };
}

/**
 * Whether the peer of a connection has closed it, with nothing left to be received. Takes nothing out of the socket.
 */
export function hasClosed(sys: Sys, socket: RawFd): boolean {
  nothing ??= allocate(msghdr.size);
  // The size of what waits, which is not copied.
  const result = retry(sys.recvmsg, socket, nothing, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC);
  return result === 0 || result === -errno.ECONNRESET;
}
let nothing: Memory | undefined;

/** One received datagram; `bytes` is valid until the next one is received. */
export interface Datagram {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Owned by whoever receives this, from the first moment. */
  readonly fds: readonly Fd[];
  /** Bytes or descriptors were cut off: nothing in it can be relied on. */
  readonly truncated: boolean;
}

/** Receives datagrams of up to `sizeMax` bytes into one buffer, used again for each. */
export class Receiver {
  readonly #sys: Sys;
  readonly #header: Memory = allocate(msghdr.size);
  readonly #data: Memory;
  readonly #control: Memory = allocate(controlSpace(kernelFdsMax));

  constructor(sys: Sys, sizeMax: number) {
    this.#sys = sys;
    this.#data = allocate(sizeMax);
    const vector = allocate(iovec.size);
    iovec.point(vector, "iov_base", this.#data);
    iovec.set(vector, "iov_len", sizeMax);
    msghdr.point(this.#header, "msg_iov", vector);
    msghdr.set(this.#header, "msg_iovlen", 1);
    msghdr.point(this.#header, "msg_control", this.#control);
  }

  /**
   * Receives one datagram. The descriptors in it are close-on-exec.
   * @returns "again" when none waits, "gone" when the peer has closed.
   */
  receive(socket: RawFd, flags = 0): Datagram | "again" | "gone" {
    msghdr.set(this.#header, "msg_controllen", this.#control.length);
    let result = this.#receive(socket, flags);
    // The peer closed without reading all we sent: that is told once, before what it said last.
    if (result === -errno.ECONNRESET) result = this.#receive(socket, flags);
    if (result === -errno.EAGAIN) return "again";
    if (result === -errno.ECONNRESET) return "gone";
    const size = check(result, "recvmsg");
    const fds = this.#receivedFds();
    // A datagram of no bytes looks like the end of the stream; only descriptors tell them apart.
    if (size === 0 && fds.length === 0) return "gone";
    const outcome = msghdr.get(this.#header, "msg_flags");
    return {
      bytes: this.#data.subarray(0, size),
      fds,
      truncated: (outcome & (MSG_TRUNC | MSG_CTRUNC)) !== 0,
    };
  }

  #receive(socket: RawFd, flags: number): number {
    return retry(this.#sys.recvmsg, socket, this.#header, flags | MSG_CMSG_CLOEXEC);
  }

  #receivedFds(): Fd[] {
    const fds: Fd[] = [];
    const end = msghdr.get(this.#header, "msg_controllen");
    let at = 0;
    while (at + cmsghdr.size <= end) {
      const size = cmsghdr.get(this.#control, "cmsg_len", at);
      if (size < cmsghdr.size) break;
      const isRights =
        cmsghdr.get(this.#control, "cmsg_level", at) === SOL_SOCKET &&
        cmsghdr.get(this.#control, "cmsg_type", at) === SCM_RIGHTS;
      if (isRights) {
        for (let data = at + cmsghdr.size; data + 4 <= at + size; data += 4) {
          fds.push(new Fd(this.#sys, this.#control.view.getInt32(data, true)));
        }
      }
      at += Math.ceil(size / 8) * 8;
    }
    return fds;
  }
}
