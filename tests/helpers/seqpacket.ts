/**
 * Peers that speak to prefork's sockets by hand, to say what no client or daemon would: raw
 * SOCK_SEQPACKET messages with any bytes and any descriptors. Built on ffi/ alone; the layout of
 * the messages is written down here once more, so that a change of the wire does not go unnoticed.
 */
import { dlopen, FFIType } from "bun:ffi";
import { openSync } from "node:fs";
import * as errno from "../../ffi/errno.ts";
import { errnoName } from "../../ffi/errno-names.ts";
import { openLibc } from "../../ffi/libc.ts";
import {
  AF_UNIX,
  F_DUPFD_CLOEXEC,
  MSG_CMSG_CLOEXEC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  O_CLOEXEC,
  POLLIN,
  SCM_RIGHTS,
  SO_PEERCRED,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_SEQPACKET,
  SOL_SOCKET,
} from "../../ffi/linux/constants.ts";
import { allocate, copyOf, type Memory } from "../../ffi/memory.ts";
import { cmsghdr, iovec, msghdr, pollfd, sockaddrUn, ucred } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { until } from "./wait.ts";

export const sys: Sys = openLibc();
const utf8 = new TextEncoder();

export function check(result: number, what: string): number {
  if (result < 0) throw new Error(`${what}: ${errnoName(-result)}`);
  return result;
}

/** A raw descriptor of the test, closed at the end of its block. */
export class Descriptor implements Disposable {
  readonly number: number;

  constructor(number: number) {
    this.number = number;
  }

  static open(path: string, flags: "r" | "w" | "r+" = "r"): Descriptor {
    return new Descriptor(openSync(path, flags));
  }

  /** The two ends of a pipe: read, write. */
  static pipe(): [Descriptor, Descriptor] {
    const pair = allocate(8);
    check(sys.pipe2(pair, O_CLOEXEC), "pipe2");
    return [
      new Descriptor(pair.view.getInt32(0, true)),
      new Descriptor(pair.view.getInt32(4, true)),
    ];
  }

  copy(): Descriptor {
    return new Descriptor(check(sys.fcntl(this.number, F_DUPFD_CLOEXEC, 3), "fcntl"));
  }

  [Symbol.dispose](): void {
    sys.close(this.number);
  }
}

/** One message as it arrived; its descriptors are the test's own. */
export interface Packet {
  readonly bytes: Uint8Array;
  readonly fds: readonly Descriptor[];
}

/** One end of a connection. */
export class Peer implements Disposable {
  readonly #socket: Descriptor;
  #isClosed = false;

  constructor(socket: Descriptor) {
    this.#socket = socket;
  }

  /** Connects, as root optionally in the name of another user. */
  static connect(path: string, uid?: number): Peer {
    const socket = openSocket(0);
    asUser(uid, () => {
      const [address, size] = addressOf(path);
      check(sys.connect(socket.number, address, size), `connect ${path}`);
    });
    return new Peer(socket);
  }

  /** Sends one message. @returns "gone" when the other side has closed. */
  send(bytes: Uint8Array, fds: readonly Descriptor[] = []): "sent" | "gone" {
    return this.#send(bytes, fds, 0) as "sent" | "gone"; // it waits for room
  }

  /** The same; "again": the other side has not read what was sent before. */
  trySend(bytes: Uint8Array, fds: readonly Descriptor[] = []): "sent" | "gone" | "again" {
    return this.#send(bytes, fds, MSG_DONTWAIT);
  }

  #send(bytes: Uint8Array, fds: readonly Descriptor[], flags: number): "sent" | "gone" | "again" {
    const [header] = messageHeader(copyOf(bytes), controlOf(fds));
    const result = sys.sendmsg(this.#socket.number, header, MSG_NOSIGNAL | flags);
    if (result === -errno.EPIPE || result === -errno.ECONNRESET) return "gone";
    if (result === -errno.EAGAIN) return "again";
    check(result, "sendmsg");
    return "sent";
  }

  /** The process at the other end. See SO_PEERCRED in unix(7). */
  get pid(): number {
    const [peer, size] = [allocate(ucred.size), allocate(4)];
    size.view.setUint32(0, ucred.size, true);
    const socket = this.#socket.number;
    check(sys.getsockopt(socket, SOL_SOCKET, SO_PEERCRED, peer, size), "SO_PEERCRED");
    return ucred.get(peer, "pid");
  }

  /** Blocks until there is something to receive, or `timeoutMs` are over. @returns whether there is. */
  waitFor(timeoutMs: number): boolean {
    return isReadable(this.#socket, timeoutMs);
  }

  /** The next message if one has arrived, or "closed" at the end of the connection. */
  tryReceive(): Packet | "closed" | undefined {
    const [header, data, control] = messageHeader(allocate(256 * 1024), allocate(4096));
    const flags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
    let result = sys.recvmsg(this.#socket.number, header, flags);
    // That the other side left something unread is told first, and once; its last words follow.
    if (result === -errno.ECONNRESET) result = sys.recvmsg(this.#socket.number, header, flags);
    if (result === -errno.EAGAIN) return undefined;
    const size = check(result, "recvmsg");
    const fds: Descriptor[] = [];
    if (control && msghdr.get(header, "msg_controllen") > 0) {
      const end = cmsghdr.get(control, "cmsg_len");
      for (let at = cmsghdr.size; at < end; at += 4) {
        fds.push(new Descriptor(control.view.getInt32(at, true)));
      }
    }
    return size === 0 && fds.length === 0 ? "closed" : { bytes: data.slice(0, size), fds };
  }

  async receive(timeoutMs?: number): Promise<Packet | "closed"> {
    return await until("a message arrives", () => this.tryReceive(), timeoutMs);
  }

  /** What the next message says, its descriptors closed; "closed" at the end of the connection. */
  async answer(timeoutMs?: number): Promise<Answer | "closed"> {
    const packet = await this.receive(timeoutMs);
    if (packet === "closed") return packet;
    for (const fd of packet.fds) fd[Symbol.dispose]();
    return parseAnswer(packet.bytes);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Somebody who listens where a daemon would. */
export class Listener implements Disposable {
  readonly #socket: Descriptor;

  constructor(socket: Descriptor) {
    this.#socket = socket;
  }

  /** Listens at `path`, as root optionally in the name of another user. */
  static at(path: string, uid?: number): Listener {
    const socket = openSocket(SOCK_NONBLOCK);
    const [address, size] = addressOf(path);
    check(sys.bind(socket.number, address, size), `bind ${path}`);
    asUser(uid, () => check(sys.listen(socket.number, 16), "listen"));
    return new Listener(socket);
  }

  async accept(): Promise<Peer> {
    const number = await until("somebody connects", () => {
      const result = sys.accept4(this.#socket.number, null, null, SOCK_CLOEXEC);
      return result === -errno.EAGAIN ? undefined : check(result, "accept");
    });
    return new Peer(new Descriptor(number));
  }

  /** Blocks until somebody connects. */
  acceptBlocking(): Peer {
    isReadable(this.#socket, -1);
    return new Peer(
      new Descriptor(check(sys.accept4(this.#socket.number, null, null, SOCK_CLOEXEC), "accept")),
    );
  }

  /** Whether somebody has connected since the last time; the connection is dropped. */
  hasVisitor(): boolean {
    const result = sys.accept4(this.#socket.number, null, null, SOCK_CLOEXEC);
    if (result === -errno.EAGAIN) return false;
    sys.close(check(result, "accept"));
    return true;
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

const lib = dlopen("libc.so.6", { seteuid: { args: [FFIType.u32], returns: FFIType.int } });

/** The kernel notes a peer's user at connect(2) and listen(2): the effective one of that moment. */
function asUser(uid: number | undefined, act: () => void): void {
  if (uid === undefined) return act();
  if (lib.symbols.seteuid(uid) < 0) throw new Error("only root can take another user's place");
  try {
    act();
  } finally {
    lib.symbols.seteuid(0);
  }
}

/** Blocks until there is something to read, the end included, or `timeoutMs` (-1: never) are over. */
export function isReadable({ number }: Descriptor, timeoutMs: number): boolean {
  const list = allocate(pollfd.size);
  pollfd.set(list, "fd", number);
  pollfd.set(list, "events", POLLIN);
  return check(sys.poll(list, 1, timeoutMs), "poll") > 0;
}

function openSocket(flags: number): Descriptor {
  const number = sys.socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);
  return new Descriptor(check(number, "socket"));
}

function addressOf(path: string): [Memory, number] {
  const bytes = utf8.encode(path);
  const address = allocate(sockaddrUn.size);
  sockaddrUn.set(address, "sun_family", AF_UNIX);
  address.set(bytes, sockaddrUn.offset("sun_path"));
  return [address, sockaddrUn.offset("sun_path") + bytes.length + 1];
}

function messageHeader(
  data: Memory,
  control: Memory | undefined,
): [header: Memory, data: Memory, control: Memory | undefined] {
  const header = allocate(msghdr.size);
  const vector = allocate(iovec.size);
  iovec.point(vector, "iov_base", data);
  iovec.set(vector, "iov_len", data.length);
  msghdr.point(header, "msg_iov", vector);
  msghdr.set(header, "msg_iovlen", 1);
  if (control) {
    msghdr.point(header, "msg_control", control);
    msghdr.set(header, "msg_controllen", control.length);
  }
  return [header, data, control];
}

function controlOf(fds: readonly Descriptor[]): Memory | undefined {
  if (fds.length === 0) return undefined;
  const control = allocate(cmsghdr.size + Math.ceil((fds.length * 4) / 8) * 8);
  cmsghdr.set(control, "cmsg_len", cmsghdr.size + fds.length * 4);
  cmsghdr.set(control, "cmsg_level", SOL_SOCKET);
  cmsghdr.set(control, "cmsg_type", SCM_RIGHTS);
  for (const [index, fd] of fds.entries()) {
    control.view.setInt32(cmsghdr.size + index * 4, fd.number, true);
  }
  return control;
}

/** The numbers of the wire that a peer outside the project would know. */
export const wire = {
  magic: 0xf1_64_66_70,
  major: 3,
  headerSize: 24,
  run: 1,
  signal: 2,
  ping: 3,
  status: 4,
  stop: 5,
  accepted: 64,
  exited: 65,
  refused: 66,
  pong: 67,
  report: 68,
  stopped: 69,
  waiting: 70,
  bodyInMemfd: 1,
} as const;

/** Bits of a request's first field. */
export const runFlag = { wait: 1, unconfigured: 32 } as const;

/** A header's fields where they differ from a well-formed one's. */
export interface HeaderFields {
  readonly magic?: number;
  readonly major?: number;
  readonly flags?: number;
  readonly bodySize?: number;
  readonly fdCount?: number;
  readonly id?: number;
}

/** A message of `type` with `body`. */
export function frame(
  type: number,
  body: Uint8Array = new Uint8Array(),
  fields: HeaderFields = {},
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(wire.headerSize + body.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, fields.magic ?? wire.magic, true);
  view.setUint16(4, fields.major ?? wire.major, true);
  view.setUint16(6, type, true);
  view.setUint32(8, fields.flags ?? 0, true);
  view.setUint32(12, fields.bodySize ?? body.length, true);
  view.setUint32(16, fields.fdCount ?? 0, true);
  view.setUint32(20, fields.id ?? 0, true);
  bytes.set(body, wire.headerSize);
  return bytes;
}

/** Fields one behind the other: a number is 32 bits, a text or bytes come behind their size. */
export function fields(...values: readonly (number | string | Uint8Array)[]): Uint8Array {
  const parts = values.flatMap((value) => {
    if (typeof value === "number") return [u32(value)];
    const bytes = typeof value === "string" ? utf8.encode(value) : value;
    return [u32(bytes.length), bytes];
  });
  return new Uint8Array(Buffer.concat(parts));
}

/** A count, and the strings each ended by a NUL behind their size. */
export function stringFields(strings: readonly string[]): [count: number, bytes: Uint8Array] {
  return [strings.length, utf8.encode(strings.map((text) => `${text}\0`).join(""))];
}

/** The first fields of a request: flags, what a process hands on, how the job is treated. */
export function runHead(
  options: { wait?: boolean; flags?: number; umask?: number } = {},
): (number | string | Uint8Array)[] {
  const flags = options.flags ?? (options.wait === false ? 0 : runFlag.wait);
  const nice = 20; // plus the nice value
  const noSignals = [0, 0];
  const unknown = 0xffff_ffff;
  const noTimerSlack = [0, 0];
  const treatment = [0, 0, 0]; // no time limits, and hung up without its client
  return [
    flags,
    options.umask ?? 0o022,
    nice,
    ...noSignals,
    ...noSignals,
    ownLimits(),
    // OOM score, dump filter, personality, no new privileges, I/O priority, timer slack, scheduling, CPUs
    ...[unknown, unknown, unknown, 0, unknown],
    ...noTimerSlack,
    ...["", ""],
    ...treatment,
  ];
}

/** All resource limits of this process, as the wire has them. */
function ownLimits(): Uint8Array {
  const limits = new Uint8Array(16 * 16);
  const limit = allocate(16);
  for (let resource = 0; resource < 16; resource++) {
    check(sys.prlimit(0, resource, null, limit), "prlimit");
    limits.set(limit, resource * 16);
  }
  return limits;
}

/** The body of a request to run `argv`, whose directory is descriptor 0 of the message. */
export function runBody(
  argv: readonly string[],
  options: {
    wait?: boolean;
    flags?: number;
    umask?: number;
    directoryIndex?: number;
    /** Pairs of the number in the job and the index in the message. */
    descriptors?: readonly (readonly [number: number, index: number])[];
    env?: readonly string[];
  } = {},
): Uint8Array {
  const descriptors = options.descriptors ?? [];
  return fields(
    ...runHead(options),
    options.directoryIndex ?? 0,
    descriptors.length,
    ...descriptors.flat(),
    "/",
    ...stringFields(argv),
    ...stringFields(options.env ?? ["PATH=/usr/bin:/bin"]),
  );
}

/** The body of a signal as kill(2) sends it. */
export function signalBody(signal: number, toGroup: boolean): Uint8Array {
  const notQueued = [0, 0, 0];
  return fields(signal, toGroup ? 1 : 0, ...notQueued);
}

/** A daemon's reply, as far as tests look into it. */
export interface Answer {
  readonly type: number;
  readonly major: number;
  /** Of `refused`. */
  readonly code: number;
  readonly reason: string;
  /** Of `accepted`. */
  readonly pid: number;
  /** Of `exited`. */
  readonly waitStatus: number;
  /** Of `pong` and `report`. */
  readonly json: string;
}

/** The numbers of the reasons for a refusal. */
export const refusalCodes = {
  badRequest: 1,
  incompatible: 2,
  forbidden: 3,
  notFound: 4,
  notExecutable: 5,
  noDirectory: 6,
  busy: 7,
  stopping: 8,
  lost: 9,
  failed: 10,
} as const;

function parseAnswer(bytes: Uint8Array): Answer {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const type = view.getUint16(6, true);
  const first = bytes.length >= wire.headerSize + 4 ? view.getUint32(wire.headerSize, true) : 0;
  const textAt = (at: number): string => {
    const size = view.getUint32(wire.headerSize + at, true);
    const start = wire.headerSize + at + 4;
    return new TextDecoder().decode(bytes.subarray(start, start + size));
  };
  return {
    type,
    major: view.getUint16(4, true),
    code: type === wire.refused ? first : 0,
    reason: type === wire.refused ? textAt(8) : "",
    pid: type === wire.accepted ? first : 0,
    waitStatus: type === wire.exited ? first : -1,
    json: type === wire.pong || type === wire.report ? textAt(0) : "",
  };
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}
