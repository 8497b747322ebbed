import { describe, expect, test } from "bun:test";
import { readEnvironmentEdits, readJobOptions } from "../../src/cli/job-options.ts";
import { readOptions, runOptions, UsageError } from "../../src/cli/options.ts";
import type { JobOptions } from "../../src/client/capture.ts";
import { ClientError } from "../../src/client/errors.ts";
import type { EnvironmentEdits } from "../../src/domain/environment.ts";
import type { JobPolicy } from "../../src/protocol/messages.ts";
import { policy } from "../helpers/requests.ts";

const open = { closed: new Set([1]), inherited: [3, 7, 65_535] };
const plain: JobOptions = {
  wait: false,
  warm: false,
  stdin: "default",
  descriptors: [],
  directory: undefined,
  policy,
};
const all = open.inherited.map((number) => ({ own: number, number }));

const read = (words: readonly string[]): JobOptions =>
  readJobOptions(readOptions(words, runOptions), open);

describe("a job", () => {
  test.each<{ words: string[]; options: Partial<JobOptions> }>([
    { words: [], options: {} },
    { words: ["--wait"], options: { wait: true, descriptors: all } },
    { words: ["-t"], options: { wait: true, descriptors: all } },
    { words: ["-tt"], options: { wait: true, descriptors: all } },
    { words: ["-tw"], options: { wait: true, descriptors: all } },
    { words: ["-n"], options: { stdin: "null" } },
    { words: ["--stdin"], options: { stdin: "keep" } },
    { words: ["--stdin", "--tty"], options: { stdin: "keep", wait: true, descriptors: all } },
    { words: ["--fd", "7"], options: { descriptors: [{ own: 7, number: 7 }] } },
    { words: ["--fd", "7:8"], options: { descriptors: [{ own: 7, number: 8 }] } },
    { words: ["-w", "--fd=3:0"], options: { wait: true, descriptors: [{ own: 3, number: 0 }] } },
    { words: ["--fd=0:65535"], options: { descriptors: [{ own: 0, number: 65_535 }] } },
    { words: ["--fd=65535:007"], options: { descriptors: [{ own: 65_535, number: 7 }] } },
    {
      words: ["--fd=3:4", "--fd=2", "--fd=3:4"],
      options: {
        descriptors: [
          { own: 3, number: 4 },
          { own: 2, number: 2 },
          { own: 3, number: 4 },
        ],
      },
    },
    { words: ["--cwd", "a", "--cwd=/b"], options: { directory: "/b" } },
    { words: ["--cwd="], options: { directory: "" } },
  ])("of $words", ({ words, options }) => {
    expect(read(words)).toEqual({ ...plain, ...options });
  });

  test.each<{ words: string[]; own: Partial<JobPolicy> }>([
    { words: ["--timeout=5"], own: { timeoutMs: 5000 } },
    { words: ["--timeout=0"], own: { timeoutMs: 0 } },
    { words: ["--timeout=5", "--timeout=0.25"], own: { timeoutMs: 250 } },
    { words: ["--timeout=5", "--kill-after=0.5"], own: { timeoutMs: 5000, killAfterMs: 500 } },
    { words: ["--kill-after=2", "--timeout=1"], own: { timeoutMs: 1000, killAfterMs: 2000 } },
    { words: ["--kill-after=0"], own: {} },
    { words: ["--kill-group"], own: { killGroup: true } },
    ...(["hangup", "continue", "term", "kill"] as const).map((onDisconnect) => ({
      words: [`--on-disconnect=${onDisconnect}`],
      own: { onDisconnect },
    })),
  ])("is treated as $words say", ({ words, own }) => {
    expect(read(words)).toEqual({ ...plain, policy: { ...policy, ...own } });
  });

  const number = "option '--fd' is a whole number from 0 to 65535, not";
  test.each([
    { words: ["-n", "--stdin"], message: "options '--no-stdin' and '--stdin' exclude each other" },
    { words: ["-t", "-n"], message: "options '--no-stdin' and '--tty' exclude each other" },
    { words: ["--fd="], message: `${number} ''` },
    { words: ["--fd=a"], message: `${number} 'a'` },
    { words: ["--fd=-1"], message: `${number} '-1'` },
    { words: ["--fd=65536"], message: `${number} '65536'` },
    { words: ["--fd=3:"], message: `${number} ''` },
    { words: ["--fd=:3"], message: `${number} ''` },
    { words: ["--fd=3:65536"], message: `${number} '65536'` },
    { words: ["--fd=3:4:5"], message: `${number} '4:5'` },
    { words: ["--fd=3,4"], message: `${number} '3,4'` },
    { words: ["--fd=3", "--fd=x"], message: `${number} 'x'` },
    { words: ["--timeout=x"], message: "option '--timeout' is a number of seconds" },
    { words: ["--timeout=-1"], message: "not '-1'" },
    { words: ["--timeout="], message: "not ''" },
    { words: ["--timeout=1w"], message: "not '1w'" },
    { words: ["--timeout=1", "--kill-after=x"], message: "option '--kill-after' is a number" },
    { words: ["--kill-after=1"], message: "counts from the end of '--timeout', which is missing" },
  ])("is refused with $words", ({ words, message }) => {
    expect(() => read(words)).toThrow(UsageError);
    expect(() => read(words)).toThrow(message);
  });

  test.each([
    { words: ["--fd=4"], message: "cannot pass descriptor 4: it is not open (--fd 4)" },
    { words: ["--fd=1"], message: "cannot pass descriptor 1: it is not open (--fd 1)" },
    { words: ["-w", "--fd=6:7"], message: "descriptor 6: it is not open (--fd 6:7)" },
  ])("cannot be had with $words", ({ words, message }) => {
    expect(() => read(words)).toThrow(ClientError);
    expect(() => read(words)).toThrow(message);
  });

  test("with one way to be treated without its client that there is not", () => {
    const words = ["--on-disconnect=ignore"];
    expect(() => read(words)).toThrow("is one of hangup, continue, term, kill, not 'ignore'");
  });
});

describe("the environment", () => {
  const readEdits = (words: readonly string[]): EnvironmentEdits | undefined =>
    readEnvironmentEdits(readOptions(words, runOptions));

  test.each<{ words: string[]; edits: Partial<EnvironmentEdits> }>([
    { words: ["--clear-env"], edits: { clear: true } },
    { words: ["--clear-env", "--clear-env"], edits: { clear: true } },
    { words: ["--unset", "A", "--unset=B"], edits: { unset: ["A", "B"] } },
    { words: ["--env", "A=1", "--env=B", "--env=A="], edits: { set: ["A=1", "B", "A="] } },
    { words: ["--env=A=b=c"], edits: { set: ["A=b=c"] } },
    {
      words: ["--env=A=1", "--unset=A", "--clear-env"],
      edits: { clear: true, unset: ["A"], set: ["A=1"] },
    },
  ])("is edited as $words say", ({ words, edits }) => {
    expect(readEdits(words)).toEqual({ clear: false, unset: [], set: [], ...edits });
  });

  test("is left alone when nothing is asked for", () => {
    expect(readEdits(["-w", "--kill-group"])).toBeUndefined();
  });

  test.each([
    { words: ["--unset="], message: "option '--unset' takes the name of a variable, not ''" },
    { words: ["--unset=A=1"], message: "takes the name of a variable, not 'A=1'" },
    { words: ["--unset=A", "--unset=="], message: "takes the name of a variable, not '='" },
    { words: ["--env="], message: "option '--env' takes NAME or NAME=VALUE, not ''" },
    { words: ["--env==1"], message: "option '--env' takes NAME or NAME=VALUE, not '=1'" },
    { words: ["--env=A=1", "--env=="], message: "takes NAME or NAME=VALUE, not '='" },
  ])("is refused with $words", ({ words, message }) => {
    expect(() => readEdits(words)).toThrow(UsageError);
    expect(() => readEdits(words)).toThrow(message);
  });
});
