/** Messages that are refused, row by row, and what of a message is left alone. */
import { describe, expect, test } from "bun:test";
import {
  affinitySizeMax,
  bodyBytesMax,
  resourceLimitCount,
  resourceLimitSize,
  schedAttrSize,
  signalMaskSize,
  signalMax,
  stringsMax,
  termiosSize,
  timeoutMsMax,
} from "../../src/base/limits.ts";
import {
  decodeBody,
  decodeHeader,
  IncompatibleError,
  isBodyInMemfd,
  passedFdCount,
} from "../../src/protocol/decode.ts";
import { encodeBody, encodeHeader } from "../../src/protocol/encode.ts";
import {
  type Disconnection,
  disconnections,
  flagBodyInMemfd,
  type Header,
  type JobPolicy,
  type Message,
  magic,
  messageTypes,
  type ProcessAttributes,
  protocolMajor,
  type RunRequest,
  runFlags,
} from "../../src/protocol/messages.ts";
import { ProtocolError, Writer } from "../../src/protocol/wire.ts";
import { bytesOf, listOf } from "../helpers/arbitraries.ts";
import { join } from "../helpers/messages.ts";
import { attributes, policy, runRequest, terminalGuard } from "../helpers/requests.ts";

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

  test.each([0, 1, protocolMajor + 1, 0xffff])("of the major version %d, by number", (major) => {
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
    const datagram = rawHeader({ major: protocolMajor + 1 }).slice(0, size);
    expect(() => decodeHeader(datagram, fdCount)).toThrow(IncompatibleError);
  });
});

describe("a run request", () => {
  const good: RunRequest = {
    ...runRequest,
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
  const withAttributes = (change: Partial<ProcessAttributes>): RunRequest => ({
    ...good,
    attributes: { ...attributes, ...change },
  });
  const withPolicy = (change: Partial<JobPolicy>): RunRequest => ({
    ...good,
    policy: { ...policy, ...change },
  });
  const guarded: RunRequest = { ...good, terminalGuard };
  const onTerminal: RunRequest = { ...good, controllingTerminal: true };
  const allLimits = new Uint8Array(resourceLimitCount * resourceLimitSize);

  test.each([
    { what: "as it is", request: good },
    { what: "without descriptors", request: { ...good, descriptors: [] } },
    { what: "without an environment", request: { ...good, env: listOf([]) } },
    { what: "with an empty path", request: { ...good, directoryPath: new Uint8Array() } },
    { what: "with a NUL in the path it shows", request: { ...good, directoryPath: bytesOf("\0") } },
    { what: "with the last umask", request: withAttributes({ umask: 0o777 }) },
    { what: "with the best nice value", request: withAttributes({ nice: -20 }) },
    { what: "with the worst nice value", request: withAttributes({ nice: 19 }) },
    { what: "with the least OOM score", request: withAttributes({ oomScoreAdj: -1000 }) },
    { what: "with the greatest OOM score", request: withAttributes({ oomScoreAdj: 1000 }) },
    {
      what: "with all attributes known, and the largest set of CPUs",
      request: withAttributes({
        oomScoreAdj: 0,
        coredumpFilter: 0x33,
        personality: 0x0004_0000,
        noNewPrivs: true,
        ioPriority: 0x4007,
        timerSlackNs: 0xffff_ffff_ffff_ffffn,
        scheduling: new Uint8Array(schedAttrSize).fill(1),
        affinity: new Uint8Array(affinitySizeMax).fill(0xff),
      }),
    },
    { what: "for which nothing is configured", request: { ...good, unconfigured: true } },
    { what: "of an empty command", request: { ...good, argv: listOf([bytesOf("")]) } },
    { what: "with limits of nothing at all", request: withAttributes({ limits: allLimits }) },
    {
      what: "with all signals ignored and blocked",
      request: withAttributes({
        ignoredSignals: new Uint8Array(signalMaskSize).fill(0xff),
        blockedSignals: new Uint8Array(signalMaskSize).fill(0xff),
      }),
    },
    {
      what: "with the longest time limits",
      request: withPolicy({ timeoutMs: timeoutMsMax, killAfterMs: timeoutMsMax }),
    },
    { what: "with a time to kill and none to end", request: withPolicy({ killAfterMs: 1 }) },
    { what: "with a group to kill", request: withPolicy({ killGroup: true }) },
    ...(Object.keys(disconnections) as Disconnection[]).map((onDisconnect) => ({
      what: `to be treated with '${onDisconnect}' without its client`,
      request: withPolicy({ onDisconnect }),
    })),
    { what: "with a terminal to be put in order", request: guarded },
    {
      what: "with a terminal to be put in order whatever it has",
      request: { ...good, terminalGuard: { ...terminalGuard, expected: new Uint8Array() } },
    },
    {
      what: "with a guarded terminal that is also the last of the descriptors",
      request: { ...good, terminalGuard: { ...terminalGuard, index: 3 } },
    },
    { what: "with a terminal of its own", request: onTerminal },
    {
      what: "with a terminal of its own, and one to be put in order",
      request: { ...onTerminal, terminalGuard },
    },
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
    { what: "unknown flags", known: 0, request: { ...good, wait: false } },
    { what: "unknown flags and `wait`", known: runFlags.wait, request: good },
    {
      what: "unknown flags and `unconfigured`",
      known: runFlags.unconfigured,
      request: { ...good, wait: false, unconfigured: true },
    },
    {
      what: "unknown flags and `killGroup`",
      known: runFlags.killGroup,
      request: { ...withPolicy({ killGroup: true }), wait: false },
    },
    {
      what: "unknown flags and `controllingTerminal`",
      known: runFlags.controllingTerminal,
      request: { ...onTerminal, wait: false },
    },
    {
      what: "unknown flags and `terminalGuard`",
      known: runFlags.terminalGuard,
      request: { ...guarded, wait: false },
    },
  ])("leaves $what alone", ({ known, request }) => {
    const body = encodeBody(request);
    const view = new DataView(body.buffer, body.byteOffset);
    expect(view.getUint32(0, true)).toBe(known);
    const allKnown = Object.values(runFlags).reduce((all, flag) => all | flag, 0);
    view.setUint32(0, (~allKnown | known) >>> 0, true);
    expect(decodeRun(body)).toEqual(request);
  });

  test.each([
    { what: "an umask beyond 0777", body: encodeBody(withAttributes({ umask: 0o1000 })) },
    { what: "an umask of all ones", body: encodeBody(withAttributes({ umask: 0xffff_ffff })) },
    { what: "a nice value of 20", body: encodeBody(withAttributes({ nice: 20 })) },
    { what: "a nice value of -21", body: encodeBody(withAttributes({ nice: -21 })) },
    { what: "a nice value of 2^31", body: encodeBody(withAttributes({ nice: 2 ** 31 - 20 })) },
    {
      what: "an OOM score beyond the greatest",
      body: encodeBody(withAttributes({ oomScoreAdj: 1001 })),
    },
    { what: "an OOM score of 2^31", body: encodeBody(withAttributes({ oomScoreAdj: 2 ** 31 })) },
    ...[8, schedAttrSize - 1, schedAttrSize + 1, schedAttrSize + 8].map((size) => ({
      what: `scheduling attributes of ${size} bytes`,
      body: encodeBody(withAttributes({ scheduling: new Uint8Array(size) })),
    })),
    ...[1, 7, 9, affinitySizeMax + 8].map((size) => ({
      what: `a set of CPUs of ${size} bytes`,
      body: encodeBody(withAttributes({ affinity: new Uint8Array(size) })),
    })),
    { what: "no limits", body: encodeBody(withAttributes({ limits: new Uint8Array() })) },
    {
      what: "limits of one resource less",
      body: encodeBody(withAttributes({ limits: allLimits.subarray(resourceLimitSize) })),
    },
    {
      what: "half a limit less",
      body: encodeBody(withAttributes({ limits: allLimits.subarray(resourceLimitSize / 2) })),
    },
    {
      what: "limits of one resource more",
      body: encodeBody(
        withAttributes({ limits: new Uint8Array(allLimits.length + resourceLimitSize) }),
      ),
    },
    {
      what: "a time to end beyond the longest",
      body: encodeBody(withPolicy({ timeoutMs: timeoutMsMax + 1 })),
    },
    {
      what: "a time to kill beyond the longest",
      body: encodeBody(withPolicy({ killAfterMs: timeoutMsMax + 1 })),
    },
    { what: "a time to end of -1", body: encodeBody(withPolicy({ timeoutMs: 0xffff_ffff })) },
    { what: "an unknown way to treat it alone", body: withDisconnection(4) },
    { what: "the way -1 to treat it alone", body: withDisconnection(0xffff_ffff) },
    {
      what: "a terminal of its own and no descriptor 0",
      body: changed({ controllingTerminal: true, descriptors: [{ number: 1, index: 1 }] }),
    },
    {
      what: "a terminal of its own and no descriptors",
      body: changed({ controllingTerminal: true, descriptors: [] }),
    },
    {
      what: "a terminal to be put in order that did not come",
      body: changed({ terminalGuard: { ...terminalGuard, index: 4 } }),
    },
    {
      what: "the terminal -1 to be put in order",
      body: changed({ terminalGuard: { ...terminalGuard, index: 0xffff_ffff } }),
    },
    ...[0, 1, termiosSize - 1, termiosSize + 1].map((size) => ({
      what: `settings of a terminal of ${size} bytes`,
      body: changed({ terminalGuard: { ...terminalGuard, settings: new Uint8Array(size) } }),
    })),
    ...[1, termiosSize - 1, termiosSize + 1].map((size) => ({
      what: `expected settings of a terminal of ${size} bytes`,
      body: changed({ terminalGuard: { ...terminalGuard, expected: new Uint8Array(size) } }),
    })),
    {
      what: "the flag of a terminal to be put in order, and none",
      body: withFlags(encodeBody(good), runFlags.terminalGuard),
    },
    {
      what: "a terminal to be put in order, and no flag of one",
      body: withFlags(encodeBody(guarded), runFlags.wait),
    },
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
    const guard = { ...terminalGuard, index: 3 };
    for (const change of [{ directoryIndex: 3 }, { terminalGuard: guard }]) {
      expect(() => decodeBody(header, changed({ descriptors: [], ...change }))).toThrow(
        "there is no descriptor with the index 3",
      );
    }
  });
});

/** A request whose way to treat the job without its client has this number. */
function withDisconnection(number: number): Uint8Array {
  const at = encodeBody(runRequest).findIndex((_, index, bytes) => {
    // The one field in which these two differ.
    const other = encodeBody({ ...runRequest, policy: { ...policy, onDisconnect: "kill" } });
    return bytes[index] !== other[index];
  });
  const body = encodeBody(runRequest);
  new DataView(body.buffer, body.byteOffset).setUint32(at, number, true);
  return body;
}

function withFlags(body: Uint8Array, flags: number): Uint8Array {
  new DataView(body.buffer, body.byteOffset).setUint32(0, flags, true);
  return body;
}

describe("other messages", () => {
  const headerOf = (type: number): Header => decodeHeader(rawHeader({ type }), fdCount);

  test.each([0, 6, 63, 71, 127, 133, 139, 0xffff])(
    "the unknown type %d is refused by number",
    (type) => {
      expect(() => decodeBody(headerOf(type), new Uint8Array(64))).toThrow(ProtocolError);
      expect(() => decodeBody(headerOf(type), new Uint8Array(64))).toThrow(`${type}`);
    },
  );

  test.each(["accepted", "spare", "started"] as const)(
    "%s is refused with what is no pid",
    (type) => {
      for (const pid of [0, 0x8000_0000, 0xffff_ffff]) {
        const body = new Writer().u32(pid).finish();
        expect(() => decodeBody(headerOf(messageTypes[type]), body)).toThrow(
          "not a process number",
        );
      }
    },
  );

  test("exited is refused with a count that is no safe integer", () => {
    const body = new Uint8Array(32).fill(0xff);
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
    { type: "signal", size: 19 },
    { type: "started", size: 3 },
    { type: "notStarted", size: 7 },
    { type: "stop", size: 0 },
    { type: "accepted", size: 3 },
    { type: "stopped", size: 3 },
    { type: "exited", size: 31 },
    { type: "refused", size: 11 },
    { type: "failed", size: 7 },
    { type: "pong", size: 3 },
    { type: "report", size: 0 },
  ] as const)("$type is refused with a body of $size bytes", ({ type, size }) => {
    const body = new Uint8Array(size);
    expect(() => decodeBody(headerOf(messageTypes[type]), body)).toThrow(ProtocolError);
  });

  test.each([1, 2, 0x8000_0000])(
    "exited is told to have been asked to, for any flag but 0: %d",
    (flag) => {
      const body = new Writer().u32(9).u64(1).u64(2).u64(3).u32(flag).finish();
      expect(decodeBody(headerOf(messageTypes.exited), body)).toEqual({
        type: "exited",
        waitStatus: 9,
        userTimeUs: 1,
        systemTimeUs: 2,
        residentKiBMax: 3,
        timedOut: true,
      });
    },
  );

  test.each([1, 2, 0x8000_0000])("a signal is for the group for any flag but 0: %d", (flag) => {
    const body = new Writer().u32(15, flag, 0).word64(0n).finish();
    const expected: Message = { type: "signal", signal: 15, toGroup: true };
    expect(decodeBody(headerOf(messageTypes.signal), body)).toEqual(expected);
  });

  test.each([1, 2, 0x8000_0000])("a signal is queued for any flag but 0: %d", (flag) => {
    const value = 0xffff_ffff_0000_0001n;
    const body = new Writer().u32(64, 0, flag).word64(value).finish();
    const expected: Message = { type: "signal", signal: 64, toGroup: false, value };
    expect(decodeBody(headerOf(messageTypes.signal), body)).toEqual(expected);
  });

  test.each([0, signalMax + 1, 0xffff_ffff])("there is no signal %d", (signal) => {
    const body = new Writer().u32(signal, 0, 0).word64(0n).finish();
    const header = headerOf(messageTypes.signal);
    expect(() => decodeBody(header, body)).toThrow("the signal is out of range");
  });

  test.each([8, 0xffff_ffff])("a start has no step %d", (stage) => {
    const body = new Writer().u32(stage, 2).finish();
    expect(() => decodeBody(headerOf(messageTypes.notStarted), body)).toThrow("unknown step");
  });

  test.each([1, 2, 0x8000_0000])("stop is at once for any flag but 0: %d", (flag) => {
    const body = new Writer().u32(flag).finish();
    expect(decodeBody(headerOf(messageTypes.stop), body)).toEqual({ type: "stop", now: true });
  });
});
