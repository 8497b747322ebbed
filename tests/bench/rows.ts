/** What `bun run bench` measures: each row is one command under one condition. */
import { join } from "node:path";
import type { Sandbox } from "../helpers/sandbox.ts";
import type { Peer } from "./peers.ts";
import type { BenchPrograms } from "./reference.ts";
import type { Turn } from "./runner.ts";

/** Whose daemon serves it: it is to be at rest before, and its processor time counts. */
export type Server = "prefork" | "reference";

export interface Row extends Turn {
  readonly key: string;
  readonly name: string;
  readonly server?: Server;
  /** It takes its turn in every so many rounds. */
  readonly every: number;
  /** The row that is the unit of its ratio: /bin/true by a direct spawn, under the same conditions. */
  readonly unit: string;
  /** The row of the C reference that it is compared with. */
  readonly reference?: string;
}

export interface RowsFor {
  readonly box: Sandbox;
  /** The reference's, if it could be built. */
  readonly programs: BenchPrograms | undefined;
  readonly peers: readonly Peer[];
  /** The same binary without a head, if there is one. */
  readonly withoutHead: string | undefined;
  /** Whether the runner can set the conditions of a process. */
  readonly hasConditions: boolean;
}

/** How many runs follow each other at once in a row of "one after the other". */
const inSequence = 10;

/** Clients at a time, and the jobs of one turn. */
const loads: readonly { readonly width: number; readonly runs: number }[] = [
  { width: 1, runs: 20 },
  { width: 16, runs: 64 },
  { width: 64, runs: 128 },
];

/** Of the dearer rows there are fewer turns. None of the second is in the rounds that do not count. */
const [sequenceEvery, loadEvery] = [2, 5];

/** Larger than what goes into a message itself: it travels in a memfd. */
const largeVariableBytes = 80 * 1024;

const truePath = "/bin/true";

export function rowsFor({ box, programs, peers, withoutHead, hasConditions }: RowsFor): Row[] {
  const pfc = join(box.bin, "pfc");
  const prefork = join(box.bin, "prefork");
  const once = { env: box.env, runs: 1, width: 1, every: 1, unit: "direct" } as const;
  const rows: Row[] = [
    { ...once, key: "direct", name: "/bin/true, directly", command: [truePath] },
    {
      ...once,
      key: "wait",
      name: "pfc -w /bin/true",
      command: [pfc, "-w", truePath],
      server: "prefork",
      reference: "referenceWait",
    },
    {
      ...once,
      key: "detached",
      name: "pfc /bin/true (detached)",
      command: [pfc, truePath],
      server: "prefork",
      reference: "referenceDetached",
    },
    {
      ...once,
      key: "add",
      name: "pfc -w add 1 2",
      command: [pfc, "-w", "add", "1", "2"],
      server: "prefork",
    },
    {
      ...once,
      key: "ping",
      name: "prefork ping",
      command: [prefork, "ping"],
      server: "prefork",
      reference: "referencePing",
    },
    { ...once, key: "version", name: "prefork version", command: [prefork, "version"] },
  ];
  if (withoutHead !== undefined) {
    const command = [withoutHead, "version"];
    rows.push({ ...once, key: "versionWithoutHead", name: "the same without a head", command });
  }
  if (programs) {
    const { client } = programs;
    const served = { ...once, server: "reference" } as const;
    rows.push(
      {
        ...served,
        key: "referenceWait",
        name: "C reference, -w /bin/true",
        command: [client, "-w", truePath],
      },
      {
        ...served,
        key: "referenceDetached",
        name: "C reference, detached",
        command: [client, truePath],
      },
      { ...served, key: "referencePing", name: "C reference, ping", command: [client, "-p"] },
    );
  }
  if (hasConditions) rows.push(...conditionRows(once, pfc));
  rows.push(...largeRows(once, pfc, programs), ...sequenceRows(once, pfc, programs));
  for (const { key, name, command } of peers) rows.push({ ...once, key, name, command });
  rows.push(...loadRows(once, pfc, programs));
  return rows;
}

type Once = Pick<Row, "env" | "runs" | "width" | "every" | "unit">;

/** The runner sets the condition in the child: there is no `nice` between it and the client. */
function conditionRows(once: Once, pfc: string): Row[] {
  const conditions = [
    { key: "nice", name: "nice 5", set: { nice: 5 } },
    { key: "pipe", name: "SIGPIPE ignored", set: { ignoresPipe: true } },
    { key: "files", name: "hard limit of 512 files", set: { filesMax: 512 } },
  ] as const;
  return conditions.flatMap(({ key, name, set }): Row[] => [
    {
      ...once,
      ...set,
      key: `${key}Direct`,
      name: `/bin/true, directly, ${name}`,
      command: [truePath],
    },
    {
      ...once,
      ...set,
      key: `${key}Wait`,
      name: `pfc -w /bin/true, ${name}`,
      command: [pfc, "-w", truePath],
      server: "prefork",
      unit: `${key}Direct`,
    },
  ]);
}

function largeRows(once: Once, pfc: string, programs: BenchPrograms | undefined): Row[] {
  const env = { ...once.env, LARGE: "x".repeat(largeVariableBytes) };
  const large = { ...once, env, unit: "largeDirect" };
  const rows: Row[] = [
    {
      ...large,
      key: "largeDirect",
      name: "/bin/true, directly, 80 KiB of environment",
      command: [truePath],
      unit: "direct",
    },
    {
      ...large,
      key: "largeWait",
      name: "pfc -w /bin/true, 80 KiB of environment",
      command: [pfc, "-w", truePath],
      server: "prefork",
      reference: "largeReference",
    },
  ];
  if (!programs) return rows;
  return [
    ...rows,
    {
      ...large,
      key: "largeReference",
      name: "C reference, 80 KiB of environment",
      command: [programs.client, "-w", truePath],
      server: "reference",
    },
  ];
}

/** No daemon is at rest between these runs: what it does after a job is in the way of the next. */
function sequenceRows(once: Once, pfc: string, programs: BenchPrograms | undefined): Row[] {
  const sequence = { ...once, runs: inSequence, every: sequenceEvery, unit: "sequenceDirect" };
  const suffix = "one after the other";
  const rows: Row[] = [
    {
      ...sequence,
      key: "sequenceDirect",
      name: `/bin/true, directly, ${suffix}`,
      command: [truePath],
      unit: "direct",
    },
    {
      ...sequence,
      key: "sequenceWait",
      name: `pfc -w /bin/true, ${suffix}`,
      command: [pfc, "-w", truePath],
      server: "prefork",
      reference: "sequenceReference",
    },
    {
      ...sequence,
      key: "sequenceAdd",
      name: `pfc -w add 1 2, ${suffix}`,
      command: [pfc, "-w", "add", "1", "2"],
      server: "prefork",
      reference: "sequenceReference",
    },
  ];
  if (!programs) return rows;
  return [
    ...rows,
    {
      ...sequence,
      key: "sequenceReference",
      name: `C reference, ${suffix}`,
      command: [programs.client, "-w", truePath],
      server: "reference",
    },
  ];
}

function loadRows(once: Once, pfc: string, programs: BenchPrograms | undefined): Row[] {
  return loads.flatMap(({ width, runs }): Row[] => {
    const clients = width === 1 ? "1 client" : `${width} clients`;
    const load = { ...once, runs, width, every: loadEvery, unit: `loadDirect${width}` };
    const rows: Row[] = [
      {
        ...load,
        key: `loadDirect${width}`,
        name: `${clients}, /bin/true directly`,
        command: [truePath],
      },
      {
        ...load,
        key: `loadTrue${width}`,
        name: `${clients}, pfc -w /bin/true`,
        command: [pfc, "-w", truePath],
        server: "prefork",
        reference: `loadReference${width}`,
      },
      {
        ...load,
        key: `loadAdd${width}`,
        name: `${clients}, pfc -w add 1 2`,
        command: [pfc, "-w", "add", "1", "2"],
        server: "prefork",
        reference: `loadReference${width}`,
      },
    ];
    if (!programs) return rows;
    return [
      ...rows,
      {
        ...load,
        key: `loadReference${width}`,
        name: `${clients}, C reference, /bin/true`,
        command: [programs.client, "-w", truePath],
        server: "reference",
      },
    ];
  });
}
