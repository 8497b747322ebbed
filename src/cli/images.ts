/**
 * The images, as the daemon reports them and as they are shown. What they take of memory is read here:
 * it costs up to some milliseconds a process, for which the daemon's jobs would have to wait.
 */
import type { Sys } from "../../ffi/sys.ts";
import type { Daemon } from "../client/connect.ts";
import type { Report } from "../client/control.ts";
import { printable } from "../domain/configuration.ts";
import type { Exclusion, Guard } from "../domain/warmth.ts";
import { type MemoryUse, memoryUse } from "../os/proc.ts";

/** See ImageStatus of daemon/images.ts, which is not ours to import. */
export interface ReportedImage {
  readonly state: string;
  readonly pid: number;
  readonly spares: number;
  readonly served: number;
  readonly forks: readonly ReportedFork[];
  readonly memory?: MemoryUse | undefined;
}

interface ReportedFork {
  readonly role: "spare" | "job";
  readonly pid: number;
  readonly memory?: MemoryUse | undefined;
}

/** See ScriptReport of daemon/scripts.ts. */
export interface ReportedScript {
  readonly identity: string;
  readonly name: string;
  readonly script: string;
  readonly warm: number;
  readonly cold: number;
  readonly reason?: string;
  readonly quarantined?: string;
  readonly variants: readonly ReportedVariant[];
  readonly orphans: readonly ReportedFork[];
}

export interface ReportedVariant extends ReportedImage {
  readonly modules: number;
  readonly inputs: number;
  readonly excluded: readonly Exclusion[];
  readonly notes: readonly Exclusion[];
  readonly guard?: Guard;
}

/** Whether a script's next run can be warm, and if not why. */
export interface Readiness {
  readonly state: "warm" | "being made" | "quarantined" | "cold" | "missing";
  readonly reason?: string;
}

/** A daemon older than we are reports no forks; one that is older still, no scripts. */
export function baseImageOf(report: Report): ReportedImage {
  const { forks = [], ...image } = report["image"] as ReportedImage;
  return { ...image, forks };
}

export function scriptsOf(report: Report): readonly ReportedScript[] {
  const scripts = (report["images"] ?? []) as readonly ReportedScript[];
  return scripts.map(({ orphans = [], variants, ...script }) => ({
    ...script,
    variants: variants.map(({ forks = [], ...variant }) => ({ ...variant, forks })),
    orphans,
  }));
}

/** Whether the daemon's processes have the same numbers here: it is in our pid namespace. */
export function isBeside(daemon: Daemon, report: Report): boolean {
  return daemon.pid === report["pid"];
}

/** A report of a daemon beside us with the memory of each process in it that is there. */
export function measured(sys: Sys, report: Report): Report {
  const measure = <Process extends { readonly pid: number }>(process: Process): Process => ({
    ...process,
    memory: memoryUse(sys, process.pid),
  });
  const measureImage = <Kind extends ReportedImage>(image: Kind): Kind => ({
    ...measure(image),
    forks: image.forks.map(measure),
  });
  return {
    ...report,
    image: measureImage(baseImageOf(report)),
    images: scriptsOf(report).map((script) => ({
      ...script,
      variants: script.variants.map(measureImage),
      orphans: script.orphans.map(measure),
    })),
  };
}

/** Of a script that the daemon does not know: undefined. */
export function scriptReadiness(script: ReportedScript | undefined): Readiness {
  const { variants = [], quarantined, reason = "not run yet" } = script ?? {};
  const isAny = (wanted: string): boolean => variants.some(({ state }) => state === wanted);
  if (isAny("ready")) return { state: "warm" };
  if (isAny("starting")) return { state: "being made" };
  if (quarantined !== undefined) return { state: "quarantined", reason: quarantined };
  return { state: "cold", reason };
}

/** Of the built-in commands. */
export function baseReadiness({ state }: ReportedImage): Readiness {
  if (state === "ready") return { state: "warm" };
  return state === "starting" ? { state: "being made" } : { state: "cold", reason: "it is down" };
}

export function formatReadiness({ state, reason }: Readiness): string {
  return printable(reason === undefined ? state : `${state}: ${reason}`);
}

/** A script in one line. */
export function summaryOf(script: ReportedScript): string {
  const { name, warm, cold, variants, orphans } = script;
  const forks = [...variants.flatMap((variant) => variant.forks), ...orphans];
  const running = forks.filter(({ role }) => role === "job").length;
  const spares = variants.reduce((count, variant) => count + variant.spares, 0);
  return [
    `${printable(name)}: ${formatReadiness(scriptReadiness(script))}`,
    `images: ${variants.length}, spares: ${spares}`,
    `jobs: ${warm} warm (${running} running), ${cold} cold`,
  ].join("; ");
}

/**
 * The processes of all images and what each takes. The last row is what all take together: shared
 * pages would be counted once for each process there, so their sum is left out.
 */
export function imageTable(report: Report): string {
  const base = baseImageOf(report);
  const scripts = scriptsOf(report);
  const images = [base, ...scripts.flatMap(({ variants }) => variants)];
  const orphans = scripts.flatMap((script) => script.orphans);
  const processes = [...images.flatMap((image) => [image, ...image.forks]), ...orphans];
  const memories = processes.flatMap(({ memory }) => memory ?? []);
  const sum = (sizes: number[]): number | undefined =>
    sizes.length === 0 ? undefined : sizes.reduce((total, size) => total + size);
  const lines = [
    row("", ["pid", "private MB", "shared MB", "PSS MB"]),
    `base: ${base.state}`,
    ...imageRows(base),
    ...scripts.flatMap(scriptRows),
    row("all", [
      "",
      megabytes(sum(memories.map(({ privateKiB }) => privateKiB))),
      "",
      megabytes(sum(memories.map(({ proportionalKiB }) => proportionalKiB))),
    ]),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

function scriptRows(script: ReportedScript): string[] {
  const { variants, orphans } = script;
  const name = printable(script.name);
  const rows = variants.flatMap((variant) => [`${name}: ${variant.state}`, ...imageRows(variant)]);
  if (variants.length === 0) rows.push(`${name}: ${formatReadiness(scriptReadiness(script))}`);
  if (orphans.length > 0) rows.push(`${name}: image let go`, ...orphans.map(forkRow));
  return rows;
}

function imageRows({ pid, memory, forks }: ReportedImage): string[] {
  const rows = forks.map(forkRow);
  return pid === 0 ? rows : [processRow("image", pid, memory), ...rows];
}

function forkRow({ role, pid, memory }: ReportedFork): string {
  return processRow(role, pid, memory);
}

function processRow(role: string, pid: number, memory: MemoryUse | undefined): string {
  const sizes = [memory?.privateKiB, memory?.sharedKiB, memory?.proportionalKiB];
  return row(role, [`${pid}`, ...sizes.map(megabytes)]);
}

function row(role: string, cells: readonly string[]): string {
  return `  ${role.padEnd(5)}${cells.map((cell) => cell.padStart(12)).join("")}`;
}

function megabytes(kibibytes: number | undefined): string {
  return kibibytes === undefined ? "-" : (kibibytes / 1024).toFixed(1);
}
