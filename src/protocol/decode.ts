/**
 * Bytes to messages: pure, bounded, and total. For any bytes at all the answer is a message or a
 * `ProtocolError`; sizes and counts are checked before anything is allocated for them.
 */
import {
  affinitySizeMax,
  bodyBytesMax,
  jobFdNumberMax,
  kernelFdsMax,
  niceMax,
  niceMin,
  oomScoreAdjMax,
  oomScoreAdjMin,
  resourceLimitCount,
  resourceLimitSize,
  schedAttrSize,
  signalMaskSize,
  signalMax,
  stringsMax,
  termiosSize,
  timeoutMsMax,
} from "../base/limits.ts";
import { countStrings, type StringList } from "../base/strings.ts";
import {
  type DescriptorMapping,
  disconnections,
  flagBodyInMemfd,
  type Header,
  headerSize,
  type JobPolicy,
  type Message,
  magic,
  messageTypes,
  type ProcessAttributes,
  prologueSize,
  protocolMajor,
  refusalCodes,
  runFlags,
  type SignalRequest,
  startStages,
  type TerminalGuard,
  unknownAttribute,
} from "./messages.ts";
import { ProtocolError, Reader } from "./wire.ts";

/** The peer speaks another major version; its number is known, its bodies are not. */
export class IncompatibleError extends ProtocolError {
  readonly major: number;

  constructor(major: number) {
    super(`protocol ${major} is not protocol ${protocolMajor}`);
    this.major = major;
  }
}

/** The name that has this number; a client asks a few times only, which a map would not be worth. */
function nameOf<Name extends string>(
  numbers: Readonly<Record<Name, number>>,
  number: number,
): Name | undefined {
  for (const name in numbers) if (numbers[name] === number) return name;
  return undefined;
}

/**
 * Decodes the header of a datagram that arrived with `fdCount` descriptors.
 * @throws ProtocolError; IncompatibleError when it is ours but of another major version.
 */
export function decodeHeader(datagram: Uint8Array, fdCount: number): Header {
  const reader = new Reader(datagram);
  if (datagram.length < prologueSize)
    throw new ProtocolError("a message is shorter than its header");
  if (reader.u32() !== magic) throw new ProtocolError("not a prefork message");
  const major = reader.u16();
  if (major !== protocolMajor) throw new IncompatibleError(major);
  if (datagram.length < headerSize) throw new ProtocolError("a message is shorter than its header");
  const header: Header = {
    major,
    typeNumber: reader.u16(),
    flags: reader.u32(),
    bodySize: reader.u32(),
    fdCount: reader.u32(),
    id: reader.u32(),
  };
  if (header.bodySize > bodyBytesMax) throw new ProtocolError("the body is too large");
  if (header.fdCount !== fdCount) {
    throw new ProtocolError(`${fdCount} descriptors came where ${header.fdCount} were announced`);
  }
  if (isBodyInMemfd(header)) {
    if (fdCount === 0) throw new ProtocolError("the descriptor with the body is missing");
    if (reader.remaining !== 0) throw new ProtocolError("bytes behind a body that is elsewhere");
  } else if (reader.remaining !== header.bodySize) {
    throw new ProtocolError("the body is not as long as announced");
  }
  return header;
}

/** Whether the body is in the message's first descriptor; the job's follow it. */
export function isBodyInMemfd(header: Header): boolean {
  return (header.flags & flagBodyInMemfd) !== 0;
}

/** The descriptors that belong to the message itself, not to its transport. */
export function passedFdCount(header: Header): number {
  return header.fdCount - (isBodyInMemfd(header) ? 1 : 0);
}

/**
 * Decodes a body. Fields behind those we know are left alone, so that a newer peer of the same
 * major version can send more. The message refers to the memory of `body`; it is not copied.
 */
export function decodeBody(header: Header, body: Uint8Array): Message {
  const type = nameOf(messageTypes, header.typeNumber);
  if (!type) throw new ProtocolError(`unknown message type ${header.typeNumber}`);
  const reader = new Reader(body);
  switch (type) {
    case "run":
      return decodeRun(reader, passedFdCount(header));
    case "signal":
      return decodeSignal(reader);
    case "stopped":
      return { type, signal: reader.u32() };
    case "stop":
      return { type, now: reader.u32() !== 0 };
    case "accepted":
    case "spare":
    case "started":
      return { type, pid: decodePid(reader) };
    case "exited":
      return {
        type,
        waitStatus: reader.u32(),
        userTimeUs: reader.u64(),
        systemTimeUs: reader.u64(),
        residentKiBMax: reader.u64(),
        timedOut: reader.u32() !== 0,
      };
    case "refused": {
      const code = nameOf(refusalCodes, reader.u32()) ?? "failed"; // a newer peer's code
      return { type, code, errno: reader.u32(), reason: reader.text() };
    }
    case "notStarted": {
      const stage = nameOf(startStages, reader.u32());
      if (!stage) throw new ProtocolError("unknown step of a start");
      return { type, stage, errno: reader.u32() };
    }
    case "failed":
      return { type, errno: reader.u32(), reason: reader.text() };
    case "unfit":
      return { type, reason: reader.text() };
    case "pong":
    case "report":
    case "orders":
    case "prepared":
    case "recorded":
      return { type, json: reader.text() };
    case "waiting":
    case "ping":
    case "status":
    case "ready":
    case "fork":
      return { type };
    default:
      return type satisfies never;
  }
}

function decodeRun(reader: Reader, fdCount: number): Message {
  const flags = reader.u32();
  const attributes = decodeAttributes(reader);
  const policy = decodePolicy(reader, (flags & runFlags.killGroup) !== 0);
  const directoryIndex = decodeIndex(reader, fdCount);
  const descriptors = decodeDescriptors(reader, fdCount);
  const controllingTerminal = (flags & runFlags.controllingTerminal) !== 0;
  if (controllingTerminal && !descriptors.some(({ number }) => number === 0)) {
    throw new ProtocolError("there is no descriptor to be the controlling terminal");
  }
  const hasGuard = (flags & runFlags.terminalGuard) !== 0;
  const terminalGuard = hasGuard ? decodeTerminalGuard(reader, fdCount) : undefined;
  const directoryPath = reader.sized();
  const argv = decodeStrings(reader);
  if (argv.count === 0) throw new ProtocolError("there is no command");
  const env = decodeStrings(reader);
  return {
    type: "run",
    wait: (flags & runFlags.wait) !== 0,
    attributes,
    policy,
    warm: (flags & runFlags.warm) !== 0,
    unconfigured: (flags & runFlags.unconfigured) !== 0,
    controllingTerminal,
    terminalGuard,
    directoryIndex,
    directoryPath,
    descriptors,
    argv,
    env,
  };
}

function decodeAttributes(reader: Reader): ProcessAttributes {
  const umask = reader.u32();
  if (umask > 0o777) throw new ProtocolError("the umask is not one");
  const nice = reader.u32() + niceMin;
  if (nice > niceMax) throw new ProtocolError("the nice value is not one");
  const ignoredSignals = reader.bytes(signalMaskSize);
  const blockedSignals = reader.bytes(signalMaskSize);
  const limits = reader.sized();
  if (limits.length !== resourceLimitCount * resourceLimitSize) {
    throw new ProtocolError("the resource limits are not as many as there are resources");
  }
  const oomScoreAdj = decodeOomScoreAdj(reader);
  const coredumpFilter = decodeKnown(reader);
  const personality = decodeKnown(reader);
  const noNewPrivs = reader.u32() !== 0;
  const ioPriority = decodeKnown(reader);
  const timerSlackNs = reader.word64();
  const scheduling = reader.sized();
  if (scheduling.length !== 0 && scheduling.length !== schedAttrSize) {
    throw new ProtocolError("the scheduling attributes have the wrong size");
  }
  const affinity = reader.sized();
  if (affinity.length > affinitySizeMax || affinity.length % 8 !== 0) {
    throw new ProtocolError("the set of CPUs has the wrong size");
  }
  return {
    umask,
    nice,
    ignoredSignals,
    blockedSignals,
    limits,
    oomScoreAdj,
    coredumpFilter,
    personality,
    noNewPrivs,
    ioPriority,
    timerSlackNs,
    scheduling,
    affinity,
  };
}

function decodeKnown(reader: Reader): number | undefined {
  const value = reader.u32();
  return value === unknownAttribute ? undefined : value;
}

function decodeOomScoreAdj(reader: Reader): number | undefined {
  const raised = decodeKnown(reader);
  if (raised === undefined) return undefined;
  const oomScoreAdj = raised + oomScoreAdjMin;
  if (oomScoreAdj > oomScoreAdjMax) throw new ProtocolError("the OOM score is out of range");
  return oomScoreAdj;
}

function decodeSignal(reader: Reader): SignalRequest {
  const signal = reader.u32();
  if (signal < 1 || signal > signalMax) throw new ProtocolError("the signal is out of range");
  const toGroup = reader.u32() !== 0;
  const isQueued = reader.u32() !== 0;
  const value = reader.word64();
  return { type: "signal", signal, toGroup, ...(isQueued ? { value } : {}) };
}

function decodePolicy(reader: Reader, killGroup: boolean): JobPolicy {
  const timeoutMs = reader.u32();
  const killAfterMs = reader.u32();
  if (Math.max(timeoutMs, killAfterMs) > timeoutMsMax) {
    throw new ProtocolError("a time limit is too long");
  }
  const onDisconnect = nameOf(disconnections, reader.u32());
  if (!onDisconnect) throw new ProtocolError("unknown way to treat a job without its client");
  return { timeoutMs, killAfterMs, killGroup, onDisconnect };
}

function decodeTerminalGuard(reader: Reader, fdCount: number): TerminalGuard {
  const index = decodeIndex(reader, fdCount);
  const settings = reader.sized();
  const expected = reader.sized();
  if (settings.length !== termiosSize || (expected.length > 0 && expected.length !== termiosSize)) {
    throw new ProtocolError("the settings of a terminal are not as long as they are");
  }
  return { index, settings, expected };
}

function decodeDescriptors(reader: Reader, fdCount: number): readonly DescriptorMapping[] {
  const count = reader.u32();
  if (count > kernelFdsMax) throw new ProtocolError("too many descriptors");
  const descriptors: DescriptorMapping[] = [];
  const seen = new Set<number>();
  for (let n = 0; n < count; n++) {
    const number = reader.u32();
    if (number > jobFdNumberMax) throw new ProtocolError(`descriptor ${number} is out of range`);
    if (seen.has(number)) throw new ProtocolError(`descriptor ${number} is given twice`);
    seen.add(number);
    descriptors.push({ number, index: decodeIndex(reader, fdCount) });
  }
  return descriptors;
}

function decodeIndex(reader: Reader, fdCount: number): number {
  const index = reader.u32();
  if (index >= fdCount) throw new ProtocolError(`there is no descriptor with the index ${index}`);
  return index;
}

function decodeStrings(reader: Reader): StringList {
  const count = reader.u32();
  if (count > stringsMax) throw new ProtocolError("too many strings");
  const bytes = reader.sized();
  if (bytes.length > 0 && bytes[bytes.length - 1] !== 0) {
    throw new ProtocolError("a string is not terminated");
  }
  if (countStrings(bytes) !== count) {
    throw new ProtocolError("the strings are not as many as announced");
  }
  return { count, bytes };
}

function decodePid(reader: Reader): number {
  const pid = reader.u32();
  if (pid === 0 || pid > 0x7fff_ffff) throw new ProtocolError("not a process number");
  return pid;
}
