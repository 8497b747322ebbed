/**
 * Bytes to messages: pure, bounded, and total. For any bytes at all the answer is a message or a
 * `ProtocolError`; sizes and counts are checked before anything is allocated for them.
 */
import { bodyBytesMax, jobFdNumberMax, kernelFdsMax, stringsMax } from "../base/limits.ts";
import { countStrings, type StringList } from "../base/strings.ts";
import {
  type DescriptorMapping,
  flagBodyInMemfd,
  type Header,
  headerSize,
  type Message,
  type MessageType,
  magic,
  messageTypes,
  prologueSize,
  protocolMajor,
  type RefusalCode,
  refusalCodes,
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

const typeByNumber = new Map<number, MessageType>(
  Object.entries(messageTypes).map(([name, number]) => [number, name as MessageType]),
);
const refusalByNumber = new Map<number, RefusalCode>(
  Object.entries(refusalCodes).map(([name, number]) => [number, name as RefusalCode]),
);

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
  const type = typeByNumber.get(header.typeNumber);
  if (!type) throw new ProtocolError(`unknown message type ${header.typeNumber}`);
  const reader = new Reader(body);
  switch (type) {
    case "run":
      return decodeRun(reader, passedFdCount(header));
    case "signal":
      return { type, signal: reader.u32() };
    case "stop":
      return { type, now: reader.u32() !== 0 };
    case "accepted":
    case "spare":
      return { type, pid: decodePid(reader) };
    case "exited":
      return {
        type,
        waitStatus: reader.u32(),
        userTimeUs: reader.u64(),
        systemTimeUs: reader.u64(),
        residentKiBMax: reader.u64(),
      };
    case "refused": {
      const code = refusalByNumber.get(reader.u32()) ?? "failed"; // a newer peer's code
      return { type, code, errno: reader.u32(), reason: reader.text() };
    }
    case "failed":
      return { type, errno: reader.u32(), reason: reader.text() };
    case "pong":
    case "report":
      return { type, json: reader.text() };
    case "ping":
    case "status":
    case "ready":
    case "fork":
    case "started":
      return { type };
    default:
      return type satisfies never;
  }
}

function decodeRun(reader: Reader, fdCount: number): Message {
  const flags = reader.u32();
  const umask = reader.u32();
  if (umask > 0o777) throw new ProtocolError("the umask is not one");
  const directoryIndex = decodeIndex(reader, fdCount);
  const descriptors = decodeDescriptors(reader, fdCount);
  const directoryPath = reader.sized();
  const argv = decodeStrings(reader);
  if (argv.count === 0 || argv.bytes[0] === 0) throw new ProtocolError("the command is empty");
  const env = decodeStrings(reader);
  return {
    type: "run",
    wait: (flags & 1) !== 0,
    umask,
    directoryIndex,
    directoryPath,
    descriptors,
    argv,
    env,
  };
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
