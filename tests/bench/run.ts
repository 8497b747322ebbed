/**
 * `bun run bench [ROUNDS]`: what a command costs through prefork, next to what it costs directly and
 * what the runtime itself costs, and what the daemon keeps in memory. The commands take turns (A B C
 * A B C …), so that whatever else the machine does meets all of them alike; before each one the
 * daemon is idle with a spare waiting, so that no command pays for the one before. Times are from
 * before the spawn to after the exit. A goal that is missed is said, and is no failure.
 */
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { compile } from "../../build.ts";
import { interruptible } from "../helpers/interruption.ts";
import { childrenOf } from "../helpers/process.ts";
import { binary, Sandbox } from "../helpers/sandbox.ts";

const roundsDefault = 60;
/** Rounds that do not count: files get into the page cache, branches into the predictor. */
const warmUpRounds = 5;

/** What `prefork run` may cost, in starts of an empty compiled Bun program. */
const runGoal = 1.6;
/** Bytes that the daemon and its base image may keep in RAM. */
const memoryGoal = 60e6;

const root = join(import.meta.dir, "../..");

interface Contender {
  readonly name: string;
  readonly command: readonly string[];
  /** It needs the daemon, so the daemon is to be idle before. */
  readonly isOurs?: true;
  readonly timesMs: number[];
}

await interruptible(async (interrupted) => {
  const rounds = Number(process.argv[2] ?? roundsDefault);
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error("ROUNDS is a number from 1");
  const empty = await compile("tests/bench/empty.ts", "empty");
  await using box = new Sandbox();
  await box.serveWarm();
  const { env, work: cwd } = box;

  const direct = contender("/bin/true, directly", ["/bin/true"]);
  const program = ours("prefork run -w /bin/true", ["-w", "/bin/true"]);
  const add = ours("prefork run -w add 1 2", ["-w", "add", "1", "2"]);
  const detached = ours("prefork run /bin/true", ["/bin/true"]);
  const runtime = contender("empty compiled Bun program", [empty]);
  const contenders = [direct, program, add, detached, runtime];
  const node = findNode();
  if (node !== undefined) contenders.push(contender("node -e 0", [node, "-e", "0"]));

  const before = await memoryNow(box);
  for (let round = -warmUpRounds; round < rounds; round++) {
    for (const { name, command, isOurs, timesMs } of contenders) {
      interrupted.throwIfAborted();
      if (isOurs) await untilIdle(box);
      const cmd = [...command];
      const beginMs = performance.now();
      const { exitCode } = Bun.spawnSync({ cmd, env, cwd, stdio: ["ignore", "ignore", "ignore"] });
      const timeMs = performance.now() - beginMs;
      if (exitCode !== 0) throw new Error(`${name}: status ${exitCode}`);
      if (round >= 0) timesMs.push(timeMs);
    }
    // The job of a client that has left is not to be in the way of the next round.
    await untilIdle(box);
  }

  say(`${machine()}\n${rounds} rounds\n\n`);
  const unit = quantile(runtime, 0.5);
  const rows = contenders.map((one) => [
    one.name,
    quantile(one, 0.5).toFixed(2),
    quantile(one, 0.99).toFixed(2),
    (quantile(one, 0.5) / unit).toFixed(2),
  ]);
  say(table([["", "median ms", "p99 ms", "ratio"], ...rows]));
  const after = await memoryNow(box);
  say("\n");
  say(
    table([
      ["", "RSS MB at first", "PSS", "RSS MB after the rounds", "PSS"],
      ...after.map(([name, { rss, pss }], row): string[] => {
        const first = before[row]?.[1];
        return [name, inMb(first?.rss), inMb(first?.pss), inMb(rss), inMb(pss)];
      }),
    ]),
  );
  say("\n");
  for (const one of [program, add, detached]) {
    const ratio = quantile(one, 0.5) / unit;
    goal(
      `${one.name} costs ${ratio.toFixed(2)} of the empty program`,
      `${runGoal}`,
      ratio <= runGoal,
    );
  }
  const both = sum(after.slice(0, 2).map(([, memory]) => memory));
  // RSS counts a page that both processes share twice. PSS counts it once, and less where it is also
  // shared with others: with another daemon of the same binary it is too low.
  for (const [name, bytes] of [
    ["RSS", both.rss],
    ["PSS", both.pss],
  ] as const) {
    const seen = `daemon and base image keep ${inMb(bytes)} MB (${name})`;
    goal(seen, `${inMb(memoryGoal)} MB`, bytes <= memoryGoal);
  }
  return 0;
});

function contender(name: string, command: readonly string[]): Contender {
  return { name, command, timesMs: [] };
}

function ours(name: string, words: readonly string[]): Contender {
  return { ...contender(name, [binary, "run", ...words]), isOurs: true };
}

async function untilIdle(box: Sandbox): Promise<void> {
  for (;;) {
    const { running, image } = await box.status();
    if (running === 0 && image.spares > 0) return;
  }
}

/** The real one: `bun run` makes one up, which is Bun itself, where there is none. */
function findNode(): string | undefined {
  const path = Bun.which("node");
  if (path === null || realpathSync(path) === realpathSync(process.execPath)) return undefined;
  return path;
}

/** The nearest rank: a time that was measured. */
function quantile({ timesMs }: Contender, part: number): number {
  const sorted = timesMs.toSorted((a, b) => a - b);
  return sorted[Math.max(Math.ceil(part * sorted.length) - 1, 0)] ?? Number.NaN;
}

/** In bytes. See proc_pid_smaps(5). */
interface Memory {
  readonly rss: number;
  readonly pss: number;
}

/** Of the daemon, its base image, and its spare, in this order. */
async function memoryNow(box: Sandbox): Promise<[name: string, memory: Memory][]> {
  await untilIdle(box);
  const { pid, image } = await box.status();
  const spares = childrenOf(pid).filter((child) => child.pid !== image.pid);
  return [
    ["daemon", memoryOf(pid)],
    ["base image", memoryOf(image.pid)],
    ["spare", sum(spares.map((spare) => memoryOf(spare.pid)))],
  ];
}

function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
  const field = (name: string): number => {
    const kib = new RegExp(`^${name}: +(\\d+) kB$`, "m").exec(text)?.[1];
    if (kib === undefined) throw new Error(`/proc/${pid}/smaps_rollup has no ${name}`);
    return Number(kib) * 1024;
  };
  return { rss: field("Rss"), pss: field("Pss") };
}

function sum(parts: readonly Memory[]): Memory {
  const add = (total: Memory, { rss, pss }: Memory): Memory => ({
    rss: total.rss + rss,
    pss: total.pss + pss,
  });
  return parts.reduce(add, { rss: 0, pss: 0 });
}

function inMb(bytes = Number.NaN): string {
  return (bytes / 1e6).toFixed(1);
}

function machine(): string {
  const { length: count, 0: first } = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${count} × ${first?.model.trim()}, ${memory} GiB, Linux ${release()} ${process.arch}, Bun ${Bun.version}, commit ${commit()}`;
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
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const format = (text: string, column: number): string => {
    const width = widths[column] ?? 0;
    return column === 0 ? text.padEnd(width) : text.padStart(width);
  };
  return rows.map((row) => `${row.map(format).join("  ")}\n`).join("");
}

function goal(seen: string, limit: string, isMet: boolean): void {
  say(`${isMet ? "met   " : "missed"}  ${seen}; the goal is at most ${limit}\n`);
}

function say(text: string): void {
  process.stdout.write(text);
}
