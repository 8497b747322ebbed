/** Whole messages: arbitrary ones of every type, and how they become a datagram and back. */
import fc from "fast-check";
import {
  affinitySizeMax,
  niceMax,
  niceMin,
  oomScoreAdjMax,
  oomScoreAdjMin,
  resourceLimitCount,
  resourceLimitSize,
  schedAttrSize,
  signalMaskSize,
  signalMax,
  termiosSize,
  timeoutMsMax,
} from "../../src/base/limits.ts";
import { decodeBody, decodeHeader } from "../../src/protocol/decode.ts";
import { encodeBody, encodeHeader } from "../../src/protocol/encode.ts";
import {
  type Disconnection,
  disconnections,
  type Envelope,
  headerSize,
  type JobPolicy,
  type Message,
  type MessageType,
  messageTypes,
  type ProcessAttributes,
  type RefusalCode,
  type RunRequest,
  refusalCodes,
  type StartStage,
  startStages,
  type TerminalGuard,
} from "../../src/protocol/messages.ts";
import { cBytes, listOf } from "./arbitraries.ts";

/** A message, and with how many descriptors it may travel. */
export interface Sendable extends Envelope {
  readonly fdCount: number;
}

export const refusalNames: readonly RefusalCode[] = Object.keys(refusalCodes) as RefusalCode[];
export const disconnectionNames: readonly Disconnection[] = Object.keys(
  disconnections,
) as Disconnection[];
const stageNames: readonly StartStage[] = Object.keys(startStages) as StartStage[];
export const typeNames: readonly MessageType[] = Object.keys(messageTypes) as MessageType[];

const u32: fc.Arbitrary<number> = fc.oneof(
  fc.nat(0xffff_ffff),
  fc.constantFrom(0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff),
);
const count64: fc.Arbitrary<number> = fc.maxSafeNat();
const pid: fc.Arbitrary<number> = fc.integer({ min: 1, max: 0x7fff_ffff });
const text: fc.Arbitrary<string> = fc.oneof(
  { weight: 5, arbitrary: fc.string({ unit: "binary", maxLength: 60 }) },
  // Longer than any buffer that is not made to measure.
  { weight: 1, arbitrary: fc.integer({ min: 200, max: 800 }).map((size) => "long".repeat(size)) },
);

/** 0 is a special one for a job with a terminal of its own. */
const descriptorNumber = fc.oneof(fc.nat(65_535), fc.constantFrom(0, 1, 2, 65_535));
const bytesOfSize = (size: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: size, maxLength: size });

/** All ones say that it is not known. */
const known32 = fc.option(fc.nat(0xffff_fffe), { nil: undefined });
const word64 = fc.oneof(
  fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
  fc.constantFrom(0n, 1n, 0xffff_ffff_ffff_ffffn),
);

const attributes: fc.Arbitrary<ProcessAttributes> = fc.record({
  umask: fc.nat(0o777),
  nice: fc.integer({ min: niceMin, max: niceMax }),
  limits: bytesOfSize(resourceLimitCount * resourceLimitSize),
  ignoredSignals: bytesOfSize(signalMaskSize),
  blockedSignals: bytesOfSize(signalMaskSize),
  oomScoreAdj: fc.option(fc.integer({ min: oomScoreAdjMin, max: oomScoreAdjMax }), {
    nil: undefined,
  }),
  coredumpFilter: known32,
  personality: known32,
  noNewPrivs: fc.boolean(),
  ioPriority: known32,
  timerSlackNs: word64,
  scheduling: fc.oneof(bytesOfSize(schedAttrSize), bytesOfSize(0)),
  affinity: fc.constantFrom(0, 8, 16, 128, affinitySizeMax).chain(bytesOfSize),
});

const milliseconds = fc.oneof(fc.nat(timeoutMsMax), fc.constantFrom(0, 1, timeoutMsMax));
const policy: fc.Arbitrary<JobPolicy> = fc.record({
  timeoutMs: milliseconds,
  killAfterMs: milliseconds,
  killGroup: fc.boolean(),
  onDisconnect: fc.constantFrom(...disconnectionNames),
});

const terminalGuard = (index: fc.Arbitrary<number>): fc.Arbitrary<TerminalGuard> =>
  fc.record({
    index,
    settings: bytesOfSize(termiosSize),
    expected: fc.oneof(bytesOfSize(termiosSize), bytesOfSize(0)),
  });

/** A request with the number of descriptors it was made for. */
const run: fc.Arbitrary<{ message: RunRequest; fdCount: number }> = fc
  .integer({ min: 1, max: 253 })
  .chain((fdCount) => {
    const index = fc.nat(fdCount - 1);
    const message: fc.Arbitrary<RunRequest> = fc.record({
      type: fc.constant("run"),
      wait: fc.boolean(),
      attributes,
      policy,
      warm: fc.boolean(),
      unconfigured: fc.boolean(),
      controllingTerminal: fc.boolean(),
      terminalGuard: fc.option(terminalGuard(index), { nil: undefined }),
      directoryIndex: index,
      directoryPath: fc.uint8Array({ maxLength: 40 }),
      descriptors: fc.uniqueArray(fc.record({ number: descriptorNumber, index }), {
        selector: ({ number }) => number,
        maxLength: 12,
      }),
      argv: fc
        .tuple(cBytes, fc.array(cBytes, { maxLength: 6 }))
        .map(([first, rest]) => listOf([first, ...rest])),
      env: fc.array(cBytes, { maxLength: 8 }).map(listOf),
    });
    return message.map((made) => {
      // Without standard input there is nothing to be the controlling terminal.
      const hasInput = made.descriptors.some(({ number }) => number === 0);
      const controllingTerminal = made.controllingTerminal && hasInput;
      return { message: { ...made, controllingTerminal }, fdCount };
    });
  });

type Bodies = {
  readonly [Type in Exclude<MessageType, "run">]: fc.Arbitrary<Extract<Message, { type: Type }>>;
};
/** Typed so that a message type without a line here does not compile. */
const bodies: Bodies = {
  signal: fc.record(
    {
      type: fc.constant("signal"),
      signal: fc.integer({ min: 1, max: signalMax }),
      toGroup: fc.boolean(),
      value: word64,
    },
    { requiredKeys: ["type", "signal", "toGroup"] },
  ),
  ping: fc.constant({ type: "ping" }),
  status: fc.constant({ type: "status" }),
  stop: fc.record({ type: fc.constant("stop"), now: fc.boolean() }),
  accepted: fc.record({ type: fc.constant("accepted"), pid }),
  exited: fc.record({
    type: fc.constant("exited"),
    waitStatus: u32,
    userTimeUs: count64,
    systemTimeUs: count64,
    residentKiBMax: count64,
    timedOut: fc.boolean(),
  }),
  stopped: fc.record({ type: fc.constant("stopped"), signal: u32 }),
  waiting: fc.record({ type: fc.constant("waiting") }),
  refused: fc.record({
    type: fc.constant("refused"),
    code: fc.constantFrom(...refusalNames),
    errno: u32,
    reason: text,
  }),
  pong: fc.record({ type: fc.constant("pong"), json: text }),
  report: fc.record({ type: fc.constant("report"), json: text }),
  ready: fc.constant({ type: "ready" }),
  fork: fc.constant({ type: "fork" }),
  spare: fc.record({ type: fc.constant("spare"), pid }),
  started: fc.record({ type: fc.constant("started"), pid }),
  notStarted: fc.record({
    type: fc.constant("notStarted"),
    stage: fc.constantFrom(...stageNames),
    errno: u32,
  }),
  orders: fc.record({ type: fc.constant("orders"), json: text }),
  prepared: fc.record({ type: fc.constant("prepared"), json: text }),
  recorded: fc.record({ type: fc.constant("recorded"), json: text }),
  unfit: fc.record({ type: fc.constant("unfit"), reason: text }),
  failed: fc.record({ type: fc.constant("failed"), errno: u32, reason: text }),
};

export function sendableOf(type: MessageType): fc.Arbitrary<Sendable> {
  if (type === "run") return fc.tuple(u32, run).map(([id, made]) => ({ id, ...made }));
  return fc.record({
    id: u32,
    message: bodies[type] as fc.Arbitrary<Message>,
    fdCount: fc.nat(253),
  });
}

export const sendable: fc.Arbitrary<Sendable> = fc.constantFrom(...typeNames).chain(sendableOf);

/** A header in front of a body, as transport/channel.ts puts them together. */
export function join(header: Uint8Array, body: Uint8Array): Uint8Array {
  const datagram = new Uint8Array(header.length + body.length);
  datagram.set(header);
  datagram.set(body, header.length);
  return datagram;
}

/** The datagram of a message, or of another body under its header. */
export function encode(
  { id, message, fdCount }: Sendable,
  body: Uint8Array = encodeBody(message),
): Uint8Array {
  return join(encodeHeader(message, body.length, { id, fdCount, bodyInMemfd: false }), body);
}

/** What a receiver makes of a datagram that came with `fdCount` descriptors. */
export function decode(datagram: Uint8Array, fdCount: number): Envelope {
  const header = decodeHeader(datagram, fdCount);
  return { id: header.id, message: decodeBody(header, datagram.subarray(headerSize)) };
}
