/**
 * Contexts that are run at every time: what a generated one has found, made small, and what seldom
 * comes by chance. Each is `plain` but for what it says.
 */
import { type Context, plain, type Thing } from "./context.ts";

export interface FixedCase {
  readonly name: string;
  readonly context: Context;
}

const byName: Readonly<Record<string, Partial<Context>>> = {
  "nothing odd": {},
  "no environment, no PATH": { command: { ...plain.command, path: undefined } },
  "strings that are not UTF-8": {
    args: ["\xff", "\xc3", "\xed\xa0\x80", "", "\n"],
    environment: ["\xff=\xfe", "A=\n"],
  },
  "odd entries": { environment: ["", "=", "=x", "NO_EQUALS_SIGN", "A=1", "A=2", "A", "PATH=/"] },
  "a string as long as the kernel takes": { args: ["x".repeat(131_071)] },
  "a message of more than 64 KiB": { args: ["x".repeat(70_000)] },
  "a message of more than 64 KiB and no files to be written": {
    args: ["x".repeat(70_000)],
    limits: [{ resource: "FSIZE", soft: 0, hard: "kept" }],
  },
  "settings of the runtime": {
    environment: ["BUN_OPTIONS=--smol", "BUN_JSC_useConcurrentGC=0", "NODE_OPTIONS=--nope"],
  },
  "a project that cannot be one": { environment: ["PFD_PROJECT=/"] },
  "all standard descriptors closed": { descriptors: [] },
  "stdin closed": { descriptors: plain.descriptors.filter(({ number }) => number !== 0) },
  "one file at its offset for everything": {
    things: [file({ content: "0123456789", flags: "rw", offset: 3 })],
    descriptors: onThing(0, [0, 1, 2, 7]),
    acts: [
      { kind: "read", number: 0, count: 2 },
      { kind: "write", number: 1, bytes: "ab" },
      { kind: "write", number: 2, bytes: "cd" },
      { kind: "read", number: 7, count: 1 },
    ],
  },
  "what is not read stays in the pipe": {
    things: [{ kind: "source", content: "one\ntwo\n", hasWriter: true, isNonBlocking: false }],
    descriptors: onThing(0, [0]),
    acts: [{ kind: "read", number: 0, count: 4 }],
  },
  "a pipe nobody reads": {
    things: [{ kind: "sink", hasReader: false, isNonBlocking: false }],
    descriptors: onThing(0, [1]),
    acts: [{ kind: "write", number: 1, bytes: "x" }],
  },
  "a terminal": {
    things: [{ kind: "terminal", line: "line\n" }],
    descriptors: onThing(0, [0, 1, 2]),
    acts: [
      { kind: "read", number: 0, count: 10 },
      { kind: "write", number: 1, bytes: "out\n" },
    ],
  },
  "every kind of descriptor, with gaps": {
    things: [
      ...plain.things,
      file({ flags: "rwa", content: "x" }),
      file({ isUnlinked: true, content: "x" }),
      { kind: "memory", content: "memory", offset: 3 },
      { kind: "source", content: "x", hasWriter: false, isNonBlocking: true },
      { kind: "sink", hasReader: true, isNonBlocking: true },
      { kind: "fifo", content: "x" },
      { kind: "socket", type: "stream", content: "x", hasPeer: true, isNonBlocking: false },
      { kind: "socket", type: "datagram", content: "x", hasPeer: true, isNonBlocking: false },
      { kind: "socket", type: "packets", content: "x", hasPeer: false, isNonBlocking: true },
      { kind: "terminal", line: "\n" },
      ...(["directory", "place", "timer", "watcher", "internet", "process"] as const).map(
        (kind) => ({ kind }),
      ),
    ],
    descriptors: [
      ...plain.descriptors,
      ...Array.from({ length: 15 }, (_, index) => ({ number: 4 + 3 * index, thing: 3 + index })),
    ],
  },
  "the highest numbers, over the soft limit": {
    descriptors: [...plain.descriptors, ...onThing(0, [100, 255, 399])],
    limits: [{ resource: "NOFILE", soft: 64, hard: "kept" }],
  },
  "a soft limit on descriptors below the daemon's own": {
    limits: [{ resource: "NOFILE", soft: 10, hard: "kept" }],
  },
  "251 descriptors": { descriptors: [...plain.descriptors, ...onThing(0, range(3, 250))] },
  "a deleted directory": { directory: { kind: "deleted" } },
  "a directory whose path is too long": { directory: { kind: "deep", levels: 20 } },
  "every limit at once": {
    limits: [
      { resource: "CPU", soft: 100, hard: 200 },
      { resource: "FSIZE", soft: 1e6, hard: 2e6 },
      { resource: "DATA", soft: 2 ** 36, hard: 2 ** 37 },
      { resource: "STACK", soft: 2 ** 20, hard: 2 ** 22 },
      { resource: "CORE", soft: 0, hard: 1000 },
      { resource: "RSS", soft: 2 ** 30, hard: 2 ** 31 },
      { resource: "NOFILE", soft: 100, hard: 200 },
      { resource: "MEMLOCK", soft: 0, hard: 65_536 },
      { resource: "AS", soft: 2 ** 37, hard: 2 ** 38 },
      { resource: "LOCKS", soft: 10, hard: 20 },
      { resource: "SIGPENDING", soft: 100, hard: 200 },
      { resource: "MSGQUEUE", soft: 0, hard: 4096 },
      { resource: "RTTIME", soft: 1e6, hard: 1e7 },
    ],
  },
  "the lowest nice value": { niceness: 19 },
  "SIGINT and SIGQUIT ignored, as in the background of a script": { ignored: [2, 3] },
  "SIGCHLD ignored": { ignored: [17] },
  "SIGTERM blocked": { blocked: [15], ending: { kind: "signal", signal: 15, surely: false } },
  "SIGUSR1 ignored by the client that is to die of it": {
    ignored: [10],
    blocked: [10],
    ending: { kind: "signal", signal: 10, surely: true },
  },
  ...deaths([32, 33], "libc's signal"),
  "the last signal": { ending: { kind: "signal", signal: 64, surely: true } },
  "a core file": {
    limits: [{ resource: "CORE", soft: "hard", hard: "kept" }],
    ending: { kind: "signal", signal: 6, surely: true },
  },
  "no core file": {
    limits: [{ resource: "CORE", soft: 0, hard: "kept" }],
    ending: { kind: "signal", signal: 6, surely: true },
  },
  "an element of PATH that is too long": {
    command: { ...plain.command, word: "observe", path: ["x".repeat(5000), "bin"] },
  },
  "a name that is too long": {
    command: { ...plain.command, word: "x".repeat(300), path: ["bin", "other"] },
  },
  "a name that is too long, and nowhere to look for it": {
    command: { ...plain.command, word: "x".repeat(300), path: ["missing"] },
  },
  "found behind one that cannot be executed": {
    command: {
      word: "observe",
      path: ["bin", "other"],
      programs: [
        { at: "bin/observe", program: "not-executable" },
        { at: "other/observe", program: "observer" },
      ],
    },
  },
  "found through an empty element of PATH": {
    command: {
      word: "observe",
      path: [""],
      programs: [{ at: "observe", program: "observer" }],
    },
  },
  "a script without #!": {
    command: {
      word: "./observe",
      path: ["/usr/bin"],
      programs: [{ at: "observe", program: "shell-script" }],
    },
    args: ["\xff", ""],
  },
  "a script whose interpreter is missing, ahead of the right one": {
    command: {
      word: "observe",
      path: ["bin", "other"],
      programs: [
        { at: "bin/observe", program: "lost-interpreter" },
        { at: "other/observe", program: "observer" },
      ],
    },
  },
  "a file that is open for writing": {
    command: {
      word: "bin/observe",
      path: undefined,
      programs: [{ at: "bin/observe", program: "busy" }],
    },
  },
  ...deaths(range(1, 31).filter((signal) => ![19, 20, 21, 22].includes(signal))),
  ...Object.fromEntries(
    [1, 2, 124, 125, 126, 127, 128, 129, 137, 255].map((code) => [
      `status ${code}`,
      { ending: { kind: "exit", code } } as const,
    ]),
  ),
};

export const fixedCases: readonly FixedCase[] = Object.entries(byName).map(([name, odd]) => ({
  name,
  context: { ...plain, ...odd },
}));

function deaths(signals: readonly number[], which = "signal"): Record<string, Partial<Context>> {
  const endings = signals.map((signal): [string, Partial<Context>] => [
    `death by ${which} ${signal}`,
    { ending: { kind: "signal", signal, surely: true } },
  ]);
  return Object.fromEntries(endings);
}

function file(fields: Partial<Extract<Thing, { kind: "file" }>>): Thing {
  return { kind: "file", content: "", flags: "r", offset: 0, isUnlinked: false, ...fields };
}

function onThing(thing: number, numbers: readonly number[]): Context["descriptors"] {
  return numbers.map((number) => ({ number, thing }));
}

/** The whole numbers from the first to the last. */
function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
