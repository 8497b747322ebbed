/** Many `add` at once and one after the other, while their images are killed and stopped: each runs once, and none is lost. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  childNamed,
  childrenOf,
  isGone,
  processStat,
  signalProcess,
  statusField,
  zombiesOf,
} from "../helpers/process.ts";
import { binary, ended, Sandbox } from "../helpers/sandbox.ts";
import { concurrently, until } from "../helpers/wait.ts";

setDefaultTimeout(600_000);

const jobs = Array.from({ length: 200 }, (_, n) => n);
const sum = ended({ stdout: "3\n" });

async function addTo(box: Sandbox, n: number): Promise<void> {
  const result = await box.pfc("-w", "add", `${n}`, "0.5");
  expect({ n, ...result }).toEqual({ n, ...ended({ stdout: `${n}.5\n` }) });
}

function imagesOf(daemon: number): number[] {
  return childrenOf(daemon)
    .filter(({ name }) => name === "pfd-image")
    .map(({ pid }) => pid);
}

/** Calls `work` while images are killed and stopped, in turns. @returns how many were. */
async function whileStriking(daemon: number, work: () => Promise<unknown>): Promise<number> {
  let [struck, isOver] = [0, false];
  const strikes = (async () => {
    while (!isOver) {
      const [image] = imagesOf(daemon);
      if (image !== undefined && signalProcess(image, struck % 2 === 0 ? "SIGKILL" : "SIGSTOP")) {
        struck += 1;
      }
      await Bun.sleep(50);
    }
  })();
  await work();
  isOver = true;
  await strikes;
  return struck;
}

/** Holds up a job of `add` in its write: the pipe is full. @returns how to let it go, which gives its result. */
async function heldUp(box: Sandbox, daemon: number, name = "full", others = new Set<number>()) {
  const script = `exec 3<>${name}; head -c 65536 /dev/zero >&3
    pfc -w add 1 2 >&3 & read; head -c 65536 ${name} > /dev/null; wait $!`;
  await box.bash(`mkfifo ${name}`);
  const shell = box.start(["bash", "-c", script], { stdin: "pipe", env: { SHOWN: "of the job" } });
  const pid = await until(
    "the job runs",
    () => childrenOf(daemon).find((child) => child.name === "add" && !others.has(child.pid))?.pid,
  );
  return {
    pid,
    go: async () => {
      await shell.closeInput();
      return await shell.ended;
    },
  };
}

test("200 at once, on processors that are busy: none runs cold", async () => {
  await using box = new Sandbox();
  const daemon = await box.serveWarm();
  const busy = [0, 1].map(() => box.start(["bash", "-c", "while :; do :; done"]));
  await Promise.all(jobs.map((n) => addTo(box, n)));
  for (const one of busy) one.kill("SIGKILL");
  expect(daemon.log()).not.toMatch(/ (warn|error) /);
  expect(await box.status()).toMatchObject({ done: 200, failed: 0, image: { served: 200 } });
  await until("one image waits", async () => (await box.status()).image.spares === 1);
});

test("200 at once right after the daemon has begun wait for the image, and none runs cold", async () => {
  await using box = new Sandbox();
  await box.serve();
  await Promise.all(jobs.map((n) => addTo(box, n)));
  expect(await box.status()).toMatchObject({ done: 200, failed: 0, image: { served: 200 } });
});

test.each([
  { what: "at once", atOnce: 200 },
  { what: "one after the other", atOnce: 1 },
])("200 $what, while images are killed and stopped", async ({ atOnce }) => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const struck = await whileStriking(daemon.pid, () =>
    concurrently(jobs, atOnce, (n) => addTo(box, n)),
  );
  expect(struck).toBeGreaterThan(0);
  expect(await box.status()).toMatchObject({ done: 200, failed: 0, running: 0 });
  await until("no zombie", () => zombiesOf(daemon.pid).length === 0);
});

test("a job is a process of its own: number, group, parent, name and words", async () => {
  await using box = new Sandbox();
  const daemon = await box.serveWarm();
  const { image } = await box.status();
  const job = await heldUp(box, daemon.pid);
  expect(job.pid).not.toBe(image.pid);
  expect(processStat(job.pid)).toMatchObject({ name: "add", parent: daemon.pid, group: job.pid });
  const shown = (pid: number, what: string): string[] =>
    readFileSync(`/proc/${pid}/${what}`, "latin1").split("\0");
  await until("its words are its own", () => shown(job.pid, "cmdline")[0] === "add");
  expect(shown(job.pid, "cmdline")).toEqual(["add", "1", "2", ""]);
  expect(shown(job.pid, "environ")).toContain("SHOWN=of the job");
  expect(await job.go()).toEqual(ended());
  expect(shown(image.pid, "cmdline")).toEqual(["pfd-image", "base", ""]);
});

test("a job that is held up holds up no other: another image is made, and let go later", async () => {
  await using box = new Sandbox();
  const daemon = await box.serveWarm();
  const job = await heldUp(box, daemon.pid);
  expect(await box.pfc("-w", "add", "1", "2")).toEqual(sum);
  expect(imagesOf(daemon.pid)).toHaveLength(2);
  expect(await job.go()).toEqual(ended());
  await until("one is let go", async () => {
    await box.pfc("-w", "add", "1", "2");
    return imagesOf(daemon.pid).length === 1;
  });
});

test("when many are held up, what comes then runs in a process of its own", async () => {
  await using box = new Sandbox();
  const daemon = await box.serveWarm(["--log-level", "debug"]);
  const held: Awaited<ReturnType<typeof heldUp>>[] = [];
  for (const name of ["a", "b", "c", "d", "e", "f"]) {
    held.push(await heldUp(box, daemon.pid, name, new Set(held.map(({ pid }) => pid))));
  }
  expect(await box.pfc("-w", "add", "1", "2")).toEqual(sum);
  expect(imagesOf(daemon.pid).length).toBeLessThanOrEqual(4);
  expect(daemon.log()).toContain("starts cold: no image serves");
  for (const job of held) expect(await job.go()).toEqual(ended());
  expect(await box.status()).toMatchObject({ running: 0, done: 7, failed: 0 });
});

test.each(["SIGKILL", "SIGTERM", "SIGSEGV"] as const)(
  "%s to a job ends that job only, whatever it was at",
  async (signal) => {
    await using box = new Sandbox();
    const daemon = await box.serveWarm();
    // A sum that takes a while.
    const digits = "7".repeat(120_000);
    const words = Array.from({ length: 14 }, (_, n) => `${"0.".repeat(n % 2)}${digits}`);
    writeFileSync(box.path("words"), words.join(" "));
    for (let round = 0; round < 3; round++) {
      const client = box.start([
        "bash",
        "-c",
        `exec pfc -w add $(cat ${box.path("words")}) >/dev/null`,
      ]);
      const { pid } = await childNamed(daemon.pid, "add");
      signalProcess(pid, signal);
      expect((await client.ended).end).toBe(signal);
      expect(await box.pfc("-w", "add", "1", "2")).toEqual(sum);
    }
    await until("no zombie", () => zombiesOf(daemon.pid).length === 0);
    expect(existsSync(`/proc/${daemon.pid}`)).toBe(true);
  },
);

test("a job that nobody reads ends by SIGPIPE, and its image serves on", async () => {
  await using box = new Sandbox();
  await box.serveWarm();
  const { image } = await box.status();
  for (let round = 0; round < 5; round++) {
    // The reader is gone before the job writes.
    const script = `exec 3> >(exec 0<&-); wait $!; pfc -w add 1 2 >&3; echo $?`;
    expect(await box.bash(script)).toMatchObject({ stdout: "141\n" });
  }
  expect((await box.untilWarm()).image.pid).toBe(image.pid);
});

test("what a job sets of the memory it borrows does not stay", async () => {
  await using box = new Sandbox();
  await box.serveWarm();
  const { image } = await box.status();
  const filter = (): string => readFileSync(`/proc/${image.pid}/coredump_filter`, "latin1");
  const before = filter();
  const script =
    "echo 0x7f > /proc/self/coredump_filter; ulimit -c 0; umask 077; cd /; exec pfc -w add 1 2";
  expect(await box.bash(script)).toEqual(sum);
  expect(filter()).toBe(before);
  expect(statusField(image.pid, "Umask")).not.toBe("0077");
  expect(await box.pfc("-w", "add", "1", "2")).toEqual(sum);
  expect((await box.status()).image.pid).toBe(image.pid);
});

test("a job that was stopped goes on when it is continued", async () => {
  await using box = new Sandbox();
  const daemon = await box.serveWarm();
  const job = await heldUp(box, daemon.pid);
  signalProcess(job.pid, "SIGSTOP");
  await until("it is stopped", () => processStat(job.pid)?.state === "T");
  expect(await box.pfc("-w", "add", "1", "2")).toEqual(sum);
  signalProcess(job.pid, "SIGCONT");
  expect(await job.go()).toEqual(ended());
  await until("it is gone", () => isGone(job.pid));
});

test("without a head each job is a fresh process, and its result the same", async () => {
  await using box = new Sandbox();
  const headless = `${binary}-without-head`;
  rmSync(join(box.bin, "pfd"));
  symlinkSync(existsSync(headless) ? headless : binary, join(box.bin, "pfd"));
  const daemon = await box.serve();
  expect(await box.pfc("-w", "add", "1", "2")).toEqual(sum);
  expect(await box.pfc("-w", "add", "x")).toEqual(
    ended({ stderr: "add: 'x' is not a number\n", end: 1 }),
  );
  expect(await box.status()).toMatchObject({
    done: 1,
    failed: 1,
    image: { state: "down", pid: 0 },
  });
  expect(imagesOf(daemon.pid)).toEqual([]);
});
