/** The report of `bun run bench` as text. Pure. */
import { formatMachine, type MachineFacts, table } from "./measurement.ts";
import { type Figures, isLoadRow, type Memory } from "./results.ts";
import { type Goal, goalCells, shortNumber, verdictOf } from "./statistics.ts";

export interface Settings {
  readonly binary: string;
  /** What `prefork version` says. */
  readonly version: string;
  readonly rounds: number;
  /** Rounds before, which do not count. */
  readonly warmUpRounds: number;
  /** What spawns and takes the times. */
  readonly runner: "C" | "bun:ffi";
  readonly processorTime: "cgroup" | "/proc" | "not counted";
}

export interface Report {
  readonly machine: MachineFacts;
  readonly settings: Settings;
  readonly figures: readonly Figures[];
  readonly memory: Memory;
  readonly goals: readonly Goal[];
  /** What is missing, and what went wrong, a line each. */
  readonly notes: readonly string[];
}

export function formatReport(report: Report): string {
  const { settings, figures, memory, goals, notes } = report;
  const single = figures.filter((row) => !isLoadRow(row));
  const loads = figures.filter(isLoadRow);
  return [
    `${formatMachine(report.machine)}\n`,
    `${settings.version}; ${settings.rounds} rounds; times by ${settings.runner}; processor time: ${settings.processorTime}\n`,
    "\n",
    table([
      ["", "median µs", "p95 µs", "ratio", "p95", "of C", "CPU"],
      ...single.map((row) => [
        row.name,
        shortNumber(row.medianNs / 1000),
        shortNumber(row.p95Ns / 1000),
        shortNumber(row.ratio),
        shortNumber(row.p95Ratio),
        shortNumber(row.ofReference),
        shortNumber(row.processorRatio),
      ]),
    ]),
    "\n",
    table([
      ["throughput", "jobs a second", "ratio", "of C", "CPU", "turns with a failure"],
      ...loads.map((row) => [
        row.name,
        shortNumber(row.jobsPerSecond),
        shortNumber(row.ratio),
        shortNumber(row.ofReference),
        shortNumber(row.processorRatio),
        `${row.failedTurns}`,
      ]),
    ]),
    "\n",
    "ratio, p95: median and 95th percentile of a run, in medians of /bin/true directly under the same conditions\n",
    "of C: of the C reference's median, for throughput of its jobs a second; CPU: processor time of all processes, in that of /bin/true\n",
    "\n",
    formatMemory(memory),
    "\n",
    table([["", "goal", "measured", ""], ...goals.map(goalCells)]),
    `${goals.filter((goal) => verdictOf(goal) === "met").length} of ${goals.length} goals met\n`,
    ...notes.map((note) => `note: ${note}\n`),
  ].join("");
}

/** Everything, for programs. */
export function reportJson(report: Report): string {
  const { goals } = report;
  const judged = goals.map((goal) => ({ ...goal, verdict: verdictOf(goal) }));
  return `${JSON.stringify({ ...report, goals: judged }, null, 2)}\n`;
}

function formatMemory({ client, referenceClient, daemon }: Memory): string {
  const clients = [
    ["pfc -w", client],
    ["C reference", referenceClient],
  ] as const;
  const rows = clients.flatMap(([name, memory]) =>
    memory ? [[`client: ${name}`, "1", `${memory.residentKiB}`, "", `${memory.peakKiB}`]] : [],
  );
  const total = (field: "count" | "rssKiB" | "pssKiB"): string =>
    `${daemon.reduce((sum, group) => sum + group[field], 0)}`;
  return table([
    ["memory in KiB", "processes", "RSS", "PSS", "peak"],
    ...rows,
    ...daemon.map((group) => [
      `at rest: ${group.name}`,
      `${group.count}`,
      `${group.rssKiB}`,
      `${group.pssKiB}`,
      "",
    ]),
    ["at rest: all of the daemon", total("count"), total("rssKiB"), total("pssKiB"), ""],
  ]);
}
