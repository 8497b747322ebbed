/**
 * Each system call of what makes a job's process fails in turn: of the native starter and of the image of built-in commands,
 * and of the children that take a context on. The client sees the right result, or one clear line and a status that is ours; never a
 * hang, a job that runs twice, or harm to the next one.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { childrenOf, descriptorCount, zombiesOf } from "../helpers/process.ts";
import { type Daemon, type Ended, ended, Sandbox } from "../helpers/sandbox.ts";
import { type AttachedTo, type CallFault, Tracer, tracingLacks } from "../helpers/tracer.ts";
import { until } from "../helpers/wait.ts";
import { type FailingCall, failingCalls } from "./client-calls.ts";

const isThorough = process.env["PREFORK_FAULTS"] === "all";
/** A plan of many equal calls (one per signal, one per descriptor) is cut in the short form. */
const timesMaxShort = 2;
const limitMs = 30 * 60_000;
/** Far above what a job takes, traced or not. */
const hangMs = 30_000;

interface Scenario {
  readonly name: string;
  /** What serves the job. */
  readonly server: "pfd-starter" | "pfd-image";
  readonly counted: AttachedTo;
  readonly command: (file: string) => readonly string[];
  readonly expected: Ended;
}

/** Differs from what a starter has in as much as an unprivileged shell can change. */
const changes = "ulimit -n 200; ulimit -c 0; umask 077; trap '' USR1; exec 7<&0; ";

const program = (file: string): string[] => ["sh", "-c", `echo ran >>"$0"; echo out; exit 3`, file];
const scenarios: readonly Scenario[] = [
  {
    name: "a starter",
    server: "pfd-starter",
    counted: "start",
    command: program,
    expected: ended({ stdout: "out\n", end: 3 }),
  },
  {
    name: "the child of a starter",
    server: "pfd-starter",
    counted: "child",
    command: program,
    expected: ended({ stdout: "out\n", end: 3 }),
  },
  {
    name: "an image",
    server: "pfd-image",
    counted: "start",
    command: () => ["add", "1", "2"],
    expected: ended({ stdout: "3\n" }),
  },
  {
    name: "the child of an image",
    server: "pfd-image",
    counted: "child",
    command: () => ["add", "1", "2"],
    expected: ended({ stdout: "3\n" }),
  },
];

interface Fault extends CallFault {
  readonly name: string;
}

describe.skipIf(tracingLacks !== "")("with faults", () => {
  const box = new Sandbox();
  let tracer: Tracer;
  let daemon: Daemon;
  let restingCount = 0;
  let count = 0;

  beforeAll(async () => {
    tracer = new Tracer(box);
    daemon = await box.serveWarm();
    await rest();
    restingCount = descriptorCount(daemon.pid);
  });
  afterAll(async () => await box[Symbol.asyncDispose]());

  test.each([...scenarios])(
    "in $name",
    async (scenario) => {
      const unharmed = await attempt(scenario);
      expect(unharmed.problems).toEqual([]);
      const made = new Set(unharmed.calls);
      const plans = failingCalls
        .filter(({ number }) => made.has(number))
        .flatMap((call) => errorsOf(call).map((error) => ({ call, error })));
      expect(plans.length).toBeGreaterThan(0);
      const problems: string[] = [];
      for (const { call, error } of plans) {
        for (let nth = 1; isThorough || nth <= timesMaxShort; nth++) {
          const fault = { name: call.name, call: call.number, nth, error };
          const run = await attempt(scenario, fault);
          if (!run.isMet) break;
          problems.push(...run.problems);
        }
      }
      expect(problems).toEqual([]);
      await rest();
      expect(descriptorCount(daemon.pid)).toBe(restingCount);
    },
    limitMs,
  );

  /** One image and one starter wait, and nothing else is left. */
  async function rest(): Promise<void> {
    await until("one image and one starter wait", async () => {
      const names = childrenOf(daemon.pid).map(({ name }) => name);
      const { image, running } = await box.status();
      const isAlone = names.sort().join() === "pfd-image,pfd-starter";
      return running === 0 && image.spares === 1 && isAlone;
    });
    await until("no zombie", () => zombiesOf(daemon.pid).length === 0);
  }

  /** Runs the scenario once, with one fault or none, and then once without the tracer. */
  async function attempt(scenario: Scenario, fault?: Fault) {
    await rest();
    const server = childrenOf(daemon.pid).find(({ name }) => name === scenario.server);
    const file = box.path(`ran-${++count}`);
    const tracing = fault ? ({ ...fault, act: "fail" } as const) : ({ act: "list" } as const);
    const traced = tracer.attachedTo(server?.pid ?? 0, scenario.counted, tracing);
    const tracerProcess = box.start(traced.command);
    await until("the tracer is there", () => traced.isAttached());
    const words = scenario.command(file).map((word) => `'${word.replaceAll("'", "'\\''")}'`);
    const client = box.start(["bash", "-c", `${changes} exec pfc -w -- ${words.join(" ")}`]);
    const isHung = await Promise.race([client.ended.then(() => false), tooLong()]);
    tracerProcess.kill("SIGKILL");
    await tracerProcess.exited;
    if (isHung) throw new Error(`${JSON.stringify(fault)}: no end, or its output stays open`);
    const seen = await client.ended;
    const { calls, isMet } = traced.takeTrace();
    const what = fault ? `${fault.name} #${fault.nth} ${fault.error}` : "no fault";
    const problem = problemOf(seen, scenario, file);
    const next = await box.pfc("-w", ...scenario.command(box.path(`after-${count}`)));
    const problems = problem ? [`${what}: ${problem}: ${JSON.stringify(seen)}`] : [];
    if (JSON.stringify(next) !== JSON.stringify(scenario.expected)) {
      problems.push(`${what}: the next job: ${JSON.stringify(next)}`);
    }
    return { calls, isMet, problems };
  }
});

function errorsOf({ errors }: FailingCall): readonly CallFault["error"][] {
  return isThorough ? errors : errors.slice(0, 1);
}

async function tooLong(): Promise<true> {
  await Bun.sleep(hangMs);
  return true;
}

/** What is not as it must be. */
function problemOf(seen: Ended, { expected }: Scenario, file: string): string | undefined {
  const ran = existsSync(file) ? readFileSync(file, "latin1").split("\n").length - 1 : 0;
  if (ran > 1) return "it ran twice";
  if (seen.end === expected.end && seen.stdout === expected.stdout && seen.stderr === "") return;
  if (![125, 126, 127].includes(Number(seen.end))) {
    // What has taken on its context and cannot write its output says so itself.
    const isTold = seen.end === 1 && /^add: cannot write: [^\n]+\n$/.test(seen.stderr);
    return isTold ? undefined : "another end";
  }
  if (ran > 0) return "it ran, and was refused";
  return /^pfc: [^\n]+\n$/.test(seen.stderr) ? undefined : "not one line";
}
