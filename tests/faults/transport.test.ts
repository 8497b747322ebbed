/** Messages whose sending and receiving fail at each step, and messages that are not ones. */
import { expect, test } from "bun:test";
import { openLibc } from "../../ffi/libc.ts";
import { copyOf } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { inlineBodyBytesMax } from "../../src/base/limits.ts";
import { send } from "../../src/os/ancillary.ts";
import { type Fd, isOpen, type RawFd } from "../../src/os/fd.ts";
import { openPipe } from "../../src/os/files.ts";
import { createSealed } from "../../src/os/memfd.ts";
import { socketPair } from "../../src/os/socket.ts";
import { encodeBody, encodeHeader } from "../../src/protocol/encode.ts";
import type { Message, RunRequest } from "../../src/protocol/messages.ts";
import { ProtocolError } from "../../src/protocol/wire.ts";
import { MessageReceiver, sendMessage } from "../../src/transport/channel.ts";
import { explored, must, words } from "../helpers/faults.ts";
import { runRequest, terminalGuard } from "../helpers/requests.ts";

const real = openLibc();

const request: RunRequest = { ...runRequest, descriptors: [{ number: 1, index: 1 }] };

interface Ends extends Disposable {
  readonly ours: RawFd;
  readonly theirs: RawFd;
  /** Two descriptors to send along. */
  readonly fds: readonly [RawFd, RawFd];
}

function openEnds(sys: Sys): Ends {
  using owned = new DisposableStack();
  const { ours, theirs } = socketPair(sys);
  owned.use(ours);
  owned.use(theirs);
  const { readEnd, writeEnd } = openPipe(sys);
  owned.use(readEnd);
  owned.use(writeEnd);
  const kept = owned.move();
  return {
    ours: ours.raw,
    theirs: theirs.raw,
    fds: [readEnd.raw, writeEnd.raw],
    [Symbol.dispose]: () => kept.dispose(),
  };
}

test.each([
  ["in the datagram", words("A=1"), 2],
  ["in a memory file", words(`A=${"x".repeat(inlineBodyBytesMax)}`), 2],
])("a request whose body travels %s", (where, env, fdCount) => {
  const run = (sys: Sys) => {
    using ends = openEnds(sys);
    const sent = sendMessage(sys, ends.ours, { id: 1, message: { ...request, env } }, ends.fds);
    must(sent === "sent", "send");
    const received = new MessageReceiver(sys).receive(ends.theirs);
    must(typeof received !== "string", "receive");
    using owned = received;
    must(owned.message.type === "run" && owned.fds.length === fdCount, "understand");
  };
  const calls = ["sendmsg", "recvmsg", "close"] as const;
  const more =
    where === "in a memory file" ? (["memfd_create", "write", "fcntl", "pread"] as const) : [];
  expect(explored(real, { run }, [...calls, ...more])).toEqual([]);
});

test("descriptors that the receiver takes outlive the message", () => {
  const run = (sys: Sys) => {
    using ends = openEnds(sys);
    must(sendMessage(sys, ends.ours, { id: 1, message: request }, ends.fds) === "sent", "send");
    const received = new MessageReceiver(sys).receive(ends.theirs);
    must(typeof received !== "string", "receive");
    using owned = new DisposableStack();
    const taken: Fd[] = [];
    {
      using message = received;
      for (const fd of message.fds) taken.push(owned.use(fd.move()));
    }
    must(taken.length === 2 && taken.every((fd) => isOpen(real, fd.raw)), "still open");
  };
  expect(explored(real, { run }, ["sendmsg", "recvmsg"])).toEqual([]);
});

/** A message as bytes, with its header's and its body's fields as they are told. */
function datagram(
  message: Message,
  options: { fdCount?: number; bodySize?: number; bodyInMemfd?: boolean; body?: Uint8Array } = {},
): Uint8Array<ArrayBuffer> {
  const { fdCount = 2, bodyInMemfd = false } = options;
  const body = options.body ?? encodeBody(message);
  const fields = { id: 1, fdCount, bodyInMemfd };
  const header = encodeHeader(message, options.bodySize ?? body.length, fields);
  return bodyInMemfd ? header : Buffer.concat([header, body]);
}

/** What comes is refused as no message, or, with a fault, does not come. */
function expectRefused(sys: Sys, socket: RawFd): void {
  try {
    const received = new MessageReceiver(sys).receive(socket);
    must(typeof received !== "string", "receive");
  } catch (error) {
    if (error instanceof ProtocolError) return;
    throw error;
  }
  throw new TypeError("garbage was taken for a message");
}

const garbage: readonly (readonly [string, Uint8Array<ArrayBuffer>])[] = [
  ["bytes that mean nothing", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
  ["one byte", Buffer.from([0])],
  ["no bytes at all", Buffer.from([])],
  ["half a header", datagram({ type: "ping" }).subarray(0, 12)],
  ["more descriptors announced than came", datagram(request, { fdCount: 3 })],
  ["fewer descriptors announced than came", datagram(request, { fdCount: 1 })],
  ["a body that is cut off", datagram(request).subarray(0, -1)],
  [
    "a body shorter than its fields",
    datagram(request, { body: encodeBody(request).subarray(0, 20) }),
  ],
  ["a directory that is not there", datagram({ ...request, directoryIndex: 2 })],
  [
    "a descriptor that is not there",
    datagram({ ...request, descriptors: [{ number: 0, index: 9 }] }),
  ],
  [
    "a terminal to be put in order that is not there",
    datagram({ ...request, terminalGuard: { ...terminalGuard, index: 2 } }),
  ],
  [
    "a terminal of its own without standard input",
    datagram({ ...request, controllingTerminal: true }),
  ],
  ["no command", datagram({ ...request, argv: words() })],
  ["a body in a descriptor that is a pipe", datagram(request, { bodyInMemfd: true })],
  ["a datagram larger than any", new Uint8Array(inlineBodyBytesMax + 1000)],
];

test.each(garbage)("garbage with descriptors: %s", (_, bytes) => {
  const run = (sys: Sys) => {
    using ends = openEnds(sys);
    must(send(sys, ends.ours, copyOf(bytes), ends.fds) === "sent", "send");
    expectRefused(sys, ends.theirs);
  };
  expect(explored(real, { run }, ["sendmsg", "recvmsg", "close"])).toEqual([]);
});

test.each([
  ["is not sealed", (sys: Sys) => openUnsealed(sys), 10],
  ["is shorter than announced", (sys: Sys) => createSealed(sys, new Uint8Array(10)), 11],
  ["holds no message", (sys: Sys) => createSealed(sys, new Uint8Array(10)), 10],
])("a body in a memory file that %s", (_, openBody, bodySize) => {
  const run = (sys: Sys) => {
    using ends = openEnds(sys);
    using body = openBody(sys);
    const bytes = datagram(request, { bodyInMemfd: true, bodySize, fdCount: 3 });
    must(send(sys, ends.ours, copyOf(bytes), [body.raw, ...ends.fds]) === "sent", "send");
    expectRefused(sys, ends.theirs);
  };
  expect(explored(real, { run }, ["memfd_create", "sendmsg", "recvmsg", "fcntl"])).toEqual([]);
});

function openUnsealed(sys: Sys) {
  // What seals a memory file is left out; all else is as in the real one.
  return createSealed(Object.assign(Object.create(sys), { fcntl: () => 0 }), new Uint8Array(10));
}

test("a peer that has left", () => {
  const run = (sys: Sys) => {
    using owned = new DisposableStack();
    const { ours, theirs } = socketPair(sys);
    owned.use(ours);
    theirs[Symbol.dispose]();
    must(
      sendMessage(sys, ours.raw, { id: 1, message: request }, [ours.raw, ours.raw]) === "gone",
      "send",
    );
    must(new MessageReceiver(sys).receive(ours.raw) === "gone", "receive");
  };
  expect(explored(real, { run }, ["sendmsg", "recvmsg", "close"])).toEqual([]);
});
