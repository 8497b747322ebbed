/** Messages that are refused, row by row, and what of a message is left alone. */
import { describe, expect, test } from "bun:test";
import { bodyBytesMax, stringsMax } from "../../src/base/limits.ts";
import {
  decodeBody,
  decodeHeader,
  IncompatibleError,
  isBodyInMemfd,
  passedFdCount,
} from "../../src/protocol/decode.ts";
import { encodeBody, encodeHeader } from "../../src/protocol/encode.ts";
import {
  flagBodyInMemfd,
  type Header,
  type Message,
  magic,
  messageTypes,
  protocolMajor,
  type RunRequest,
} from "../../src/protocol/messages.ts";
import { ProtocolError, Writer } from "../../src/protocol/wire.ts";
import { bytesOf, listOf } from "../helpers/arbitraries.ts";
import { join } from "../helpers/messages.ts";

const fdCount = 4;
const ping: Message = { type: "ping" };

interface RawHeader {
  magic: number;
  major: number;
  type: number;
  flags: number;
  bodySize: number;
  fdCount: number;
}

/** A header field by field, so that each can be wrong. */
function rawHeader(changed: Partial<RawHeader> = {}): Uint8Array {
  const all = { magic, major: protocolMajor, type: 3, flags: 0, bodySize: 0, fdCount, ...changed };
  return new Writer(24)
    .u32(all.magic)
    .u16(all.major)
    .u16(all.type)
    .u32(all.flags)
    .u32(all.bodySize)
    .u32(all.fdCount)
    .u32(9)
    .finish();
}

test("a header is what was sent", () => {
  const sent = encodeHeader(ping, 0, { id: 0xffff_ffff, fdCount: 2, bodyInMemfd: true });
  expect(sent.length).toBe(24);
  expect(decodeHeader(sent, 2)).toEqual({
    major: protocolMajor,
    typeNumber: messageTypes.ping,
    flags: flagBodyInMemfd,
    bodySize: 0,
    fdCount: 2,
    id: 0xffff_ffff,
  });
});

test("flags we do not know are left alone", () => {
  const header = decodeHeader(rawHeader({ flags: 0xffff_fffe }), fdCount);
  expect(isBodyInMemfd(header)).toBe(false);
  expect(passedFdCount(header)).toBe(fdCount);
});

test("the descriptor that holds the body is not the job's", () => {
  const header = decodeHeader(rawHeader({ flags: 1, bodySize: bodyBytesMax }), fdCount);
  expect(isBodyInMemfd(header)).toBe(true);
  expect(passedFdCount(header)).toBe(fdCount - 1);
});

describe("a header is refused", () => {
  test.each([
    { what: "without a byte", datagram: new Uint8Array(), because: "shorter than its header" },
    { what: "of 23 bytes", datagram: rawHeader().slice(0, 23), because: "shorter" },
    { what: "of text", datagram: bytesOf("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), because: "not a" },
    { what: "of zeros", datagram: new Uint8Array(24), because: "not a prefork message" },
    { what: "of ones", datagram: new Uint8Array(24).fill(255), because: "not a prefork message" },
    {
      what: "with its magic number the wrong way round",
      datagram: rawHeader({ magic: 0x706664f1 }),
      because: "not a prefork message",
    },
    {
      what: "with a body announced and not there",
      datagram: rawHeader({ bodySize: 1 }),
      because: "not as long as announced",
    },
    {
      what: "with a body not announced",
      datagram: join(rawHeader(), bytesOf("x")),
      because: "not as long as announced",
    },
    {
      what: "with more body than announced",
      datagram: join(rawHeader({ bodySize: 1 }), bytesOf("xy")),
      because: "not as long as announced",
    },
    {
      what: "with the largest body and one byte",
      datagram: rawHeader({ flags: 1, bodySize: bodyBytesMax + 1 }),
      because: "too large",
    },
    {
      what: "with the largest number as its body's size",
      datagram: rawHeader({ flags: 1, bodySize: 0xffff_ffff }),
      because: "too large",
    },
    {
      what: "with one descriptor more announced",
      datagram: rawHeader({ fdCount: 5 }),
      because: "4 descriptors came where 5 were announced",
    },
    {
      what: "with no descriptor announced",
      datagram: rawHeader({ fdCount: 0 }),
      because: "4 descriptors came where 0 were announced",
    },
    {
      what: "with bytes behind a body that is elsewhere",
      datagram: join(rawHeader({ flags: 1 }), bytesOf("x")),
      because: "elsewhere",
    },
  ])("$what", ({ datagram, because }) => {
    expect(() => decodeHeader(datagram, fdCount)).toThrow(ProtocolError);
    expect(() => decodeHeader(datagram, fdCount)).toThrow(because);
  });

  test("whose body is in a descriptor that did not come", () => {
    const header = rawHeader({ flags: 1, fdCount: 0 });
    expect(() => decodeHeader(header, 0)).toThrow("the descriptor with the body is missing");
  });

  test.each([0, 2, 0xffff])("of the major version %d, by number", (major) => {
    const others = { bodySize: 0xffff_ffff, fdCount: 77, type: 999 };
    let error: unknown;
    try {
      decodeHeader(rawHeader({ major, ...others }), fdCount);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(IncompatibleError);
    expect(error).toHaveProperty("major", major);
  });

  // messages.ts: "The first eight bytes of a message never change meaning"; the others may.
  test.each([8, 16, 23])("as incompatible when another version needs only %d bytes", (size) => {
    const datagram = rawHeader({ major: 2 }).slice(0, size);
    expect(() => decodeHeader(datagram, fdCount)).toThrow(IncompatibleError);
  });
});

describe("a run request", () => {
  const good: RunRequest = {
    type: "run",
    wait: true,
    umask: 0o22,
    directoryIndex: 0,
    directoryPath: bytesOf("/tmp"),
    descriptors: [
      { number: 0, index: 1 },
      { number: 65_535, index: 3 },
    ],
    argv: listOf([bytesOf("ls"), bytesOf("")]),
    env: listOf([bytesOf("A=1")]),
  };
  const runHeader: Header = decodeHeader(rawHeader({ type: messageTypes.run }), fdCount);
  const decodeRun = (body: Uint8Array): Message => decodeBody(runHeader, body);
  const changed = (change: Partial<RunRequest>): Uint8Array => encodeBody({ ...good, ...change });

  test.each([
    { what: "as it is", request: good },
    { what: "without descriptors", request: { ...good, descriptors: [] } },
    { what: "without an environment", request: { ...good, env: listOf([]) } },
    { what: "with an empty path", request: { ...good, directoryPath: new Uint8Array() } },
    { what: "with a NUL in the path it shows", request: { ...good, directoryPath: bytesOf("\0") } },
    { what: "with the last umask", request: { ...good, umask: 0o777 } },
    {
      what: "with one descriptor under many numbers",
      request: {
        ...good,
        descriptors: [1, 2, 3].map((number) => ({ number, index: 0 })),
      },
    },
    {
      what: "with empty strings and newlines",
      request: {
        ...good,
        argv: listOf(["a\nb", "", "\n", ""].map(bytesOf)),
        env: listOf(["", "", "=", "\xff"].map(bytesOf)),
      },
    },
  ])("is good $what", ({ request }) => {
    expect(decodeRun(encodeBody(request))).toEqual(request);
  });

  test.each([
    { what: "unknown flags", flags: 0xffff_fffe, wait: false },
    { what: "unknown flags and `wait`", flags: 0xffff_ffff, wait: true },
  ])("leaves $what alone", ({ flags, wait }) => {
    const body = encodeBody(good);
    new DataView(body.buffer, body.byteOffset).setUint32(0, flags, true);
    expect(decodeRun(body)).toEqual({ ...good, wait });
  });

  test.each([
    { what: "an umask beyond 0777", body: changed({ umask: 0o1000 }) },
    { what: "an umask of all ones", body: changed({ umask: 0xffff_ffff }) },
    { what: "a directory that did not come", body: changed({ directoryIndex: 4 }) },
    { what: "the directory -1", body: changed({ directoryIndex: 0xffff_ffff }) },
    {
      what: "a descriptor that did not come",
      body: changed({ descriptors: [{ number: 1, index: 4 }] }),
    },
    {
      what: "a number out of range",
      body: changed({ descriptors: [{ number: 65_536, index: 1 }] }),
    },
    {
      what: "the number -1",
      body: changed({ descriptors: [{ number: 0xffff_ffff, index: 1 }] }),
    },
    {
      what: "a number given twice",
      body: changed({
        descriptors: [
          { number: 1, index: 1 },
          { number: 1, index: 2 },
        ],
      }),
    },
    {
      what: "254 descriptors",
      body: changed({
        descriptors: Array.from({ length: 254 }, (_, number) => ({ number, index: 0 })),
      }),
    },
    { what: "no argv at all", body: changed({ argv: listOf([]) }) },
    { what: "an empty command", body: changed({ argv: listOf([bytesOf("")]) }) },
    {
      what: "an empty command with arguments",
      body: changed({ argv: listOf(["", "a"].map(bytesOf)) }),
    },
    {
      what: "an argv without its last NUL",
      body: changed({ argv: { count: 1, bytes: bytesOf("ls") } }),
    },
    { what: "an argv of one string less", body: changed({ argv: { ...good.argv, count: 3 } }) },
    { what: "an argv of one string more", body: changed({ argv: { ...good.argv, count: 1 } }) },
    {
      what: "an argv of 0 strings with bytes",
      body: changed({ argv: { ...good.argv, count: 0 } }),
    },
    { what: "an env of 0 strings with bytes", body: changed({ env: { ...good.env, count: 0 } }) },
    {
      what: "an env without its last NUL",
      body: changed({ env: { count: 1, bytes: bytesOf("A=1") } }),
    },
    {
      what: "an env of 4 billion strings",
      body: changed({ env: { ...good.env, count: 0xffff_ffff } }),
    },
    { what: "no env", body: encodeBody(good).slice(0, -(4 + 4 + 4)) },
    { what: "nothing", body: new Uint8Array() },
  ])("is refused with $what", ({ body }) => {
    expect(() => decodeRun(body)).toThrow(ProtocolError);
  });

  test("is refused with more strings than the bound, counted before they are looked at", () => {
    const bytes = new Uint8Array(stringsMax + 1).fill(0);
    const tooMany = changed({ env: { count: stringsMax + 1, bytes } });
    expect(() => decodeRun(tooMany)).toThrow("too many strings");
    const most = changed({ env: { count: stringsMax, bytes: bytes.subarray(1) } });
    expect(decodeRun(most)).toMatchObject({ env: { count: stringsMax } });
  });

  test("does not count the body's descriptor among its own", () => {
    const header = decodeHeader(rawHeader({ type: messageTypes.run, flags: 1 }), fdCount);
    expect(() => decodeBody(header, changed({ directoryIndex: 3, descriptors: [] }))).toThrow(
      "there is no descriptor with the index 3",
    );
  });
});

describe("other messages", () => {
  const headerOf = (type: number): Header => decodeHeader(rawHeader({ type }), fdCount);

  test.each([0, 6, 63, 69, 127, 133, 0xffff])(
    "the unknown type %d is refused by number",
    (type) => {
      expect(() => decodeBody(headerOf(type), new Uint8Array(64))).toThrow(ProtocolError);
      expect(() => decodeBody(headerOf(type), new Uint8Array(64))).toThrow(`${type}`);
    },
  );

  test.each(["accepted", "spare"] as const)("%s is refused with what is no pid", (type) => {
    for (const pid of [0, 0x8000_0000, 0xffff_ffff]) {
      const body = new Writer().u32(pid).finish();
      expect(() => decodeBody(headerOf(messageTypes[type]), body)).toThrow("not a process number");
    }
  });

  test("exited is refused with a count that is no safe integer", () => {
    const body = new Uint8Array(28).fill(0xff);
    expect(() => decodeBody(headerOf(messageTypes.exited), body)).toThrow("too large");
  });

  test("refused with the code of a newer peer is a plain failure, with its words", () => {
    const body = new Writer().u32(4711).u32(5).text("a new reason").finish();
    expect(decodeBody(headerOf(messageTypes.refused), body)).toEqual({
      type: "refused",
      code: "failed",
      errno: 5,
      reason: "a new reason",
    });
  });

  test.each([
    { what: "empty", text: "" },
    { what: "long", text: "x".repeat(1000) },
    { what: "of many lines and languages", text: "a\nb\r\n\0é€𝄞" },
    { what: "that begins with a byte order mark", text: "\ufeffreason" },
  ])("a text arrives exactly: $what", ({ text }) => {
    const message: Message = { type: "failed", errno: 1, reason: text };
    expect(decodeBody(headerOf(messageTypes.failed), encodeBody(message))).toEqual(message);
  });

  test("a text that is not UTF-8 is shown as far as it can be", () => {
    const body = new Writer()
      .u32(0)
      .sized(Uint8Array.of(97, 0xff, 98))
      .finish();
    expect(decodeBody(headerOf(messageTypes.failed), body)).toMatchObject({ reason: "a\ufffdb" });
  });

  test.each([
    { type: "signal", size: 3 },
    { type: "stop", size: 0 },
    { type: "accepted", size: 3 },
    { type: "exited", size: 27 },
    { type: "refused", size: 11 },
    { type: "failed", size: 7 },
    { type: "pong", size: 3 },
    { type: "report", size: 0 },
  ] as const)("$type is refused with a body of $size bytes", ({ type, size }) => {
    const body = new Uint8Array(size);
    expect(() => decodeBody(headerOf(messageTypes[type]), body)).toThrow(ProtocolError);
  });

  test.each([1, 2, 0x8000_0000])("stop is at once for any flag but 0: %d", (flag) => {
    const body = new Writer().u32(flag).finish();
    expect(decodeBody(headerOf(messageTypes.stop), body)).toEqual({ type: "stop", now: true });
  });
});
