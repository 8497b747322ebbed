/**
 * `bun run bench [--rounds N] [--json]`: what a command costs through prefork, in direct spawns of /bin/true, beside a
 * daemon of the same design in C and other programs of the kind. All rows take their turns in one run, in a new
 * order each round, so that whatever else the machine does meets all of them alike. docs/performance.md says how.
 * A goal that is missed is said, and is no failure.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { interruptible } from "../helpers/interruption.ts";
import { descendantsOf, processStat } from "../helpers/process.ts";
import { binary, Sandbox } from "../helpers/sandbox.ts";
import { machineFacts, say } from "./measurement.ts";
import { clientMemory, treeMemory } from "./memory.ts";
import { startPeers } from "./peers.ts";
import { type Account, Accounts } from "./processor-time.ts";
import { type BenchPrograms, buildPrograms, startReference } from "./reference.ts";
import { formatReport, type Report, reportJson } from "./report.ts";
import { doubtsAbout, figuresOf, goalsOf, type Memory, type Samples } from "./results.ts";
import { rowsFor, type Server } from "./rows.ts";
import { FfiRunner, NativeRunner, type Runner } from "./runner.ts";
import { shuffled } from "./statistics.ts";

const usage = "usage: bun run bench [--rounds N] [--json]";

const roundsDefault = 40;

/** Rounds that do not count: files get into the page cache, branches into the predictor. */
const warmUpRounds = 2;

/** A daemon that is not at rest by then is measured as it is. */
const restTimeoutMs = 3000;
const restLookMs = 10;

/** A daemon, and where its processor time is counted. */
interface Served {
  readonly pid: number;
  readonly account: Account | undefined;
  /** Processes below it when it has nothing to do. */
  readonly processes: number;
}

await interruptible(async (interrupted) => {
  const { rounds, json } = optionsOf(process.argv.slice(2));
  using accounts = new Accounts();
  await using box = new Sandbox();
  const notes: string[] = [];
  const built = buildPrograms(box);
  const programs = typeof built === "string" ? undefined : built;
  if (typeof built === "string") {
    notes.push(`${built}: no C reference, no conditions, no processor time`);
  }
  // Without a runner of its own our time would count as the clients'.
  const open = (name: string): Account | undefined => programs && accounts.open(name);

  const servers = new Map<Server, Served>();
  const ours = open("prefork");
  const daemon = await entering(ours)(() => box.serveWarm());
  servers.set("prefork", await served(daemon.pid, ours));
  const memoryAtRest = treeMemory(daemon.pid);
  if (programs) {
    const account = open("reference");
    const { pid } = await startReference(box, programs, entering(account));
    servers.set("reference", await served(pid, account));
  }
  const { there: peers, missing } = await startPeers(box);
  notes.push(...missing);
  const withoutHead = binaryWithoutHead();
  if (withoutHead === undefined) {
    notes.push("no binary without a head (PREFORK_WITHOUT_HEAD): the slow path is not compared");
  }

  const clients = open("clients");
  await using runner = entering(clients)(() => startRunner(programs, box.work));
  const hasConditions = runner.kind === "C";
  const rows = rowsFor({ box, programs, peers, withoutHead, hasConditions });
  const all = rows.map((row): Samples => {
    return { row, timesNs: [], turnsNs: [], processorUs: [], failedTurns: 0 };
  });
  let restless = 0;
  for (let round = -warmUpRounds; round < rounds; round++) {
    const due = all.filter(({ row }) => round % row.every === 0);
    for (const samples of shuffled(due, Math.random)) {
      interrupted.throwIfAborted();
      const server = samples.row.server && servers.get(samples.row.server);
      const isAtRest = await takeTurn(samples, { runner, clients, server, counts: round >= 0 });
      if (!isAtRest) restless += 1;
    }
  }
  if (restless > 0) notes.push(`a daemon was not at rest after ${restless} turns`);
  const memory: Memory = {
    client: await clientMemory(box, [join(box.bin, "pfc"), "-w"], daemon.pid),
    referenceClient: await referenceMemory(box, programs, servers.get("reference")),
    daemon: memoryAtRest,
  };

  const figures = figuresOf(all);
  notes.push(...doubtsAbout(figures, rounds));
  const report: Report = {
    machine: machineFacts(),
    settings: {
      binary,
      version: (await box.prefork("version")).stdout.trim(),
      rounds,
      warmUpRounds,
      runner: runner.kind,
      processorTime: programs ? accounts.source : "not counted",
    },
    figures,
    memory,
    goals: goalsOf(figures, memory),
    notes,
  };
  say(json ? reportJson(report) : formatReport(report));
  return 0;
});

interface TurnWith {
  readonly runner: Runner;
  readonly clients: Account | undefined;
  readonly server: Served | undefined;
  readonly counts: boolean;
}

/** @returns whether its daemon has come to rest after it. */
async function takeTurn(
  samples: Samples,
  { runner, clients, server, counts }: TurnWith,
): Promise<boolean> {
  const { row } = samples;
  const clientsUs = (): number => clients?.readUs(runner.pid) ?? 0;
  const serverUs = (): number => server?.account?.readUs(server.pid) ?? 0;
  const before = clientsUs() + serverUs();
  const { wholeNs, failure, timesNs } = await runner.run(row);
  const clientsAfter = clientsUs();
  const isAtRest = server === undefined || (await isSoonAtRest(server));
  if (failure !== 0 && row.width === 1) throw new Error(`${row.name}: wait status ${failure}`);
  if (!counts) return true;
  samples.timesNs.push(...timesNs);
  samples.turnsNs.push(wholeNs);
  if (clients && (server || !row.key.startsWith("peer"))) {
    samples.processorUs.push(clientsAfter + serverUs() - before);
  }
  if (failure !== 0) samples.failedTurns += 1;
  return isAtRest;
}

async function served(pid: number, account: Account | undefined): Promise<Served> {
  await isSoonAtRest({ pid, account, processes: 0 });
  return { pid, account, processes: descendantsOf(pid).length };
}

/** Waits until a daemon and all below it are asleep, and the processes that wait for jobs are complete. */
async function isSoonAtRest({ pid, processes }: Served): Promise<boolean> {
  const deadline = performance.now() + restTimeoutMs;
  for (;;) {
    const below = descendantsOf(pid);
    const all = [processStat(pid), ...below];
    if (below.length >= processes && all.every((stat) => stat?.state === "S")) return true;
    if (performance.now() > deadline) return false;
    await Bun.sleep(restLookMs);
  }
}

async function referenceMemory(
  box: Sandbox,
  programs: BenchPrograms | undefined,
  server: Served | undefined,
): Promise<Memory["referenceClient"]> {
  if (!programs || !server) return undefined;
  return await clientMemory(box, [programs.client, "-w"], server.pid);
}

function startRunner(programs: BenchPrograms | undefined, directory: string): Runner {
  return programs ? new NativeRunner(programs.runner, directory) : new FfiRunner(directory);
}

function entering(account: Account | undefined): <Result>(start: () => Result) => Result {
  return (start) => (account ? account.enter(start) : start());
}

/** What the slow path of a head is measured against. */
function binaryWithoutHead(): string | undefined {
  const path =
    process.env["PREFORK_WITHOUT_HEAD"] ?? join(import.meta.dir, "../../dist/prefork-without-head");
  return existsSync(path) ? path : undefined;
}

function optionsOf(words: readonly string[]): { rounds: number; json: boolean } {
  let [rounds, json] = [roundsDefault, false];
  for (let at = 0; at < words.length; at++) {
    if (words[at] === "--json") json = true;
    else if (words[at] === "--rounds") rounds = Number(words[++at]);
    else throw new Error(usage);
  }
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error(usage);
  return { rounds, json };
}
