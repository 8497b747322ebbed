/**
 * What a child of an image must put right before it is a process of its own (src/image/script/renew.ts): a row for each
 * fact. A module that is loaded ahead keeps what should be fresh (tests/fixtures/warm/renewal/kept.ts), an image is made
 * in one set of circumstances, and a job in another sees there what it sees in a Bun of its own.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { type Running, Sandbox } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";
import {
  configuredCommand,
  copyScripts,
  directCommand,
  directEnv,
  equip,
  modulesNotAhead,
  runUntilWarm,
  startWarm,
  untilSpare,
  warmCommand,
  warmRuns,
  whyCold,
} from "../helpers/warm.ts";

setDefaultTimeout(120_000);

/** Everything that a run can have of its own. */
interface Circumstances {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Below the sandbox's working directory. */
  readonly directory: string;
  readonly stdin: string;
  /** The shell's words before the script and after it. */
  readonly before: string;
  readonly after: string;
  readonly columns: number;
}

const ofImage: Circumstances = {
  args: ["image"],
  env: { MARK: "image", ONLY_IMAGE: "1", TERM: "xterm-256color", TZ: "UTC" },
  directory: ".",
  stdin: "of the image\n",
  before: "umask 022",
  after: ":",
  columns: 80,
};
const ofJob: Circumstances = {
  args: ["job", "two words", ""],
  env: { MARK: "job", TERM: "xterm-256color", TZ: "UTC" },
  directory: "other",
  stdin: "of the job\n",
  before: "umask 027",
  after: ":",
  columns: 97,
};

interface Row {
  readonly fact: string;
  readonly script: string;
  /** How the job differs from others. */
  readonly job?: Partial<Circumstances>;
  readonly isOnTerminal?: true;
  /** The image cannot serve such a job: it gets one of its own. */
  readonly needsOwnImage?: true;
  readonly notAhead?: readonly string[];
  /** The image has been there for longer than any job runs. */
  readonly isOld?: true;
}

const rows: readonly Row[] = [
  { fact: "standard streams", script: "streams" },
  { fact: "output that has to wait", script: "much-output" },
  {
    fact: "a terminal's streams, size and colours",
    script: "streams",
    isOnTerminal: true,
    job: { directory: ofImage.directory }, // which the runtime asks for when it makes such a stream
  },
  {
    fact: "a terminal's settings",
    script: "streams",
    isOnTerminal: true,
    job: {
      directory: ofImage.directory,
      before: "stty -ixon -iexten erase ^H",
      after: "stty -a",
    },
  },
  { fact: "pid and parent", script: "numbers", notAhead: ["numbers-kept.ts"] },
  { fact: "the directory", script: "directory" },
  { fact: "arguments", script: "arguments" },
  { fact: "the environment", script: "environment" },
  { fact: "the umask", script: "umask" },
  {
    fact: "the time zone",
    script: "time-zone",
    job: { env: { ...ofJob.env, TZ: "Asia/Kathmandu" } },
    needsOwnImage: true,
  },
  { fact: "clocks", script: "clocks", isOld: true },
  { fact: "listeners", script: "listeners", notAhead: ["signals-kept.ts"] },
  { fact: "our own modules", script: "modules" },
];

/** Longer than three seconds, the unit of clocks.ts. */
const oldMs = 4000;

function open(): { box: Sandbox; scripts: string } {
  const box = new Sandbox();
  equip(box);
  mkdirSync(join(box.work, "other"));
  box.write("path/only-here", "#!/bin/sh\n", 0o755);
  box.write("work/other/only-here", "");
  return { box, scripts: join(copyScripts(box), "renewal") };
}

async function run(
  box: Sandbox,
  command: readonly string[],
  around: Circumstances,
  isOnTerminal = false,
): Promise<string> {
  const { args, env, directory, stdin, before, after, columns } = around;
  const shown: string[] = [];
  const cwd = join(box.work, directory);
  rmSync(join(cwd, "made-by-job"), { force: true });
  const { promise: isAllShown, resolve: allShown } = Promise.withResolvers<void>();
  const words = ["bash", "-c", `${before}; "$@"; status=$?; ${after}; exit $status`, "bash"];
  const running = box.start([...words, ...command, ...args], {
    cwd,
    env: { PATH: `${box.env["PATH"]}:${box.path("path")}`, ...env, PWD: cwd },
    stdin,
    ...(isOnTerminal
      ? {
          terminal: {
            cols: columns,
            rows: 31,
            data: (_: unknown, bytes: Uint8Array) => {
              shown.push(Buffer.from(bytes).toString("latin1"));
            },
            exit: () => allShown(),
          },
        }
      : {}),
  });
  const { stdout, stderr, end } = await running.ended;
  if (isOnTerminal) {
    await isAllShown; // what was written last comes after the end
    running.terminal.close();
  }
  return `${stdout}${shown.join("")}stderr: ${stderr}\nend: ${end}\n`;
}

/** Makes an image in its own circumstances. @returns how to run a job that has to be served by it. */
async function makeImage(
  box: Sandbox,
  command: readonly string[],
  isOnTerminal = false,
): Promise<(around: Circumstances) => Promise<string>> {
  const warmly = async (around: Circumstances): Promise<string> => {
    const before = await warmRuns(box);
    await untilSpare(box);
    const output = await run(box, command, around, isOnTerminal);
    if ((await warmRuns(box)) === before) throw new Error(`it ran cold: ${await whyCold(box)}`);
    return output;
  };
  const { isWarm, reason } = await runUntilWarm(
    box,
    async () => await run(box, command, ofImage, isOnTerminal),
  );
  expect({ isWarm, reason }).toEqual({ isWarm: true, reason: "" });
  return warmly;
}

test.each([...rows])("$fact", async (row) => {
  const { box: owned, scripts } = open();
  await using box = owned;
  const script = join(scripts, `${row.script}.ts`);
  const around = { ...ofJob, ...row.job };
  await box.serve();
  const warmly = await makeImage(box, warmCommand(box, script, []), row.isOnTerminal);
  const notAhead = (await modulesNotAhead(box)).filter((name) => name !== basename(script));
  expect(notAhead).toEqual([...(row.notAhead ?? [])]);
  if (row.needsOwnImage) {
    const again = async (): Promise<string> => await run(box, warmCommand(box, script, []), around);
    expect(await runUntilWarm(box, again)).toMatchObject({ isWarm: true });
  }
  if (row.isOld) {
    const madeMs = performance.now();
    await until("the image is old", () => performance.now() - madeMs > oldMs);
  }
  const direct = ["env", ...Object.entries(directEnv).map((entry) => entry.join("="))];
  const expected = await run(
    box,
    [...direct, ...directCommand(script, [])],
    around,
    row.isOnTerminal,
  );
  expect(await warmly(around)).toBe(expected);
});

test("the event loop: two jobs at once, each hears what it is told", async () => {
  const { box: owned, scripts } = open();
  await using box = owned;
  const script = join(scripts, "event-loop.ts");
  await box.serve();
  const start = async (): Promise<Running> => {
    const job = startWarm(box, script, [], { stdin: "pipe" });
    await until("it listens", () => job.stdout === "listens\n");
    return job;
  };
  const { isWarm } = await runUntilWarm(box, async () => {
    const job = await start();
    await job.closeInput();
    return await job.ended;
  });
  expect(isWarm).toBe(true);
  const before = await warmRuns(box);
  const jobs: Running[] = [];
  for (let number = 0; number < 2; number++) {
    await untilSpare(box);
    jobs.push(await start());
  }
  let expected = "listens\n";
  for (let round = 0; round < 20; round++) {
    expected += `heard ${round}\n`;
    for (const job of jobs) {
      await job.write(`${round}\n`);
      await until(`it has heard ${round}`, () => job.stdout === expected, 5000);
    }
  }
  for (const job of jobs) {
    await job.closeInput();
    expect(await job.ended).toEqual({ stdout: expected, stderr: "", end: 0 });
  }
  expect((await warmRuns(box)) - before).toBe(2);
});

test.each([
  "Math.random",
  "crypto.randomUUID",
  "crypto.getRandomValues",
  "Bun.randomUUIDv7",
  "node:crypto randomBytes",
  "node:crypto randomFillSync",
  "node:crypto randomInt",
  "node:crypto randomUUID",
  "node:crypto generateKeySync",
])("randomness: %s, no value is drawn by two jobs", async (source) => {
  const { box: owned, scripts } = open();
  await using box = owned;
  await box.serve();
  // Its warm-up draws: what was drawn ahead then is in all of its children.
  box.write(
    "work/.config/prefork/config.toml",
    `[commands.draw]\nscript = "${scripts}/random.ts"\nwarmup = "${scripts}/draw-ahead.ts"\n`,
  );
  const warmly = await makeImage(box, configuredCommand(box, "draw"));
  const drawn: string[] = [];
  for (let job = 0; job < 4; job++) {
    const output = await warmly({ ...ofJob, args: [source] });
    drawn.push(...output.slice(0, output.indexOf("stderr: ")).trim().split("\n"));
  }
  expect(drawn).toHaveLength(4 * 700);
  expect(new Set(drawn).size).toBe(drawn.length);
});

test("the title: ps shows the command as its caller gave it", async () => {
  const { box: owned, scripts } = open();
  await using box = owned;
  const script = join(scripts, "title.ts");
  await box.serve();
  const warmly = await makeImage(box, warmCommand(box, script, []));
  const lines = (await warmly(ofJob)).split("\n");
  const said = Object.fromEntries(lines.slice(0, 5).map((line) => line.split(/: (.*)/s)));
  expect(said).toMatchObject({
    cmdline: JSON.stringify([script, ...ofJob.args, ""]),
    environ: JSON.stringify(["MARK=job"]),
    ps: JSON.stringify(["title.ts", `${script} job two words`]),
    child: JSON.stringify("cat\0/proc/self/cmdline\0"),
    title: JSON.stringify("bun"),
  });
});
