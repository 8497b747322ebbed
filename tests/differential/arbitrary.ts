/** Execution contexts by chance, each odd in a few ways at once. */

import fc from "fast-check";
import { cBytes } from "../helpers/arbitraries.ts";
import { isClientOfBun } from "./client.ts";
import {
  type Act,
  type ByteText,
  type Command,
  type Context,
  type Directory,
  type Ending,
  type Installed,
  type Limit,
  type OpenFlags,
  plain,
  programs,
  type Resource,
  type Thing,
} from "./context.ts";

/** How large arguments and environment of one context get. */
const bigStringSize = 100_000;
const manyStrings = 2000;
/** More than this, and a lowered stack limit does not let the launcher itself start anything. */
const smallStackStringsSize = 30_000;

/** Mostly `usual`, and `odd` in one of so many cases. */
function rarely<Value>(
  oneIn: number,
  usual: fc.Arbitrary<Value>,
  odd: fc.Arbitrary<Value>,
): fc.Arbitrary<Value> {
  return fc.oneof({ weight: oneIn - 1, arbitrary: usual }, { weight: 1, arbitrary: odd });
}

const text: fc.Arbitrary<ByteText> = cBytes.map((bytes) => Buffer.from(bytes).toString("latin1"));

const args: fc.Arbitrary<readonly ByteText[]> = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.array(fc.oneof(text, fc.constantFrom("", "-w", "--", "-c", "--help", "\n")), {
      maxLength: 6,
    }),
  },
  {
    weight: 1,
    arbitrary: fc
      .integer({ min: 100, max: manyStrings })
      .map((count) => Array.from({ length: count }, (_, index) => `${index}`)),
  },
  {
    weight: 1,
    arbitrary: fc.integer({ min: 1000, max: bigStringSize }).map((size) => ["\xff".repeat(size)]),
  },
);

/** Entries that mean something to somebody, or to nobody at all. */
const oddEntries: readonly ByteText[] = [
  "",
  "=",
  "=x",
  "NO_EQUALS_SIGN",
  "A",
  "A=",
  "A=1",
  "A=2",
  "A\n=\n",
  "\xff\xfe=\x80",
  "_=/x",
  "PWD=/nowhere",
  "SHLVL=1",
  "IFS=x",
  "ENV=/nowhere",
  "BASH_ENV=/nowhere",
  "POSIXLY_CORRECT=1",
  "LANG=C.UTF-8",
  "LC_ALL=nowhere",
  "TZ=:x",
  "HOME=",
  "TMPDIR=/nowhere",
  "XDG_RUNTIME_DIR=nowhere",
  "PFD_SOCKET=/nowhere",
  "PFD_PROJECT=x",
  "PATH=/nowhere",
  "BUN_OPTIONS=--smol",
  "BUN_INSTALL=/x",
  "BUN_JSC_useConcurrentGC=0",
  "BUN_DEBUG_QUIET_LOGS=1",
  "BUN_CONFIG_VERBOSE_FETCH=1",
  "BUN_INSPECT_NOTIFY=x",
  "BUN_GARBAGE_COLLECTOR_LEVEL=2",
  "NODE_OPTIONS=--nope",
  "NODE_CHANNEL_FD=3",
  "NODE_ENV=x",
  "NO_COLOR=1",
  "FORCE_COLOR=3",
  "DEBUG=*",
  "GLIBC_TUNABLES=x",
  "LD_BIND_NOW=1",
  "LD_LIBRARY_PATH=/nowhere",
  "MALLOC_ARENA_MAX=1",
  "UV_THREADPOOL_SIZE=1",
];

const environment: fc.Arbitrary<readonly ByteText[]> = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.array(
      fc.oneof(
        text,
        fc.tuple(text, text).map(([name, value]) => `${name}=${value}`),
        fc.constantFrom(...oddEntries),
      ),
      { maxLength: 8 },
    ),
  },
  {
    weight: 1,
    arbitrary: fc
      .integer({ min: 100, max: manyStrings })
      .map((count) => Array.from({ length: count }, (_, index) => `V${index}=${index}`)),
  },
  {
    weight: 1,
    arbitrary: fc
      .integer({ min: 1000, max: bigStringSize })
      .map((size) => [`BIG=${"\n".repeat(size)}`]),
  },
);

/** Those outside the case are such that no core file can be left there. */
const directory: fc.Arbitrary<Directory> = fc.oneof(
  { weight: 6, arbitrary: fc.constant(plain.directory) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom("other", "two words", "line\nbreak", "\xff\xc3", "-", "~", "x".repeat(255))
      .map((name) => ({ kind: "inside", name }) as const),
  },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom("/proc", "/proc/sys", "/dev/pts")
      .map((path) => ({ kind: "outside", path }) as const),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom("deleted", "moved", "linked").map((kind) => ({ kind }) as const),
  },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom(0o111, 0o311, 0o555, 0o1777)
      .map((mode) => ({ kind: "mode", mode }) as const),
  },
  {
    weight: 1,
    arbitrary: fc.integer({ min: 1, max: 20 }).map((levels) => ({ kind: "deep", levels }) as const),
  },
);

const programNames = ["observe", "bin/observe", "other/observe"] as const;

/** A command that has to be looked for, among others that are not it. */
const lookedUp: fc.Arbitrary<Command> = fc.record({
  word: fc.constantFrom(
    "observe",
    "./observe",
    "bin/observe",
    "{case}/bin/observe",
    "{case}/observe",
    "./bin/../other/observe",
    "bin//observe",
    "observe/",
    "bin/observe/.",
    "missing",
    "./missing",
    "bin",
    ".",
    "..",
    "/",
    "{case}/bin/",
    "x".repeat(300),
    `./${"x".repeat(300)}`,
    `${"./".repeat(3000)}observe`,
    "-observe",
    "a=b",
    "\xff",
    "line\nbreak",
    "~",
  ),
  path: rarely<readonly ByteText[] | undefined>(
    8,
    fc.array(
      fc.constantFrom(
        "bin",
        "other",
        "",
        ".",
        "./bin/",
        "missing",
        "{case}/bin",
        "{case}/other",
        "{case}",
        "/usr/bin",
        "{observer}",
        "/dev/null",
        "x".repeat(5000),
        "\xff",
      ),
      { maxLength: 5 },
    ),
    fc.constant(undefined),
  ),
  programs: fc.uniqueArray(
    fc.record({ at: fc.constantFrom(...programNames), program: fc.constantFrom(...programs) }),
    { selector: ({ at }) => at, maxLength: programNames.length },
  ),
});

const command: fc.Arbitrary<Command> = rarely(4, fc.constant(plain.command), lookedUp);

const content: fc.Arbitrary<ByteText> = rarely(
  10,
  text,
  fc
    .integer({ min: 1, max: 5000 })
    .map((size) => "0123456789abcdef".repeat(size / 16 + 1).slice(0, size)),
);
const offset = fc.oneof(
  fc.integer({ min: 0, max: 30 }),
  fc.constantFrom(100_000, 2 ** 31, 2 ** 33),
);
const isNonBlocking = rarely(4, fc.constant(false), fc.constant(true));
const flags: fc.Arbitrary<OpenFlags> = fc.constantFrom(
  "r",
  "w",
  "rw",
  "wa",
  "rwa",
  "rn",
  "wn",
  "rwan",
);

const thing: fc.Arbitrary<Thing> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("file" as const),
      content,
      flags,
      offset,
      isUnlinked: rarely(4, fc.constant(false), fc.constant(true)),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("source" as const),
      content,
      hasWriter: fc.boolean(),
      isNonBlocking,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("sink" as const),
      hasReader: rarely(4, fc.constant(true), fc.constant(false)),
      isNonBlocking,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("socket" as const),
      type: fc.constantFrom("stream", "datagram", "packets"),
      content,
      hasPeer: rarely(4, fc.constant(true), fc.constant(false)),
      isNonBlocking,
    }),
  },
  {
    weight: 3,
    arbitrary: fc
      .constantFrom("line\n", "\n", "two words\n")
      .map((line) => ({ kind: "terminal", line }) as const),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("memory" as const),
      content,
      offset: fc.integer({ min: 0, max: 30 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("fifo" as const), content }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("outside" as const),
      path: fc.constantFrom("/dev/null", "/dev/zero", "/dev/full"),
      flags: fc.constantFrom<OpenFlags>("r", "w", "rw"),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("outside" as const),
      path: fc.constantFrom("/", "/etc/passwd", "/proc/version"),
      flags: fc.constant<OpenFlags>("r"),
    }),
  },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom("directory", "place", "timer", "watcher", "internet", "process")
      .map((kind) => ({ kind }) as const),
  },
);

/** No descriptor has this number, or a higher one. */
const closedNumber = 399;

/** Which thing a descriptor leads to: an index to be wrapped, or none. */
const choice = rarely<number | undefined>(8, fc.nat({ max: 100 }), fc.constant(undefined));
const furtherNumber = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 3, max: 20 }) },
  { weight: 1, arbitrary: fc.integer({ min: 21, max: closedNumber - 1 }) },
);

const descriptorChoices = fc.record({
  standard: fc.tuple(choice, choice, choice),
  further: fc.uniqueArray(fc.tuple(furtherNumber, fc.nat({ max: 100 })), {
    selector: ([number]) => number,
    maxLength: 8,
  }),
});
type DescriptorChoices = typeof descriptorChoices extends fc.Arbitrary<infer Value> ? Value : never;

function installed(
  things: readonly Thing[],
  { standard, further }: DescriptorChoices,
): Installed[] {
  return [...standard.entries(), ...further]
    .filter((pair): pair is [number, number] => pair[1] !== undefined)
    .map(([number, chosen]) => ({ number, thing: chosen % things.length }));
}

/** What only a client that is no Bun program can start under: see known-limits.ts. */
const low = (...values: number[]): number[] => (isClientOfBun ? [] : values);

/** Soft and hard limits to be lowered to. */
const limitValues: Readonly<Record<Resource, readonly number[]>> = {
  CPU: [100, 3600],
  FSIZE: [0, 1, 100, 4096, 1e6],
  DATA: [...low(2 ** 30), 2 ** 36],
  STACK: [...low(2 ** 17), 2 ** 18, 2 ** 20, 2 ** 23],
  CORE: [0, 1, 1e6],
  RSS: [0, 2 ** 30],
  NPROC: [10_000],
  NOFILE: [...low(8, 12), 20, 64, 100, 256, 1024, 4096],
  MEMLOCK: [0, 65_536],
  AS: [...low(2 ** 30), 2 ** 36, 2 ** 40],
  LOCKS: [0, 100],
  SIGPENDING: [0, 10, 1000],
  MSGQUEUE: [0, 4096],
  NICE: [0],
  RTPRIO: [0],
  RTTIME: [1e6, 1e9],
};

const limit: fc.Arbitrary<Limit> = fc
  .constantFrom(...(Object.keys(limitValues) as Resource[]))
  .chain((resource) => {
    const value = fc.constantFrom(...limitValues[resource]);
    return fc
      .tuple(value, value, fc.boolean(), fc.boolean())
      .map(([one, other, isKept, isLow]) => ({
        resource,
        soft: !isLow && resource !== "CPU" ? ("hard" as const) : Math.min(one, other),
        hard: isKept ? ("kept" as const) : Math.max(one, other),
      }));
  });

const limits: fc.Arbitrary<readonly Limit[]> = rarely<readonly Limit[]>(
  3,
  fc.constant([]),
  fc.uniqueArray(limit, { selector: ({ resource }) => resource, maxLength: 4 }),
);

/** KILL and STOP cannot be ignored or blocked; where the client has a libc, that keeps 32 and 33 for itself. */
const kept = isClientOfBun ? [9, 19, 32, 33] : [9, 19];
const maskable = Array.from({ length: 64 }, (_, index) => index + 1).filter(
  (signal) => !kept.includes(signal),
);
/** Bun unblocks SIGPWR in every process that it is, with which its threads stop each other. */
const blockable = maskable.filter((signal) => !(isClientOfBun && signal === 30));
/**
 * Bun ignores SIGPIPE and SIGXFSZ, and handles the others (faults, and again SIGPWR), from before any script runs:
 * whether they were ignored does not show any more.
 */
const changedByBun = [13, 25, 4, 5, 6, 7, 8, 11, 30, 31];
const ignorable = maskable.filter((signal) => !(isClientOfBun && changedByBun.includes(signal)));

const signalsOf = (of: readonly number[]): fc.Arbitrary<readonly number[]> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constant([]) },
    { weight: 3, arbitrary: fc.subarray([...of], { maxLength: 5 }) },
    { weight: 1, arbitrary: fc.subarray([...of]) },
  );

/** Those that stop a process are no end. */
const endingSignals = Array.from({ length: 64 }, (_, index) => index + 1).filter(
  (signal) => ![19, 20, 21, 22].includes(signal),
);

const ending: fc.Arbitrary<Ending> = fc.oneof(
  fc.constant(plain.ending),
  fc.integer({ min: 0, max: 255 }).map((code) => ({ kind: "exit", code }) as const),
  fc.record({
    kind: fc.constant("signal" as const),
    signal: fc.constantFrom(...endingSignals),
    surely: fc.boolean(),
  }),
);

/** Something to be done with a descriptor: the index is wrapped, one in some is a closed number. */
const wishes = fc.array(
  fc.record({
    on: rarely<number | undefined>(10, fc.nat({ max: 100 }), fc.constant(undefined)),
    reads: fc.option(fc.integer({ min: 0, max: 40 }), { freq: 2 }),
    bytes: content,
  }),
  { maxLength: 4 },
);
type Wishes = typeof wishes extends fc.Arbitrary<infer Value> ? Value : never;

/** The acts that fulfil `wishes` without ever waiting for something to read. */
function actsOf(
  things: readonly Thing[],
  descriptors: readonly Installed[],
  wished: Wishes,
): Act[] {
  const left = things.map(readableBytes);
  const acts: Act[] = [];
  for (const { on, reads, bytes } of wished) {
    const target = on === undefined ? undefined : descriptors[on % descriptors.length];
    const number = target?.number ?? closedNumber;
    if (reads === null) {
      acts.push({ kind: "write", number, bytes });
      continue;
    }
    const available = target === undefined ? Number.POSITIVE_INFINITY : (left[target.thing] ?? 0);
    const count = Math.min(reads, available);
    if (count === 0 && reads > 0) continue;
    acts.push({ kind: "read", number, count });
    if (target) left[target.thing] = isOneRead(things[target.thing]) ? 0 : available - count;
  }
  return [...acts, { kind: "make", path: "{case}/made" }];
}

/** How much can be read without waiting. */
function readableBytes(thing: Thing): number {
  switch (thing.kind) {
    case "source":
      return thing.hasWriter ? thing.content.length : Number.POSITIVE_INFINITY;
    case "fifo":
    case "socket":
      return thing.content.length;
    case "terminal":
      return thing.line.length;
    case "timer":
    case "watcher":
    case "internet":
      return 0;
    default:
      return Number.POSITIVE_INFINITY;
  }
}

/** One read takes all there is, however little it asks for. */
function isOneRead(thing: Thing | undefined): boolean {
  return thing?.kind === "terminal" || (thing?.kind === "socket" && thing.type !== "stream");
}

/** Whole contexts. Every part is mostly plain, so that few oddities meet. */
export const contexts: fc.Arbitrary<Context> = fc
  .record({
    command,
    args,
    environment,
    directory,
    things: rarely(5, fc.array(thing, { minLength: 1, maxLength: 6 }), fc.constant(plain.things)),
    choices: descriptorChoices,
    umask: fc.oneof(fc.constant(plain.umask), fc.integer({ min: 0, max: 0o777 })),
    limits,
    niceness: rarely(4, fc.constant(0), fc.integer({ min: 1, max: 19 })),
    ignored: signalsOf(ignorable),
    blocked: signalsOf(blockable),
    wished: wishes,
    ending,
  })
  .map(({ choices, wished, ...drawn }) => {
    const descriptors = installed(drawn.things, choices);
    return {
      ...drawn,
      descriptors,
      acts: actsOf(drawn.things, descriptors, wished),
      limits: startable(drawn),
      ignored: drawn.ignored.filter((signal) => !isHandledAt(signal, drawn.things, descriptors)),
    };
  });

/** A request whose strings take no more travels in a datagram. */
const inlineStringsSize = 60_000;

/** The limits without those with which the strings would not fit any program. */
function startable(context: Pick<Context, "args" | "environment" | "limits">): readonly Limit[] {
  const strings = [...context.args, ...context.environment];
  const size = strings.reduce((sum, one) => sum + one.length + 9, 0);
  return context.limits.filter(
    ({ resource }) =>
      (resource !== "STACK" || size <= smallStackStringsSize) &&
      // What is large travels in a memory file, and a file it is: docs/fidelity.md.
      (resource !== "FSIZE" || size <= inlineStringsSize),
  );
}

/** With a terminal Bun handles these two, as it does faults. */
function isHandledAt(
  signal: number,
  things: readonly Thing[],
  descriptors: readonly Installed[],
): boolean {
  if (!isClientOfBun || (signal !== 2 && signal !== 15)) return false;
  return descriptors.some((one) => one.number <= 2 && things[one.thing]?.kind === "terminal");
}
