/**
 * What `bun run bench:warm` measures with. The commands take turns (A B C A B C …), so that whatever else the
 * machine does meets all of them alike; before one of ours the daemon is idle, so that no command
 * pays for the one before. Times are from before the spawn to after the exit. A goal that is missed
 * is said, and is no failure.
 */
import { existsSync, realpathSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { quantile as quantileOf } from "./statistics.ts";

/** Rounds that do not count: files get into the page cache, branches into the predictor. */
const warmUpRounds = 5;

const root = join(import.meta.dir, "../..");

export interface Contender {
  readonly name: string;
  readonly command: readonly string[];
  /** It needs the daemon, so the daemon is to be idle before. */
  readonly isOurs?: true;
  /** How it ends when all is well; 0 when left out. */
  readonly status?: number;
  /** A file that it reads as its stdin; nothing when left out. */
  readonly input?: string;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly timesMs: number[];
}

export function contender(
  name: string,
  command: readonly string[],
  more: Partial<Contender> = {},
): Contender {
  return { name, command, timesMs: [], ...more };
}

export interface Turns {
  readonly rounds: number;
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Waits until the daemon has nothing to do. */
  readonly untilIdle: () => Promise<void>;
  readonly interrupted: AbortSignal;
}

/**
 * Runs each contender `rounds` times and keeps its times, after some rounds that do not count.
 * @returns the number of all rounds.
 */
export async function takeTurns(
  contenders: readonly Contender[],
  { rounds, env, cwd, untilIdle, interrupted }: Turns,
): Promise<number> {
  const uncounted = Math.min(warmUpRounds, rounds);
  for (let round = -uncounted; round < rounds; round++) {
    for (const one of contenders) {
      interrupted.throwIfAborted();
      if (one.isOurs) await untilIdle();
      const { exitCode, timeMs } = runOnce(one, { env, cwd });
      if (exitCode !== (one.status ?? 0)) throw new Error(`${one.name}: status ${exitCode}`);
      if (round >= 0) one.timesMs.push(timeMs);
    }
    // The job of a client that has left is not to be in the way of the next round.
    await untilIdle();
  }
  return uncounted + rounds;
}

/** Runs a contender as it is measured: it reads its input or nothing, and nobody sees what it says. */
export function runOnce(
  { command, input, env: added }: Contender,
  { env, cwd }: Pick<Turns, "env" | "cwd">,
): { exitCode: number; timeMs: number } {
  const cmd = [...command];
  const stdin = input === undefined ? "ignore" : Bun.file(input);
  const ownEnv = { ...env, ...added };
  const beginMs = performance.now();
  const { exitCode } = Bun.spawnSync({
    cmd,
    env: ownEnv,
    cwd,
    stdio: [stdin, "ignore", "ignore"],
  });
  return { exitCode, timeMs: performance.now() - beginMs };
}

/** The number of rounds on the command line. */
export function roundsWanted(roundsDefault: number): number {
  const rounds = Number(process.argv[2] ?? roundsDefault);
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error("ROUNDS is a number from 1");
  return rounds;
}

/** The real one: `bun run` makes one up, which is Bun itself, where there is none. */
export function findNode(): string | undefined {
  const path = Bun.which("node");
  if (path === null || realpathSync(path) === realpathSync(process.execPath)) return undefined;
  return path;
}

/** The nearest rank: a time that was measured. */
export function quantile({ timesMs }: Contender, part: number): number {
  return quantileOf(timesMs, part);
}

export interface MachineFacts {
  readonly processors: number;
  readonly model: string;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly arch: string;
  readonly bun: string;
  readonly commit: string;
}

export function machineFacts(): MachineFacts {
  const { length: processors, 0: first } = cpus();
  return {
    processors,
    model: first?.model.trim() ?? "unknown",
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    arch: process.arch,
    bun: Bun.version,
    commit: commit(),
  };
}

export function machine(): string {
  return formatMachine(machineFacts());
}

export function formatMachine(facts: MachineFacts): string {
  const { processors, model, memoryGiB, kernel, arch, bun, commit: at } = facts;
  return `${processors} × ${model}, ${memoryGiB} GiB, Linux ${kernel} ${arch}, Bun ${bun}, commit ${at}`;
}

function commit(): string {
  if (!existsSync(join(root, ".git")) || Bun.which("git") === null) return "unknown";
  const git = (...words: string[]): string =>
    Bun.spawnSync(["git", ...words], { cwd: root })
      .stdout.toString()
      .trim();
  const changes = git("status", "--porcelain") === "" ? "" : " with changes";
  return `${git("rev-parse", "--short", "HEAD")}${changes}`;
}

/** Lines of columns: the first one to the left, the numbers to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const format = (text: string, column: number): string => {
    const width = widths[column] ?? 0;
    return column === 0 ? text.padEnd(width) : text.padStart(width);
  };
  return rows.map((row) => `${row.map(format).join("  ").trimEnd()}\n`).join("");
}

export function goal(seen: string, limit: string, isMet: boolean): void {
  say(`${isMet ? "met   " : "missed"}  ${seen}; the goal is at most ${limit}\n`);
}

export function say(text: string): void {
  process.stdout.write(text);
}
