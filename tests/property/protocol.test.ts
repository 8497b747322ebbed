/** The protocol's codec: what is sent arrives, and what is not a message is refused as such. */
import { heapStats } from "bun:jsc";
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  affinitySizeMax,
  bodyBytesMax,
  niceMax,
  niceMin,
  oomScoreAdjMax,
  oomScoreAdjMin,
  resourceLimitCount,
  resourceLimitSize,
  schedAttrSize,
  signalMaskSize,
  termiosSize,
  timeoutMsMax,
} from "../../src/base/limits.ts";
import { strings } from "../../src/base/strings.ts";
import { decodeBody, decodeHeader, IncompatibleError } from "../../src/protocol/decode.ts";
import { encodeBody, encodeHeader } from "../../src/protocol/encode.ts";
import {
  disconnections,
  type Envelope,
  headerSize,
  type Message,
  messageTypes,
  protocolMajor,
  type RunRequest,
  runFlags,
  startStages,
} from "../../src/protocol/messages.ts";
import { ProtocolError, Reader, Writer } from "../../src/protocol/wire.ts";
import {
  decode,
  disconnectionNames,
  encode,
  join,
  type Sendable,
  sendable,
  sendableOf,
  typeNames,
} from "../helpers/messages.ts";
import { holdsFor } from "../helpers/property.ts";
import { runRequest, terminalGuard } from "../helpers/requests.ts";

const u32Values = fc.oneof(
  fc.nat(0xffff_ffff),
  fc.constantFrom(0, 1, 253, 254, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff),
);

/** One damage to some bytes. Positions are fractions, so that they fit bytes of any size. */
const damage: fc.Arbitrary<(bytes: Uint8Array) => Uint8Array> = fc.oneof(
  fc.tuple(fraction(), fc.nat(7)).map(([where, bit]) => (bytes: Uint8Array) => {
    const copy = Uint8Array.from(bytes);
    const at = place(where, copy.length);
    if (at < copy.length) copy[at] = (copy[at] ?? 0) ^ (1 << bit);
    return copy;
  }),
  fraction().map((where) => (bytes: Uint8Array) => bytes.slice(0, place(where, bytes.length))),
  fraction().map((where) => (bytes: Uint8Array) => bytes.slice(place(where, bytes.length))),
  fc.tuple(fraction(), fraction()).map(([from, to]) => (bytes: Uint8Array) => {
    return join(bytes.slice(0, place(from, bytes.length)), bytes.slice(place(to, bytes.length)));
  }),
  fc
    .tuple(fraction(), fc.uint8Array({ maxLength: 9 }))
    .map(([where, added]) => (bytes: Uint8Array) => {
      const at = place(where, bytes.length);
      return join(join(bytes.slice(0, at), added), bytes.slice(at));
    }),
  fc.tuple(fraction(), u32Values).map(([where, value]) => (bytes: Uint8Array) => {
    const copy = Uint8Array.from(bytes);
    const at = place(where, Math.floor(copy.length / 4)) * 4;
    if (at + 4 <= copy.length) new DataView(copy.buffer).setUint32(at, value, true);
    return copy;
  }),
);
const damages = fc.array(damage, { minLength: 1, maxLength: 4 });

function fraction(): fc.Arbitrary<number> {
  return fc.double({ min: 0, max: 1, noNaN: true });
}

function place(fractionOf: number, size: number): number {
  return Math.min(Math.floor(fractionOf * (size + 1)), size);
}

function damaged(
  bytes: Uint8Array,
  all: readonly ((bytes: Uint8Array) => Uint8Array)[],
): Uint8Array {
  return all.reduce((current, damageIt) => damageIt(current), bytes);
}

/** The message, or the ProtocolError; any other error is thrown on and fails the property. */
function outcome(work: () => Envelope): Envelope | ProtocolError {
  try {
    return work();
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
}

/** A message that was accepted can be relied on: it is within all bounds and can be sent on. */
function expectSound({ id, message }: Envelope, fdCount: number): void {
  if (message.type === "run") expectSoundRequest(message, fdCount);
  expect(decode(encode({ id, message, fdCount }), fdCount)).toEqual({ id, message });
}

function expectSoundRequest(request: RunRequest, fdCount: number): void {
  const { argv, env, descriptors, directoryIndex, attributes, policy, terminalGuard } = request;
  expect([...strings(argv)].length).toBe(argv.count);
  expect([...strings(env)].length).toBe(env.count);
  expect(argv.count).toBeGreaterThan(0);
  expect(attributes.umask).toBeWithin(0, 0o1000);
  expect(attributes.nice).toBeWithin(niceMin, niceMax + 1);
  expect(attributes.limits.length).toBe(resourceLimitCount * resourceLimitSize);
  expect(attributes.ignoredSignals.length).toBe(signalMaskSize);
  expect(attributes.blockedSignals.length).toBe(signalMaskSize);
  expect(attributes.oomScoreAdj ?? 0).toBeWithin(oomScoreAdjMin, oomScoreAdjMax + 1);
  expect(attributes.scheduling.length).toBeOneOf([0, schedAttrSize]);
  expect(attributes.affinity.length % 8).toBe(0);
  expect(attributes.affinity.length).toBeWithin(0, affinitySizeMax + 1);
  expect(policy.timeoutMs).toBeWithin(0, timeoutMsMax + 1);
  expect(policy.killAfterMs).toBeWithin(0, timeoutMsMax + 1);
  expect(disconnectionNames).toContain(policy.onDisconnect);
  const numbers = descriptors.map(({ number }) => number);
  expect(new Set(numbers).size).toBe(numbers.length);
  if (request.controllingTerminal) expect(numbers).toContain(0);
  const indices = [directoryIndex, ...descriptors.map(({ index }) => index)];
  if (terminalGuard) {
    const { index, settings, expected } = terminalGuard;
    indices.push(index);
    expect(settings.length).toBe(termiosSize);
    expect(expected.length).toBeOneOf([0, termiosSize]);
  }
  for (const index of indices) expect(index).toBeWithin(0, fdCount);
}

describe.each(typeNames)("%s", (type) => {
  test("arrives as it was sent", () => {
    holdsFor(sendableOf(type), (sent) => {
      const { id, message } = sent;
      expect(decode(encode(sent), sent.fdCount)).toEqual({ id, message });
    });
  });

  test("arrives as it was sent when its body is elsewhere", () => {
    holdsFor(sendableOf(type), ({ id, message, fdCount }) => {
      const body = encodeBody(message);
      const fields = { id, fdCount: fdCount + 1, bodyInMemfd: true };
      const header = decodeHeader(encodeHeader(message, body.length, fields), fdCount + 1);
      expect(header.bodySize).toBe(body.length);
      expect(decodeBody(header, body)).toEqual(message);
    });
  });

  test("means the same with fields behind those we know", () => {
    holdsFor(fc.tuple(sendableOf(type), fc.uint8Array({ minLength: 1 })), ([sent, more]) => {
      const { id, message } = sent;
      const datagram = encode(sent, join(encodeBody(message), more));
      expect(decode(datagram, sent.fdCount)).toEqual({ id, message });
    });
  });

  test("is understood or refused, however its body is damaged", () => {
    holdsFor(fc.tuple(sendableOf(type), damages), ([sent, all]) => {
      const datagram = encode(sent, damaged(encodeBody(sent.message), all));
      const result = outcome(() => decode(datagram, sent.fdCount));
      if (!(result instanceof ProtocolError)) expectSound(result, sent.fdCount);
    });
  });

  test("is understood or refused with any bytes for a body", () => {
    holdsFor(fc.tuple(sendableOf(type), fc.uint8Array({ maxLength: 80 })), ([sent, body]) => {
      const result = outcome(() => decode(encode(sent, body), sent.fdCount));
      if (!(result instanceof ProtocolError)) expectSound(result, sent.fdCount);
    });
  });

  test("is refused when its body ends too early", () => {
    holdsFor(fc.tuple(sendableOf(type), fraction()), ([sent, where]) => {
      const body = encodeBody(sent.message);
      const cut = body.slice(0, Math.floor(where * body.length));
      if (cut.length === body.length) return; // there is nothing to cut off
      expect(() => decode(encode(sent, cut), sent.fdCount)).toThrow(ProtocolError);
    });
  });
});

test("a datagram is understood or refused, however it is damaged", () => {
  holdsFor(fc.tuple(sendable, damages), ([sent, all]) => {
    const datagram = damaged(encode(sent), all);
    const result = outcome(() => decode(datagram, sent.fdCount));
    if (!(result instanceof ProtocolError)) expectSound(result, sent.fdCount);
  });
});

test("any bytes are refused or understood, whatever came with them", () => {
  holdsFor(fc.tuple(fc.uint8Array({ maxLength: 120 }), fc.nat(300)), ([bytes, fdCount]) => {
    const result = outcome(() => decode(bytes, fdCount));
    expect(result).toBeInstanceOf(ProtocolError); // nobody guesses the magic number
  });
});

test("any bytes behind our magic number and version are refused or understood", () => {
  holdsFor(fc.tuple(sendable, fc.uint8Array({ maxLength: 120 })), ([sent, bytes]) => {
    const datagram = join(encode(sent).subarray(0, 6), bytes);
    const result = outcome(() => decode(datagram, sent.fdCount));
    if (!(result instanceof ProtocolError)) expectSound(result, sent.fdCount);
  });
});

test("a header is refused when other descriptors came than were announced", () => {
  holdsFor(fc.tuple(sendable, fc.nat(255)), ([sent, came]) => {
    if (came === sent.fdCount) return;
    expect(() => decode(encode(sent), came)).toThrow(ProtocolError);
  });
});

test("another major version is incompatible, whatever else the message holds", () => {
  const major = fc.nat(0xffff).filter((number) => number !== protocolMajor);
  holdsFor(fc.tuple(sendable, major, fc.uint8Array({ minLength: 18 }), fc.nat(253)), (drawn) => {
    const [sent, number, rest, came] = drawn;
    const datagram = join(encode(sent).subarray(0, 6), rest);
    new DataView(datagram.buffer).setUint16(4, number, true);
    const result = outcome(() => decode(datagram, came));
    expect(result).toBeInstanceOf(IncompatibleError);
    expect(result).toHaveProperty("major", number);
  });
});

describe("sizes and counts that are lies", () => {
  const request: RunRequest = {
    ...runRequest,
    terminalGuard: { ...terminalGuard, index: 2 },
    directoryPath: Uint8Array.of(47),
    descriptors: [{ number: 1, index: 1 }],
    argv: { count: 1, bytes: Uint8Array.of(97, 0) },
    env: { count: 0, bytes: new Uint8Array() },
  };
  const patient: Sendable = { id: 7, fdCount: 4, message: request };
  const others: readonly Message[] = [
    { type: "refused", code: "failed", errno: 0, reason: "why" },
    { type: "report", json: "{}" },
  ];
  const patients: Sendable[] = [patient, ...others.map((message) => ({ ...patient, message }))];
  const lies = [0xffff_ffff, 0xffff_fffe, 0x8000_0000, 0x7fff_ffff, 0x1000_0000, bodyBytesMax];

  /** Every datagram that differs from a good one in one field of 32 bits. */
  function* liars(): Generator<Uint8Array> {
    for (const sent of patients) {
      const good = encode(sent);
      for (let at = 0; at + 4 <= good.length; at++) {
        for (const lie of lies) {
          const copy = Uint8Array.from(good);
          new DataView(copy.buffer).setUint32(at, lie, true);
          yield copy;
        }
      }
    }
  }

  test("cost neither memory nor time", () => {
    const all = [...liars()];
    expect(all.length).toBeGreaterThan(700);
    Bun.gc(true);
    const sizeBefore = heapStats().heapSize;
    const start = performance.now();
    for (const datagram of all) outcome(() => decode(datagram, patient.fdCount));
    // One allocation of the smallest lie, 8 MiB, would show; JSC counts it when it is made.
    expect(heapStats().heapSize - sizeBefore).toBeLessThan(bodyBytesMax);
    expect(performance.now() - start).toBeLessThan(1000);
  });

  test("a decoded request refers to the datagram and copies nothing", () => {
    holdsFor(sendableOf("run"), (sent) => {
      const datagram = encode(sent);
      const { message } = decode(datagram, sent.fdCount);
      if (message.type !== "run") throw new Error("a request became something else");
      const { argv, env, directoryPath, attributes } = message;
      const { limits, ignoredSignals, blockedSignals, scheduling, affinity } = attributes;
      for (const bytes of [
        ...[argv.bytes, env.bytes, directoryPath],
        ...[limits, ignoredSignals, blockedSignals, scheduling, affinity],
      ]) {
        expect(bytes.buffer).toBe(datagram.buffer);
      }
    });
  });

  test("the largest body, all of it empty strings, is refused within a second", () => {
    const bodyWith = (argvSize: number): Uint8Array => {
      const argv = { count: 1, bytes: new Uint8Array(argvSize).fill(0).fill(97, 0, 1) };
      return encodeBody({ ...request, argv });
    };
    const body = bodyWith(bodyBytesMax - bodyWith(0).length);
    expect(body.length).toBe(bodyBytesMax);
    const header = { ...decodeHeader(encode(patient), 4), bodySize: bodyBytesMax };
    const start = performance.now();
    expect(() => decodeBody(header, body)).toThrow("not as many as announced");
    expect(performance.now() - start).toBeLessThan(1000);
  });
});

describe("the wire", () => {
  type Field =
    | { readonly kind: "u16" | "u32" | "u64"; readonly value: number }
    | { readonly kind: "bytes" | "sized"; readonly value: Uint8Array }
    | { readonly kind: "word64"; readonly value: bigint }
    | { readonly kind: "text"; readonly value: string };
  const field: fc.Arbitrary<Field> = fc.oneof(
    fc.record({ kind: fc.constant("u16"), value: fc.nat(0xffff) }),
    fc.record({ kind: fc.constant("u32"), value: fc.nat(0xffff_ffff) }),
    fc.record({ kind: fc.constant("u64"), value: fc.maxSafeNat() }),
    fc.record({
      kind: fc.constant("word64"),
      value: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
    }),
    fc.record({ kind: fc.constantFrom("bytes", "sized"), value: fc.uint8Array() }),
    fc.record({ kind: fc.constant("text"), value: fc.string({ unit: "binary" }) }),
  );

  function write(writer: Writer, { kind, value }: Field): Writer {
    switch (kind) {
      case "bytes":
      case "sized":
        return writer[kind](value);
      case "text":
        return writer.text(value);
      case "word64":
        return writer.word64(value);
      default:
        return writer[kind](value);
    }
  }

  function read(reader: Reader, { kind, value }: Field): number | bigint | string | Uint8Array {
    return kind === "bytes" ? reader.bytes(value.length) : reader[kind]();
  }

  test("gives back any fields in their order, from a writer of any capacity", () => {
    holdsFor(fc.tuple(fc.array(field), fc.integer({ min: 0, max: 40 })), ([fields, capacity]) => {
      const bytes = fields.reduce(write, new Writer(capacity)).finish();
      const reader = new Reader(bytes);
      expect(fields.map((one) => read(reader, one))).toEqual(fields.map(({ value }) => value));
      expect(reader.remaining).toBe(0);
    });
  });

  test("never reads behind its bytes, also when there is more in their buffer", () => {
    holdsFor(fc.tuple(fc.uint8Array(), fc.nat(40), fc.array(field)), ([bytes, size, fields]) => {
      const part = bytes.subarray(0, Math.min(size, bytes.length));
      const reader = new Reader(part);
      let isOver = false;
      for (const one of fields) {
        const before = reader.remaining;
        try {
          read(reader, one);
          expect(isOver && one.kind !== "bytes").toBe(false);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
          isOver = before === 0;
        }
        expect(reader.remaining).toBeWithin(0, before + 1);
      }
    });
  });
});

test("the types of messages, what a request asks for and the header keep their numbers", () => {
  // What is on the wire: a change here is a change of the protocol's major version.
  expect(messageTypes).toEqual({
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
    ready: 128,
    fork: 129,
    spare: 130,
    started: 131,
    failed: 132,
    orders: 134,
    prepared: 135,
    recorded: 136,
    unfit: 137,
    notStarted: 138,
  });
  expect(protocolMajor).toBe(3);
  expect(disconnections).toEqual({ hangup: 0, continue: 1, term: 2, kill: 3 });
  expect(runFlags).toEqual({
    wait: 1,
    killGroup: 2,
    controllingTerminal: 4,
    terminalGuard: 8,
    warm: 16,
    unconfigured: 32,
  });
  expect(startStages).toEqual({
    process: 0,
    session: 1,
    directory: 2,
    descriptors: 3,
    terminal: 4,
    limits: 5,
    program: 6,
    interpreter: 7,
  });
  expect(headerSize).toBe(24);
});
