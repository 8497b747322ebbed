/** One good request, to be spread: a test names only what it is about. */
import {
  resourceLimitCount,
  resourceLimitSize,
  signalMaskSize,
  termiosSize,
} from "../../src/base/limits.ts";
import {
  type JobPolicy,
  type ProcessAttributes,
  type RunRequest,
  type TerminalGuard,
  unknownAttributes,
} from "../../src/protocol/messages.ts";
import { bytesOf, listOf } from "./arbitraries.ts";

/** No limit at all, soft and hard, of any resource: who runs with less may not take these on. */
export const unlimited: Uint8Array = new Uint8Array(resourceLimitCount * resourceLimitSize).fill(
  0xff,
);

export const noSignals: Uint8Array = new Uint8Array(signalMaskSize);

export const attributes: ProcessAttributes = {
  umask: 0o022,
  nice: 0,
  limits: unlimited,
  ignoredSignals: noSignals,
  blockedSignals: noSignals,
  ...unknownAttributes,
};

/** What a job is under when its caller has asked for nothing. */
export const policy: JobPolicy = {
  timeoutMs: 0,
  killAfterMs: 0,
  killGroup: false,
  onDisconnect: "hangup",
};

/** For a terminal that is the second descriptor of its message. */
export const terminalGuard: TerminalGuard = {
  index: 1,
  settings: new Uint8Array(termiosSize).fill(1),
  expected: new Uint8Array(termiosSize).fill(2),
};

/** `true`, waited for; its directory is the first descriptor, and it has no others. */
export const runRequest: RunRequest = {
  type: "run",
  wait: true,
  attributes,
  policy,
  warm: false,
  unconfigured: false,
  controllingTerminal: false,
  terminalGuard: undefined,
  directoryIndex: 0,
  directoryPath: new Uint8Array(),
  descriptors: [],
  argv: listOf([bytesOf("true")]),
  env: listOf([bytesOf("A=1")]),
};
