/** What `prefork status --images` tells of processes and their memory, held against /proc. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { isGone, processStat } from "../helpers/process.ts";
import { ended, type Running, Sandbox, type Status } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";
import { runUntilWarm, startWarm, untilSettled } from "../helpers/warm.ts";

setDefaultTimeout(60_000);

interface Memory {
  readonly privateKiB: number;
  readonly sharedKiB: number;
  readonly proportionalKiB: number;
}

interface Process {
  readonly pid: number;
  readonly memory?: Memory;
}

interface Fork extends Process {
  readonly role: string;
}

interface Image extends Process {
  readonly state: string;
  readonly spares: number;
  readonly forks: readonly Fork[];
}

interface Images {
  readonly image: Image;
  readonly images: readonly {
    readonly variants: readonly Image[];
    readonly orphans: readonly Fork[];
  }[];
}

async function imagesOf(box: Sandbox, ...words: string[]): Promise<Status & Images> {
  return (await box.status(...words)) as Status & Images;
}

function processesOf({ image, images }: Images): Process[] {
  const all = [image, ...images.flatMap(({ variants }) => variants)];
  const orphans = images.flatMap((script) => script.orphans);
  return [...all.flatMap((one) => [one, ...one.forks]), ...orphans];
}

/** All sizes in /proc/PID/smaps_rollup. See proc(5). */
function memoryOf(pid: number): Memory {
  const sizes = new Map<string, number>();
  for (const line of readFileSync(`/proc/${pid}/smaps_rollup`, "latin1").split("\n")) {
    const [, name, size] = /^(\w+): +(\d+) kB$/.exec(line) ?? [];
    if (name !== undefined) sizes.set(name, Number(size));
  }
  const sum = (...names: string[]): number =>
    names.reduce((total, name) => total + (sizes.get(name) ?? Number.NaN), 0);
  return {
    privateKiB: sum("Private_Clean", "Private_Dirty"),
    sharedKiB: sum("Shared_Clean", "Shared_Dirty"),
    proportionalKiB: sum("Pss"),
  };
}

/** The first process whose memory is told otherwise than it is. */
function misjudged(told: Images): string | undefined {
  for (const { pid, memory } of processesOf(told)) {
    const read = memoryOf(pid);
    for (const key of ["privateKiB", "sharedKiB", "proportionalKiB"] as const) {
      if (memory && isNear(memory[key], read[key])) continue;
      return `${pid}: ${JSON.stringify(memory)} is not near ${JSON.stringify(read)}`;
    }
  }
  return undefined;
}

/** Processes that share pages come and go meanwhile. */
function isNear(told: number, read: number): boolean {
  return Math.abs(told - read) <= Math.max(3 * 1024, read / 4);
}

const waiting = "process.stdin.on('data', () => process.exit());\nconsole.log('here');\n";

/** A daemon with a warm image of a script whose jobs end when they are sent something. */
async function withWarmScript(box: Sandbox): Promise<{ file: string; start: () => Running }> {
  const file = box.write("work/wait.ts", waiting);
  await box.serveWarm();
  const { isWarm, reason } = await runUntilWarm(box, async () => {
    const run = startWarm(box, file, [], { stdin: "pipe" });
    await run.write("end\n");
    return await run.ended;
  });
  if (!isWarm) throw new Error(`it does not run warm: ${reason}`);
  await untilSettled(box);
  return { file, start: () => startWarm(box, file, [], { stdin: "pipe" }) };
}

test("every process is listed with its memory, a job as long as it runs", async () => {
  await using box = new Sandbox();
  const { file, start } = await withWarmScript(box);
  const run = start();
  await until("the job runs", () => run.stdout === "here\n");
  let mistake: string | undefined;
  // A spare goes on copying pages for a while.
  const told = await until("there is a spare again, and all is told as it is", async () => {
    const report = await imagesOf(box, "--images");
    if (report.images[0]?.variants[0]?.spares !== 1) return false;
    mistake = misjudged(report);
    return mistake === undefined && report;
  }).catch((error) => {
    throw new Error(mistake, { cause: error });
  });

  const [variant] = told.images[0]?.variants ?? [];
  expect(told.image.forks).toEqual([]);
  expect(variant?.forks.map(({ role }) => role)).toEqual(["spare", "job"]);
  const processes = processesOf(told);
  expect(new Set(processes.map(({ pid }) => pid)).size).toBe(4);
  for (const { memory } of processes) {
    expect(memory?.proportionalKiB).toBeGreaterThanOrEqual(memory?.privateKiB ?? Number.NaN);
    expect(memory?.sharedKiB).toBeGreaterThan(1024);
  }

  const [spare, job] = variant?.forks ?? [];
  const pids = [told.image, variant, spare, job].map((process) => process?.pid);
  const sizes = String.raw` +\d+\.\d +\d+\.\d +\d+\.\d\n`;
  const { stdout, stderr } = await box.prefork("status", "--images");
  expect(stderr).toBe("");
  expect(stdout).toMatch(
    new RegExp(
      [
        String.raw`^ +pid +private MB +shared MB +PSS MB\nbase: ready\n`,
        `  image +${pids[0]}${sizes}${file}: ready\n`,
        `  image +${pids[1]}${sizes}  spare +${pids[2]}${sizes}  job +${pids[3]}${sizes}`,
        String.raw`  all +\d+\.\d +\d+\.\d\n$`,
      ].join(""),
    ),
  );

  const why = await box.prefork("why", "--json");
  const [asked] = (JSON.parse(why.stdout) as Images["images"])[0]?.variants ?? [];
  expect(asked?.pid).toBe(variant?.pid ?? 0);
  expect(asked?.memory?.privateKiB).toBeGreaterThan(1024);

  // Without being asked nobody looks into /proc, and a script has one line.
  const plain = await imagesOf(box);
  expect(processesOf(plain).map(({ pid }) => pid)).toEqual(processes.map(({ pid }) => pid));
  expect(processesOf(plain).filter(({ memory }) => memory)).toEqual([]);
  expect((await box.prefork("status")).stdout).toMatch(
    new RegExp(
      `^script +${file}: warm; images: 1, spares: 1; jobs: \\d+ warm \\(1 running\\), \\d+ cold$`,
      "m",
    ),
  );

  await run.write("end\n");
  expect(await run.ended).toEqual(ended({ stdout: "here\n" }));
  const after = await imagesOf(box, "--images");
  expect(processesOf(after).map(({ pid }) => pid)).not.toContain(job?.pid ?? 0);
  expect(isGone(job?.pid ?? 0)).toBe(true);
});

test("a job goes on without its image, and is told of", async () => {
  await using box = new Sandbox();
  const { file, start } = await withWarmScript(box);
  const first = start();
  await until("the job runs", () => first.stdout === "here\n");
  const [job] = (await imagesOf(box)).images[0]?.variants[0]?.forks.slice(-1) ?? [];
  expect(job?.role).toBe("job");

  box.write("work/wait.ts", `${waiting}// changed\n`);
  const second = start();
  await until("the other runs cold", () => second.stdout === "here\n");
  const [script] = (await imagesOf(box, "--images")).images;
  expect(script?.variants).toEqual([]);
  expect(script?.orphans).toMatchObject([{ role: "job", pid: job?.pid }]);
  expect(script?.orphans[0]?.memory?.privateKiB).toBeGreaterThan(1024);
  const { stdout } = await box.prefork("status", "--images");
  expect(stdout).toMatch(new RegExp(`\n${file}: image let go\n  job +${job?.pid} `));

  await first.write("end\n");
  await first.ended;
  expect((await imagesOf(box)).images[0]?.orphans).toEqual([]);
  await second.write("end\n");
  await second.ended;
});

test("a job that has become another program is no part of its image", async () => {
  await using box = new Sandbox();
  await box.serveWarm();
  const run = box.start(["nice", "-n", "3", "pfc", "-w", "sh", "-c", "echo $$; read line"], {
    stdin: "pipe",
  });
  const pid = Number(await until("it runs", () => /^\d+\n/.exec(run.stdout)?.[0]));
  expect(processStat(pid)?.name).toBe("sh");
  const { image, running } = await imagesOf(box);
  expect(running).toBe(1);
  expect(image.forks.filter(({ role }) => role === "job")).toEqual([]);
  await run.closeInput();
  await run.ended;
});
