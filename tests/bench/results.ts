/** From samples to figures, goals and tables. Pure. */
import type { ClientMemory, GroupMemory } from "./memory.ts";
import type { Row } from "./rows.ts";
import { type Goal, median, quantile } from "./statistics.ts";

/** What was measured of one row. */
export interface Samples {
  readonly row: Row;
  /** Of each run; none for rows whose runs overlap. */
  readonly timesNs: number[];
  /** Of each turn. */
  readonly turnsNs: number[];
  /** Processor time of each turn: clients, daemon, and all they started. */
  readonly processorUs: number[];
  /** Turns in which a job failed. */
  failedTurns: number;
}

export interface Figures {
  readonly key: string;
  readonly name: string;
  readonly runs: number;
  readonly medianNs: number;
  readonly p95Ns: number;
  /** The median in medians of its unit: a direct spawn of /bin/true under the same conditions. */
  readonly ratio: number;
  readonly p95Ratio: number;
  /** The median in medians of the C reference; for overlapping runs the quotient of the throughputs. */
  readonly ofReference: number | undefined;
  /** Processor time a run, and in that of its unit. */
  readonly processorUs: number | undefined;
  readonly processorRatio: number | undefined;
  /** Only for rows of more than one client, and their like. */
  readonly jobsPerSecond: number | undefined;
  readonly failedTurns: number;
}

export interface Memory {
  readonly client: ClientMemory;
  readonly referenceClient: ClientMemory | undefined;
  readonly daemon: readonly GroupMemory[];
}

export function figuresOf(all: readonly Samples[]): Figures[] {
  const byKey = new Map(all.map((samples) => [samples.row.key, samples]));
  return all.map((samples): Figures => {
    const { row, turnsNs, failedTurns } = samples;
    const unit = byKey.get(row.unit);
    const reference = row.reference === undefined ? undefined : byKey.get(row.reference);
    const isLoad = isLoadRow(row);
    const processorUs = processorOf(samples);
    const unitUs = unit && processorOf(unit);
    const typical = typicalNs(samples);
    const p95Ns = quantile(isLoad ? perRun(samples) : samples.timesNs, 0.95);
    const unitNs = unit ? typicalNs(unit) : Number.NaN;
    const ofReference = reference && typical / typicalNs(reference);
    return {
      key: row.key,
      name: row.name,
      runs: turnsNs.length * row.runs,
      medianNs: typical,
      p95Ns,
      ratio: typical / unitNs,
      p95Ratio: p95Ns / unitNs,
      ofReference: isLoad && ofReference !== undefined ? 1 / ofReference : ofReference,
      processorUs,
      processorRatio: processorUs && unitUs && processorUs / unitUs,
      jobsPerSecond: isLoad ? 1e9 / typical : undefined,
      failedTurns,
    };
  });
}

/** Whether the throughput of a row counts, and not the time of a run. */
export function isLoadRow({ key }: Pick<Row, "key">): boolean {
  return key.startsWith("load");
}

/** The goals of docs/performance.md beside what was measured. */
export function goalsOf(figures: readonly Figures[], { client }: Memory): Goal[] {
  const find = (key: string): Figures | undefined => figures.find((row) => row.key === key);
  const ratio = (what: string, key: string, limit: number): Goal => ({
    what,
    limit,
    is: "at most",
    measured: find(key)?.ratio,
  });
  const version = find("version")?.medianNs ?? Number.NaN;
  const load = (words: string, key: string, limit: number): Goal[] =>
    [16, 64].map((width) => ({
      what: `throughput of ${words}, ${width} clients, of the C reference`,
      limit,
      is: "at least",
      measured: find(`${key}${width}`)?.ofReference,
    }));
  return [
    ratio("pfc -w /bin/true", "wait", 1.7),
    {
      what: "pfc -w /bin/true, of the C reference",
      limit: 1.2,
      is: "at most",
      measured: find("wait")?.ofReference,
    },
    ratio("pfc /bin/true (detached)", "detached", 1.1),
    ratio("pfc -w /bin/true, nice 5", "niceWait", 1.9),
    ratio("pfc -w /bin/true, SIGPIPE ignored", "pipeWait", 1.9),
    ratio("pfc -w /bin/true, hard limit lowered", "filesWait", 1.9),
    ratio("pfc -w add 1 2, one after the other", "sequenceAdd", 1.5),
    {
      what: "its processor time, of /bin/true",
      limit: 5,
      is: "at most",
      measured: find("sequenceAdd")?.processorRatio,
    },
    ...load("pfc -w /bin/true", "loadTrue", 0.75),
    ...load("pfc -w add 1 2", "loadAdd", 0.4),
    {
      what: "client resident",
      limit: 64,
      is: "at most",
      measured: client.residentKiB,
      unit: "KiB",
    },
    {
      what: "prefork version, of the binary without a head",
      limit: 1.03,
      is: "at most",
      measured: version / (find("versionWithoutHead")?.medianNs ?? Number.NaN),
    },
  ];
}

/** Below these, chance decides about a goal. */
const [roundsEnough, spreadUsual] = [20, 2];

/** Why the figures are not to be trusted, a line each. */
export function doubtsAbout(figures: readonly Figures[], rounds: number): string[] {
  const doubts: string[] = [];
  if (rounds < roundsEnough) {
    doubts.push(`${rounds} rounds are few: goals met or missed by less than half mean nothing`);
  }
  const spread = figures.find(({ key }) => key === "direct")?.p95Ratio ?? 1;
  if (spread > spreadUsual) {
    doubts.push(
      `the machine was busy (p95 of /bin/true, directly, is ${spread.toFixed(1)} medians): trust the processor time more than the times`,
    );
  }
  return doubts;
}

/** The median of a run; where runs overlap, of a turn's time divided by its runs. */
function typicalNs(samples: Samples): number {
  return median(isLoadRow(samples.row) ? perRun(samples) : samples.timesNs);
}

function perRun({ row, turnsNs }: Samples): number[] {
  return turnsNs.map((ns) => ns / row.runs);
}

/** The mean: what a daemon does now and then is to count. Nothing where it was not counted. */
function processorOf({ row, processorUs }: Samples): number | undefined {
  if (processorUs.length === 0) return undefined;
  return processorUs.reduce((total, us) => total + us, 0) / (processorUs.length * row.runs);
}
