/**
 * Each system call of a client fails in turn. Whatever fails, one of three things is seen: the right
 * result; one clear line and status 125; or, where the call was about no more than the line itself or
 * the manner of the end, that alone is lost. Never a hang, a crash, or a job that runs twice.
 *
 * Of a head all calls fail. Of the client in Bun those on and after the connection to the daemon,
 * since those before are the runtime's own. `PREFORK_FAULTS=all` has every call fail in every
 * plausible way.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type ClientKind, clientKinds, environmentFor } from "../helpers/client-kinds.ts";
import { descriptorCount, signalProcess, statusField, zombiesOf } from "../helpers/process.ts";
import { type Daemon, type Ended, ended, type Running, Sandbox } from "../helpers/sandbox.ts";
import { type CallFault, type Counted, Tracer, tracingLacks } from "../helpers/tracer.ts";
import { concurrently, until } from "../helpers/wait.ts";
import { type FailingCall, failingCalls } from "./client-calls.ts";

const isThorough = process.env["PREFORK_FAULTS"] === "all";

/** Far above what any run takes: a client gives up after ten seconds without an answer. */
const hangTimeoutMs = 60_000;
const scenarioTimeoutMs = 30 * 60_000;

/** Runs at once: some wait for others most of the time. */
const width = 4;

/** A plan of many equal calls (one per signal, one per limit) is cut in the short form. */
const timesMaxShort = 2;

const preforkFailed = 125;

/** What a client says about a socket that it does not use; it goes on to the next one. */
const passedOver = /^pfc: ignoring .*\n/gm;

const countedFrom: Readonly<Record<ClientKind, Counted>> = { head: "entry", bun: "connect" };

interface Scenario {
  readonly name: string;
  /** Options of the client. */
  readonly options: readonly string[];
  /** What the job does after it has said in its file that it ran. */
  readonly script: string;
  /** There is no such command, and it never runs. */
  readonly isMissing?: boolean;
  /** The job's `$1`. */
  readonly argument?: string;
  readonly expected: Ended;
  /** Another end that is right when the way to the expected one has failed. */
  readonly otherEnd?: number;
  readonly stdin?: string;
  /** Has descriptor 7 lead to a file with `seven` in it. */
  readonly hasSeven?: boolean;
  readonly isOnTerminal?: boolean;
  /** What happens to the client while it runs. */
  readonly meanwhile?: (run: Meanwhile) => Promise<void>;
  /** It is tried with the client in Bun in the short form, too. */
  readonly isBasic?: boolean;
}

interface Meanwhile {
  /** Runs the client under the tracer. */
  readonly tracer: Running;
  readonly isOver: () => boolean;
}

const scenarios: readonly Scenario[] = [
  {
    name: "waits",
    options: ["-w"],
    script: "exit 3",
    expected: ended({ end: 3 }),
    isBasic: true,
  },
  { name: "leaves", options: [], script: "exit 3", expected: ended(), isBasic: true },
  {
    name: "would start a daemon if there were none",
    options: ["-w", "-C"],
    script: "echo out; exit 3",
    expected: ended({ stdout: "out\n", end: 3 }),
  },
  {
    name: "changes what the job gets",
    options: ["-w", "-n", "--env", "A=1", "--unset", "HOME", "--cwd", "/"],
    script: 'cat; echo "$A $HOME $PWD"',
    stdin: "not for the job",
    expected: ended({ stdout: "1  /\n" }),
  },
  {
    name: "passes a descriptor",
    options: ["-w", "--fd", "7:9"],
    script: "cat <&9",
    hasSeven: true,
    expected: ended({ stdout: "seven" }),
  },
  {
    name: "has more to say than fits into a message",
    options: ["-w"],
    script: 'cat; printf %s "$1" | wc -c',
    argument: "x".repeat(100_000),
    stdin: "input\n",
    expected: ended({ stdout: "input\n100000\n" }),
  },
  {
    name: "looks for a program that is not there",
    options: ["-w"],
    script: "",
    isMissing: true,
    expected: ended({ stderr: "pfc: no-such-program: command not found\n", end: 127 }),
  },
  {
    name: "ends by a signal",
    options: ["-w"],
    script: "echo out; kill -TERM $$",
    expected: ended({ stdout: "out\n", end: "SIGTERM" }),
    otherEnd: 128 + 15,
  },
  {
    name: "is stopped and continued",
    options: ["-w"],
    script: "kill -STOP $$; exit 3",
    expected: ended({ end: 3 }),
    meanwhile: continueClient,
    isBasic: true,
  },
  {
    name: "passes a signal on",
    options: ["-w"],
    script: "trap 'exit 3' USR1; echo ready; while :; do sleep 0.01; done",
    expected: ended({ stdout: "ready\n", end: 3 }),
    meanwhile: signalClient,
  },
  {
    name: "is on a terminal",
    options: ["-w"],
    script: "echo out; exit 3",
    isOnTerminal: true,
    expected: ended({ stdout: "out\r\n", end: 3 }),
    isBasic: true,
  },
];

/** One run of a scenario, and what could be seen of it. */
interface Run {
  readonly scenario: Scenario;
  readonly fault: string;
  readonly isMet: boolean;
  readonly calls: readonly number[];
  readonly seen: Ended | "hung";
  /** Has one line for each time that the job ran. */
  readonly file: string;
}

interface Fault extends Omit<CallFault, "call"> {
  readonly call: FailingCall;
}

const suffix = tracingLacks === "" ? "" : ` (${tracingLacks})`;

describe.skipIf(tracingLacks !== "")(`a client, with faults${suffix}`, () => {
  const box = new Sandbox();
  let tracer: Tracer;
  let daemon: Daemon;
  let restingCount = 0;
  let runCount = 0;

  beforeAll(async () => {
    tracer = new Tracer(box);
    box.write("seven", "seven");
    daemon = await box.serveWarm();
    restingCount = await restingDescriptors(daemon.pid);
  });
  afterAll(async () => await box[Symbol.asyncDispose]());

  describe.each([...clientKinds])("made of %s", (kind) => {
    const some = scenarios.filter(({ isBasic }) => kind === "head" || isThorough || isBasic);
    test.each([...some])(
      "that $name",
      async (scenario) => {
        expect(await explore(scenario, kind)).toEqual([]);
      },
      scenarioTimeoutMs,
    );
  });

  /** Has each call of the scenario fail. @returns what was not as it must be, one line each. */
  async function explore(scenario: Scenario, kind: ClientKind): Promise<string[]> {
    const unharmed = await attempt(scenario, kind);
    const made = new Set(unharmed.calls);
    const plans = failingCalls
      .filter((call) => made.has(call.number) && (kind === "head" || !call.isOfRuntime))
      .flatMap((call) => {
        const errors = isThorough ? call.errors : call.errors.slice(0, 1);
        return errors.map((error) => ({ call, error }));
      });
    const runs = await concurrently(plans, width, async (plan) => {
      const met: Run[] = [];
      for (let nth = 1; isThorough || nth <= timesMaxShort; nth++) {
        const run = await attempt(scenario, kind, { ...plan, nth });
        if (!run.isMet && run.seen !== "hung") break;
        met.push(run);
      }
      return met;
    });
    // Whose client has given up may still begin.
    await until("no job runs", async () => (await box.status()).running === 0);
    const problems = [unharmed, ...runs.flat()].flatMap(problemsOf);
    if (plans.length === 0) problems.push("no call was made that can fail");
    // What happens meanwhile, happens at its own time: not each run makes the same calls.
    const isSteady = scenario.meanwhile === undefined;
    if (isSteady && runs.some((met) => met.length === 0))
      problems.push("a call that was made did not fail");
    await until("the daemon has closed all", () => descriptorCount(daemon.pid) === restingCount);
    await until("the daemon has no zombie", () => zombiesOf(daemon.pid).length === 0);
    return problems;
  }

  /** Runs the scenario once, with one fault or none. */
  async function attempt(scenario: Scenario, kind: ClientKind, fault?: Fault): Promise<Run> {
    const file = box.path(`ran-${++runCount}`);
    const traced = tracer.around(
      [join(box.bin, "pfc"), ...scenario.options, "--", ...commandOf(scenario, file)],
      countedFrom[kind],
      fault ? { ...fault, act: "fail", call: fault.call.number } : { act: "list" },
    );
    const seven = ["bash", "-c", `exec 7<${box.path("seven")}; exec "$@"`, "bash"];
    let shown = "";
    let isShown = false;
    const terminal: Bun.TerminalOptions = {
      data: (_, bytes) => {
        shown += Buffer.from(bytes).toString("latin1");
      },
      exit: () => {
        isShown = true;
      },
    };
    const running = box.start([...(scenario.hasSeven ? seven : []), ...traced.command], {
      env: environmentFor(kind),
      ...(scenario.stdin === undefined ? {} : { stdin: scenario.stdin }),
      ...(scenario.isOnTerminal ? { terminal } : {}),
    });
    const isHung = await hangs(running, scenario.meanwhile);
    const result = await running.ended;
    if (scenario.isOnTerminal) await until("all is shown", () => isShown);
    const { calls, isMet } = traced.takeTrace();
    return {
      scenario,
      fault: fault ? `${fault.call.name} #${fault.nth} ${fault.error}` : "no fault",
      isMet,
      calls,
      seen: isHung ? "hung" : scenario.isOnTerminal ? { ...result, ...apart(shown) } : result,
      file,
    };
  }
});

function commandOf({ script, argument, isMissing }: Scenario, file: string): string[] {
  if (isMissing) return ["no-such-program"];
  const words = ["sh", "-c", `echo ran >>"$0"; ${script}`, file];
  return argument === undefined ? words : [...words, argument];
}

/** Waits for the end of a client. @returns whether it had to be brought about. */
async function hangs(running: Running, meanwhile: Scenario["meanwhile"]): Promise<boolean> {
  let isOver = false;
  let isHung = false;
  const watchdog = setTimeout(() => {
    isHung = true;
    running.kill("SIGKILL"); // the client goes with its tracer
  }, hangTimeoutMs);
  const end = running.exited.then(() => {
    isOver = true;
  });
  await Promise.all([end, meanwhile?.({ tracer: running, isOver: () => isOver })]);
  clearTimeout(watchdog);
  return isHung;
}

/** What the job and the client have written to one terminal. */
function apart(shown: string): Pick<Ended, "stdout" | "stderr"> {
  const lines = shown.match(/^pfc: [^\r\n]*\r\n/gm) ?? [];
  const stdout = lines.reduce((text, line) => text.replace(line, ""), shown);
  return { stdout, stderr: lines.join("").replaceAll("\r\n", "\n") };
}

/** What was not as it must be. */
function problemsOf({ scenario, fault, seen, file }: Run): string[] {
  const ranCount = existsSync(file) ? readFileSync(file, "latin1").split("\n").length - 1 : 0;
  const say = (what: string): string[] => [
    `${fault}: ${what}: ${JSON.stringify(seen)}, and the job ran ${ranCount} times`,
  ];
  if (seen === "hung") return say("no end");
  if (ranCount > 1) return say("it ran twice");
  const { expected, otherEnd, isMissing } = scenario;
  const stderr = seen.stderr.replaceAll(passedOver, "");
  if (seen.end === expected.end || seen.end === otherEnd) {
    const isSilenced = fault.startsWith("write") && stderr === "";
    const isRight = seen.stdout === expected.stdout && (stderr === expected.stderr || isSilenced);
    return isRight && ranCount === (isMissing ? 0 : 1) ? [] : say("another result");
  }
  if (seen.end !== preforkFailed) return say("another end");
  if (!/^pfc: [^\n]+\n$/.test(stderr)) return say("not one line");
  if (!expected.stdout.startsWith(seen.stdout)) return say("other output");
  return ranCount > 0 && /not (been )?started/.test(stderr) ? say("it was started") : [];
}

/** The number of a daemon's descriptors once it stays the same. */
async function restingDescriptors(pid: number): Promise<number> {
  let last = -1;
  let since = 0;
  return await until("the daemon rests", () => {
    const now = descriptorCount(pid);
    if (now !== last) since = performance.now();
    last = now;
    return performance.now() - since > 100 && now;
  });
}

/** Continues the client whenever it has stopped. */
async function continueClient({ tracer, isOver }: Meanwhile): Promise<void> {
  const client = await clientOf(tracer, isOver);
  if (client === undefined) return;
  while (!isOver()) {
    if (stateOf(client) === "T" || stateOf(client) === "t") signalProcess(client, "SIGCONT");
    await Bun.sleep(2);
  }
}

async function signalClient({ tracer, isOver }: Meanwhile): Promise<void> {
  const client = await clientOf(tracer, isOver);
  // Without a deadline: a job that never says so is a hang, and found to be one.
  while (!isOver() && !tracer.stdout.includes("ready")) await Bun.sleep(2);
  if (client !== undefined && !isOver()) signalProcess(client, "SIGUSR1");
}

/** The process that the tracer runs, or undefined when it is over. */
async function clientOf(tracer: Running, isOver: () => boolean): Promise<number | undefined> {
  const found = await until("the client runs", () => isOver() || childOf(tracer.pid));
  return found === true ? undefined : found;
}

function childOf(pid: number): number | undefined {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1");
    return Number.parseInt(children, 10) || undefined;
  } catch {
    return undefined; // it has ended
  }
}

function stateOf(pid: number): string {
  try {
    return statusField(pid, "State").charAt(0);
  } catch {
    return "";
  }
}
