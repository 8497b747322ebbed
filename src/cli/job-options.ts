/** What the options of `run` say about the job itself. Texts are latin1, one byte a character. */
import { jobFdNumberMax } from "../base/limits.ts";
import type { JobOptions, PassedDescriptor } from "../client/capture.ts";
import { ClientError } from "../client/errors.ts";
import { type EnvironmentEdits, nameOf } from "../domain/environment.ts";
import type { Disconnection, JobPolicy } from "../protocol/messages.ts";
import { lastValue, parseCount, parseSeconds, type Reading, UsageError } from "./options.ts";

/** What is open in this process. */
export interface OpenDescriptors {
  /** Those of 0, 1 and 2 that are not. */
  readonly closed: ReadonlySet<number>;
  readonly inherited: readonly number[];
}

/** @throws UsageError; ClientError for a descriptor that is not open. */
export function readJobOptions(reading: Reading, open: OpenDescriptors): JobOptions {
  exclude(reading, "no-stdin", "stdin");
  exclude(reading, "no-stdin", "tty");
  const wait = reading.flags.has("wait") || reading.flags.has("tty");
  const named = reading.values.get("fd");
  return {
    wait,
    warm: reading.flags.has("warm"),
    stdin: reading.flags.has("no-stdin") ? "null" : reading.flags.has("stdin") ? "keep" : "default",
    descriptors: named
      ? named.map((text) => parseDescriptor(text, open))
      : wait
        ? underTheirNumbers(open.inherited)
        : [],
    directory: lastValue(reading, "cwd"),
    policy: readPolicy(reading),
  };
}

/** What is to be changed in the environment, if anything. @throws UsageError */
export function readEnvironmentEdits(reading: Reading): EnvironmentEdits | undefined {
  const clear = reading.flags.has("clear-env");
  const unset = reading.values.get("unset") ?? [];
  const set = reading.values.get("env") ?? [];
  if (!clear && unset.length + set.length === 0) return undefined;
  for (const name of unset) {
    if (name !== "" && !name.includes("=")) continue;
    throw new UsageError(`option '--unset' takes the name of a variable, not '${name}'`);
  }
  for (const word of set) {
    if (nameOf(word) !== "") continue;
    throw new UsageError(`option '--env' takes NAME or NAME=VALUE, not '${word}'`);
  }
  return { clear, unset, set };
}

function readPolicy(reading: Reading): JobPolicy {
  const milliseconds = (name: string): number => {
    const text = lastValue(reading, name);
    return text === undefined ? 0 : parseSeconds(name, text);
  };
  const [timeoutMs, killAfterMs] = [milliseconds("timeout"), milliseconds("kill-after")];
  if (killAfterMs > 0 && !reading.values.has("timeout")) {
    throw new UsageError(
      "option '--kill-after' counts from the end of '--timeout', which is missing",
    );
  }
  return {
    timeoutMs,
    killAfterMs,
    killGroup: reading.flags.has("kill-group"),
    // The table of options has checked it.
    onDisconnect: (lastValue(reading, "on-disconnect") ?? "hangup") as Disconnection,
  };
}

function underTheirNumbers(numbers: readonly number[]): PassedDescriptor[] {
  const descriptors: PassedDescriptor[] = [];
  for (const number of numbers) descriptors.push({ own: number, number });
  return descriptors;
}

/** N, or N:M. */
function parseDescriptor(text: string, open: OpenDescriptors): PassedDescriptor {
  const colon = text.indexOf(":");
  const parse = (digits: string): number =>
    parseCount("fd", digits, { min: 0, max: jobFdNumberMax });
  const own = parse(colon < 0 ? text : text.slice(0, colon));
  const number = colon < 0 ? own : parse(text.slice(colon + 1));
  const isOpen = own <= 2 ? !open.closed.has(own) : open.inherited.includes(own);
  if (isOpen) return { own, number };
  throw new ClientError(`cannot pass descriptor ${own}: it is not open (--fd ${text})`);
}

function exclude(reading: Reading, one: string, other: string): void {
  if (!reading.flags.has(one) || !reading.flags.has(other)) return;
  throw new UsageError(`options '--${one}' and '--${other}' exclude each other`);
}
