/**
 * `bun run demo`: shows the main job, as a user would type it, in a sandbox with a runtime directory
 * of its own. It stands in tests/ because it is one: it fails when anything is not as expected, and
 * when anything is left behind.
 */
import { existsSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { complain, interruptible, runInterruptible } from "./helpers/interruption.ts";
import { isGone, signalProcess } from "./helpers/process.ts";
import { Sandbox } from "./helpers/sandbox.ts";
import { until } from "./helpers/wait.ts";

/** For one command line; a launch that fails takes 10 s to say so. */
const lineTimeoutMs = 30_000;

/** One command line; a text is expected exactly, and nothing and 0 when left out. */
interface Step {
  readonly title: string;
  readonly line: string;
  readonly stdout?: string | RegExp;
  readonly stderr?: string | RegExp;
  readonly status?: number;
  /** A file of the working directory, and what is waited for to stand in it afterwards. */
  readonly makes?: { readonly file: string; readonly text: string };
}

const steps: readonly Step[] = [
  {
    title: "No daemon runs yet: -C starts one, and the job then runs in it. -w waits for its end",
    line: "prefork run -C -w add 1 2",
    stdout: "3\n",
  },
  {
    title: "add is a command of the warm image, and exact",
    line: "prefork run -w add 0.1 0.2 100000000000000000000",
    stdout: "100000000000000000000.3\n",
  },
  {
    title: "A bad argument: a complaint on the caller's stderr, and the job's exit status",
    line: "prefork run -w add 1 two 3",
    stderr: "add: 'two' is not a number\n",
    status: 1,
  },
  { title: "A file of the caller's", line: "printf 'pear\\napple\\nfig\\n' > fruit.txt" },
  {
    title: "A real program, with the caller's pipe as stdin, and a status other than 0",
    line: "cat fruit.txt | prefork run -w sh -c 'sort; exit 3'",
    stdout: "apple\nfig\npear\n",
    status: 3,
  },
  {
    title: "Without -w the client leaves at once; the job goes on in the caller's directory",
    line: "prefork run sh -c 'sort -r fruit.txt > sorted.txt'",
    makes: { file: "sorted.txt", text: "pear\nfig\napple\n" },
  },
  { title: "What it made", line: "cat sorted.txt", stdout: "pear\nfig\napple\n" },
  {
    title: "What the daemon is doing",
    line: "prefork status",
    stdout: /^pid +\d+\nversion +\S+\n[\s\S]*^jobs +\d+ running, \d+ done, \d+ failed$/m,
  },
  { title: "The end of it", line: "prefork stop", stdout: /^stopped pfd \(pid \d+\)/ },
  {
    title: "Nobody is there any more",
    line: "prefork run -w add 1 2",
    stderr: /^pfc: no daemon: /,
    status: 125,
  },
];

await interruptible(async (interrupted) => {
  let directory = "";
  try {
    await using box = new Sandbox();
    directory = box.directory;
    for (const step of steps) await take(step, box, interrupted);
    const left = readdirSync(box.runtime);
    if (left.length > 0) throw new Error(`left in the runtime directory: ${left.join(", ")}`);
  } catch (error) {
    await endWhatIsLeft(directory).catch(complain);
    throw error;
  }
  await endWhatIsLeft(directory);
  say(`\nAll ${steps.length} command lines did what they should; nothing is left behind.\n`);
  return 0;
});

/** Shows one step. @throws Error when it is not as expected. */
async function take(step: Step, box: Sandbox, interrupted: AbortSignal): Promise<void> {
  say(`\n# ${step.title}\n$ ${step.line}\n`);
  const { status, stdout, stderr } = await runInterruptible(
    ["sh", "-c", step.line],
    AbortSignal.any([interrupted, AbortSignal.timeout(lineTimeoutMs)]),
    { cwd: box.work, env: box.env, stdout: "pipe", stderr: "pipe" },
  );
  say(`${stdout}${stderr}[status ${status}]\n`);
  expectThat("stdout", stdout, step.stdout ?? "");
  expectThat("stderr", stderr, step.stderr ?? "");
  expectThat("status", `${status}`, `${step.status ?? 0}`);
  if (!step.makes) return;
  const { file, text } = step.makes;
  const path = join(box.work, file);
  await until(`${file} is made`, () => {
    interrupted.throwIfAborted();
    return existsSync(path) && readFileSync(path, "utf8") === text;
  });
}

function expectThat(what: string, seen: string, expected: string | RegExp): void {
  if (typeof expected === "string" ? seen === expected : expected.test(seen)) return;
  const wanted = typeof expected === "string" ? JSON.stringify(expected) : `${expected}`;
  throw new Error(`${what} is ${JSON.stringify(seen)}, not ${wanted}`);
}

/**
 * Waits until no process of the sandbox is left, and kills what stays. What it checks is the work of
 * `prefork stop`; the sandbox itself is gone by now.
 * @throws Error when something had to be killed.
 */
async function endWhatIsLeft(directory: string): Promise<void> {
  if (directory === "") return;
  let left: number[] = [];
  try {
    await until("all processes end", () => {
      left = processesOf(directory);
      return left.length === 0;
    });
  } catch {
    for (const pid of left) signalProcess(pid, "SIGKILL");
    throw new Error(`left behind, and killed now: process ${left.join(", ")}`);
  }
  if (existsSync(directory)) throw new Error(`left behind: ${directory}`);
}

/** The processes that have the sandbox in their environment, as all that started in it have. */
function processesOf(directory: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && !isGone(pid) && environmentOf(pid).includes(directory));
}

function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1");
  } catch {
    return ""; // it is gone, or somebody else's
  }
}

/** Written at once: a reader that has left is an error here, and not some time later. */
function say(text: string): void {
  writeSync(1, text);
}
