/** Messages to bytes. The counterpart is `decode.ts`. */
import { niceMin, oomScoreAdjMin } from "../base/limits.ts";
import {
  disconnections,
  flagBodyInMemfd,
  headerSize,
  type Message,
  magic,
  messageTypes,
  type ProcessAttributes,
  protocolMajor,
  type RunRequest,
  refusalCodes,
  runFlags,
  startStages,
  unknownAttribute,
} from "./messages.ts";
import { Writer } from "./wire.ts";

/** The body of a message, without its header. */
export function encodeBody(message: Message): Uint8Array<ArrayBuffer> {
  switch (message.type) {
    case "run":
      return encodeRun(message);
    case "signal":
      return new Writer()
        .u32(message.signal, message.toGroup ? 1 : 0, message.value === undefined ? 0 : 1)
        .word64(message.value ?? 0n)
        .finish();
    case "stopped":
      return new Writer().u32(message.signal).finish();
    case "stop":
      return new Writer().u32(message.now ? 1 : 0).finish();
    case "accepted":
    case "spare":
    case "started":
      return new Writer().u32(message.pid).finish();
    case "exited":
      return new Writer()
        .u32(message.waitStatus)
        .u64(message.userTimeUs)
        .u64(message.systemTimeUs)
        .u64(message.residentKiBMax)
        .u32(message.timedOut ? 1 : 0)
        .finish();
    case "refused":
      return new Writer()
        .u32(refusalCodes[message.code])
        .u32(message.errno)
        .text(message.reason)
        .finish();
    case "notStarted":
      return new Writer().u32(startStages[message.stage], message.errno).finish();
    case "failed":
      return new Writer().u32(message.errno).text(message.reason).finish();
    case "unfit":
      return new Writer().text(message.reason).finish();
    case "pong":
    case "report":
    case "orders":
    case "prepared":
    case "recorded":
      return new Writer().text(message.json).finish();
    case "ping":
    case "status":
    case "ready":
    case "fork":
    case "waiting":
      return new Writer(1).finish();
    default:
      return message satisfies never;
  }
}

function encodeRun(message: RunRequest): Uint8Array<ArrayBuffer> {
  const { argv, env, directoryPath, descriptors, attributes, policy, terminalGuard } = message;
  const { length } = attributes.affinity;
  const size = argv.bytes.length + env.bytes.length + directoryPath.length + length;
  const writer = new Writer(size + descriptors.length * 8 + 640).u32(
    (message.wait ? runFlags.wait : 0) |
      (message.controllingTerminal ? runFlags.controllingTerminal : 0) |
      (terminalGuard ? runFlags.terminalGuard : 0) |
      (policy.killGroup ? runFlags.killGroup : 0) |
      (message.warm ? runFlags.warm : 0) |
      (message.unconfigured ? runFlags.unconfigured : 0),
  );
  writeAttributes(writer, attributes)
    .u32(policy.timeoutMs, policy.killAfterMs, disconnections[policy.onDisconnect])
    .u32(message.directoryIndex)
    .u32(descriptors.length);
  for (const { number, index } of descriptors) writer.u32(number, index);
  if (terminalGuard) {
    const { index, settings, expected } = terminalGuard;
    writer.u32(index).sized(settings).sized(expected);
  }
  return writer
    .sized(directoryPath)
    .u32(argv.count)
    .sized(argv.bytes)
    .u32(env.count)
    .sized(env.bytes)
    .finish();
}

function writeAttributes(writer: Writer, attributes: ProcessAttributes): Writer {
  const { oomScoreAdj } = attributes;
  return writer
    .u32(attributes.umask, attributes.nice - niceMin)
    .bytes(attributes.ignoredSignals)
    .bytes(attributes.blockedSignals)
    .sized(attributes.limits)
    .u32(
      oomScoreAdj === undefined ? unknownAttribute : oomScoreAdj - oomScoreAdjMin,
      attributes.coredumpFilter ?? unknownAttribute,
      attributes.personality ?? unknownAttribute,
      attributes.noNewPrivs ? 1 : 0,
      attributes.ioPriority ?? unknownAttribute,
    )
    .word64(attributes.timerSlackNs)
    .sized(attributes.scheduling)
    .sized(attributes.affinity);
}

/** Which job a message is about, how many descriptors go with it, and where its body is. */
export interface HeaderFields {
  readonly id: number;
  readonly fdCount: number;
  readonly bodyInMemfd: boolean;
}

/** The header of `message`, whose body has `bodySize` bytes. */
export function encodeHeader(
  message: Message,
  bodySize: number,
  { id, fdCount, bodyInMemfd }: HeaderFields,
): Uint8Array<ArrayBuffer> {
  return new Writer(headerSize)
    .u32(magic)
    .u16(protocolMajor)
    .u16(messageTypes[message.type])
    .u32(bodyInMemfd ? flagBodyInMemfd : 0, bodySize, fdCount, id)
    .finish();
}
