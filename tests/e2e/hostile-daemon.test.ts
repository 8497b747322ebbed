/**
 * Clients and daemons that do not keep to the protocol: random and mutated replies, descriptors that
 * nobody asked for, floods, silence, and a daemon that goes away at any moment. A client ends as it was
 * told, or says in one line what it could not understand; and it signals nobody but its job.
 *
 * The clients run under a tracer, so that a signal for somebody else is seen and does no harm.
 * `PREFORK_REPLIES` sets how many cases there are, `PREFORK_SEED` which.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type ClientKind, clientKinds, environmentFor } from "../helpers/client-kinds.ts";
import {
  allowedFor,
  caseVariable,
  type HostileCase,
  hostileCase,
} from "../helpers/hostile-replies.ts";
import { setting } from "../helpers/property.ts";
import { type Ended, type Running, Sandbox } from "../helpers/sandbox.ts";
import { Listener, type Peer } from "../helpers/seqpacket.ts";
import { type SentSignal, Tracer, tracingLacks } from "../helpers/tracer.ts";
import { until } from "../helpers/wait.ts";

const seed = setting("PREFORK_SEED") ?? 20_261_128;
const countWanted = setting("PREFORK_REPLIES");
/** A client in Bun takes some fifty times as long. */
const countsUsual: Readonly<Record<ClientKind, number>> = { head: 600, bun: 100 };

/** Far above what a client takes, which gives up after ten seconds without an answer. */
const hangTimeoutMs = 60_000;
const casesTimeoutMs = 60 * 60_000;

/** How many of the failures are shown. */
const shownMax = 10;

/** Daemons at once, each with one client at a time. */
const width = 3;

/** kill(2) on x86-64, as the tracer is for. */
const killNumber = 62;
const preforkFailed = 125;
const oneLine = /^pfc: [^\n]*\n$/;

const box = new Sandbox();
afterAll(async () => await box[Symbol.asyncDispose]());

const suffix = tracingLacks === "" ? "" : ` (${tracingLacks})`;

describe.skipIf(tracingLacks !== "").each([...clientKinds])(
  `a client made of %s${suffix}`,
  (kind) => {
    const count = countWanted ?? countsUsual[kind];
    let tracer: Tracer;
    beforeAll(() => {
      tracer = new Tracer(box);
    });

    test(
      `of a daemon that answers anything, ${count} times`,
      async () => {
        const workers = Array.from({ length: width }, (_, first) => talk(kind, first, count));
        const problems = (await Promise.all(workers)).flat();
        expect(problems.slice(0, shownMax), `${problems.length} of ${count}`).toEqual([]);
      },
      casesTimeoutMs,
    );

    /** Has clients talk to one daemon, case by case. @returns what went wrong, a line each. */
    async function talk(kind: ClientKind, first: number, count: number): Promise<string[]> {
      const path = box.path(`${kind}-${first}.sock`);
      const script = join(import.meta.dir, "../fixtures/hostile-daemon.ts");
      const daemon = box.start([process.execPath, script, path, `${seed}`]);
      await until("it listens", () => daemon.stdout.startsWith("listening\n"));
      let isOver = false;
      void daemon.exited.then(() => {
        isOver = true;
      });
      const problems: string[] = [];
      for (let index = first; index < count; index += width) {
        if (isOver) throw new Error(`the daemon has ended: ${daemon.stderr}`);
        const given = hostileCase(seed, index);
        const options = [...(given.waits ? ["-w"] : []), "--on-disconnect", given.onDisconnect];
        const { command, takeTrace } = tracer.around(
          [join(box.bin, "pfc"), "--socket", path, ...options, "true"],
          "start",
          { act: "watch" },
        );
        const client = box.start(command, {
          env: { ...environmentFor(kind), [caseVariable]: `${index}` },
        });
        const ended = await endOf(client);
        const problem = problemOf(given, ended, takeTrace().signals);
        if (problem) problems.push(`case ${index} of PREFORK_SEED=${seed}: ${problem}`);
      }
      daemon.kill("SIGTERM");
      const said = (await daemon.ended).stdout.split("\n").slice(1, -1);
      return [...problems, ...said.map((line) => `PREFORK_SEED=${seed}: ${line}`)];
    }
  },
);

test(
  "a daemon that is silent, or goes away with the request",
  async () => {
    const all = clientKinds.flatMap((kind) => [expectWords(kind, ["-w"]), expectWords(kind, [])]);
    await Promise.all(all);
  },
  hangTimeoutMs,
);

/** Of two clients, one gets no answer, and the daemon of the other goes away. */
async function expectWords(kind: ClientKind, options: readonly string[]): Promise<void> {
  const path = box.path(`silent-${kind}-${options.length}.sock`);
  using listener = Listener.at(path);
  const start = (): Running =>
    box.start([join(box.bin, "pfc"), "--socket", path, ...options, "true"], {
      env: environmentFor(kind),
    });
  const clients = [start(), start()];
  const takeRequest = async (peer: Peer): Promise<Running | undefined> => {
    await peer.answer(); // and its descriptors are not kept
    return clients.find(({ pid }) => pid === peer.pid);
  };
  using silent = await listener.accept();
  const waiting = await takeRequest(silent);
  const gone = await listener.accept();
  const left = await takeRequest(gone);
  gone.close();
  const ends = await Promise.all([left?.ended, waiting?.ended]);
  expect(ends.map((ended) => ended?.end)).toEqual([preforkFailed, preforkFailed]);
  const who = `pfc: the daemon at ${path} (pid ${process.pid})`;
  expect(ends[0]?.stderr).toBe(`${who} closed the connection without an answer\n`);
  expect(ends[1]?.stderr).toBe(`${who} has not answered for 10 s (is it stopped?)\n`);
}

/** How the client ended; "hung" when it had to be killed. */
async function endOf(client: Running): Promise<Ended | "hung"> {
  let isHung = false;
  const watchdog = setTimeout(() => {
    isHung = true;
    client.kill("SIGKILL"); // with its tracer
  }, hangTimeoutMs);
  const ended = await client.ended;
  clearTimeout(watchdog);
  return isHung ? "hung" : ended;
}

/** What the client should not have done. */
function problemOf(
  given: HostileCase,
  ended: Ended | "hung",
  signals: readonly SentSignal[],
): string | undefined {
  const allowed = allowedFor(given);
  const say = (what: string): string =>
    `${what}: ${JSON.stringify({ ended, signals })} after ${describeCase(given)}`;
  if (ended === "hung") return say("no end");
  for (const { call, args } of signals) {
    const [target, signal] = args;
    if (call !== killNumber || !allowed.jobs.has(-target) || !allowed.signals.includes(signal)) {
      return say("a signal for somebody else");
    }
  }
  if (ended.stdout !== "") return say("output");
  const manner = ended.stderr === "" ? "silent" : "line";
  if (manner === "line" && !oneLine.test(ended.stderr)) return say("not one line");
  if (allowed.failure && ended.end === preforkFailed && manner === "line") return undefined;
  if (allowed.ends.get(ended.end) === manner) return undefined;
  return allowed.anyEnd ? undefined : say("another end");
}

function describeCase({ waits, onDisconnect, departure, replies }: HostileCase): string {
  const told = replies.map(({ bytes, fdCount, isOwnPid }) => {
    const shown = Buffer.from(bytes.subarray(0, 60)).toString("hex");
    return `${bytes.length}:${shown}${fdCount > 0 ? ` +${fdCount}` : ""}${isOwnPid ? " own" : ""}`;
  });
  const some = told.length > 8 ? [...told.slice(0, 2), "…", ...told.slice(-6)] : told;
  return JSON.stringify({ waits, onDisconnect, departure, replies: some });
}
