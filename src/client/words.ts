/**
 * What a client says of its daemon when something is wrong. The head says it in the same words: the build hands these texts to
 * it (build/head/contract.ts). In braces is what differs from case to case.
 */
import { answerTimeoutMs } from "../base/limits.ts";
import { protocolMajor } from "../protocol/messages.ts";

/** Stands for the socket's path, the daemon's number, and the version of the protocol that it speaks. */
export type Blank = "{place}" | "{pid}" | "{theirs}";

const who = "the daemon at {place} (pid {pid})";

export const daemonWords = {
  silent: `${who} has not answered for ${answerTimeoutMs / 1000} s (is it stopped?)`,
  deaf: `cannot send to ${who}: it does not read (is it stopped?)`,
  closed: `${who} closed the connection without an answer`,
  ended: `${who} is gone: the command it ran for us has been ended`,
  alone: `${who} is gone: the command it ran for us goes on alone`,
  incompatible:
    `${who} speaks protocol {theirs} and this client ${protocolMajor}: ` +
    "end it and start one of this version (kill {pid})",
  malformed: `cannot understand ${who}: its answer makes no sense`,
} as const;
