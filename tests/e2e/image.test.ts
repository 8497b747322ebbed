/** What becomes of jobs and daemon when an image or one of its spares dies, hangs or is slow. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import {
  childNamed,
  childrenOf,
  descriptorCount,
  isGone,
  processStat,
  statusField,
  zombiesOf,
} from "../helpers/process.ts";
import { ended, Sandbox, type Status } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(40_000);

/** The spares of a daemon: forked children of the image, which are the daemon's own. */
function sparesOf({ pid, image }: Status): number[] {
  return childrenOf(pid)
    .filter((child) => child.name === "pfd-image" && child.pid !== image.pid)
    .map((child) => child.pid);
}

const sum = ended({ stdout: "3\n" });

test("an image and a spare are one-thread processes of the daemon", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const status = await box.untilWarm();
  const [spare = 0] = sparesOf(status);
  for (const pid of [daemon.pid, status.image.pid, spare]) {
    expect(statusField(pid, "Threads")).toBe("1");
  }
  expect(processStat(status.image.pid)?.name).toBe("pfd-image");
  expect(processStat(status.image.pid)?.parent).toBe(daemon.pid);
  expect(processStat(spare)?.parent).toBe(daemon.pid);
});

test("a job of an image is shown as its command", async () => {
  await using box = new Sandbox();
  const daemon = await box.serveWarm();
  // The pipe is full, so that the job cannot end before somebody reads.
  const script = `mkfifo full; exec 3<>full; head -c 65536 /dev/zero >&3
    pfc -w add 1 2 >&3 & read; head -c 65536 full > /dev/null; wait $!`;
  const shell = box.start(["bash", "-c", script], { stdin: "pipe", env: { SHOWN: "of the job" } });
  const { pid } = await childNamed(daemon.pid, "add");
  const shown = (what: string): string[] =>
    readFileSync(`/proc/${pid}/${what}`, "latin1").split("\0");
  await until("its words are its own", () => shown("cmdline")[0] === "add");
  expect(shown("cmdline")).toEqual(["add", "1", "2", ""]);
  expect(shown("environ")).toContain("SHOWN=of the job");
  await shell.closeInput();
  expect(await shell.ended).toEqual(ended());
});

test("killed: the daemon says so, starts another, and jobs are right all along", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve(["--log-level", "debug"]);
  const before = await box.untilWarm();
  process.kill(before.image.pid, "SIGKILL");
  const commands = [...Array.from({ length: 8 }, () => ["add", "1", "2"]), ["echo", "3"]];
  const runs = await Promise.all(commands.map((command) => box.pfc("-w", ...command)));
  expect(runs).toEqual(runs.map(() => sum));
  const after = await box.untilWarm();
  expect(after.image.pid).not.toBe(before.image.pid);
  expect(after.pid).toBe(daemon.pid);
  expect({ done: after.done, failed: after.failed }).toEqual({ done: 9, failed: 0 });
  expect(daemon.log()).toMatch(/ error [^\n]*image base [^\n]*died/);
  expect(daemon.log().match(/image base is ready/g)).toHaveLength(2);
  await until("nothing is left of the old one", () => sparesOf(after).length === 1);
  expect(zombiesOf(daemon.pid)).toEqual([]);
});

test("killed again and again: each time later, and the daemon never gives up", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  let last = 0;
  const fds: number[] = [];
  for (let round = 0; round < 6; round++) {
    const { image } = await box.untilWarm();
    expect(image.pid).not.toBe(last);
    last = image.pid;
    fds.push(descriptorCount(daemon.pid));
    process.kill(image.pid, "SIGKILL");
    expect(await box.pfc("-w", "add", "1", "2")).toEqual(sum);
    await until("the daemon knows", () => isGone(last));
  }
  await box.untilWarm();
  expect(fds).toEqual(fds.map(() => fds[0] ?? -1)); // none leaked
  expect(daemon.log()).toMatch(/starting the image base again in \d+ ms/);
});

test("an image that is stopped is replaced, and jobs run cold meanwhile", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const before = await box.untilWarm();
  process.kill(before.image.pid, "SIGSTOP");
  const runs = await Promise.all(Array.from({ length: 3 }, () => box.pfc("-w", "add", "1", "2")));
  expect(runs).toEqual([sum, sum, sum]);
  const after = await box.untilWarm();
  expect(after.image.pid).not.toBe(before.image.pid);
  expect(daemon.log()).toContain("was stopped by SIGSTOP");
  expect(isGone(before.image.pid)).toBe(true);
});

test.each(["SIGSTOP", "SIGKILL"] as const)(
  "%s to the spare costs another spare, and no job",
  async (signal) => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const status = await box.untilWarm();
    const [spare = 0] = sparesOf(status);
    process.kill(spare, signal);
    expect(await box.pfc("-w", "add", "1", "2")).toEqual(sum);
    await until("it is gone", () => isGone(spare));
    const after = await box.untilWarm();
    expect(after.image.pid).toBe(status.image.pid);
    expect(after).toMatchObject({ running: 0, done: 1, failed: 0 });
    await until("no zombie", () => zombiesOf(daemon.pid).length === 0);
  },
);

test("spares that are killed, one after the other, do not count against their image", async () => {
  await using box = new Sandbox();
  await box.serve();
  const { image } = await box.untilWarm();
  for (let round = 0; round < 6; round++) {
    const [spare = 0] = sparesOf(await box.untilWarm());
    process.kill(spare, "SIGKILL");
    await until("it is gone", () => isGone(spare));
  }
  expect(await box.pfc("-w", "add", "1", "2")).toEqual(sum);
  expect((await box.untilWarm()).image.pid).toBe(image.pid);
});

test("a client that leaves before its spare has started", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const [spare = 0] = sparesOf(await box.untilWarm());
  // It gets the job before the daemon learns that it is stopped.
  process.kill(daemon.pid, "SIGSTOP");
  process.kill(spare, "SIGSTOP");
  const client = box.startPfc(["-w", "add", "1", "2"]);
  await until("the client waits", () => processStat(client.pid)?.state === "S");
  client.kill("SIGKILL");
  await client.exited;
  process.kill(daemon.pid, "SIGCONT");
  await until("the job is over", async () => (await box.status()).running === 0);
  await until("the spare is gone", () => isGone(spare));
  expect(await box.pfc("-w", "add", "1", "2")).toEqual(sum);
  await until("no zombie", () => zombiesOf(daemon.pid).length === 0);
});

test("an idle spare that dies is replaced", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const [spare = 0] = sparesOf(await box.untilWarm());
  process.kill(spare, "SIGKILL");
  await until("another spare waits", async () => {
    const [next] = sparesOf(await box.status());
    return next !== undefined && next !== spare;
  });
  expect(daemon.log()).toMatch(/ warn [^\n]*spare \d+ [^\n]*died/);
  expect(await box.pfc("-w", "add", "1", "2")).toEqual(sum);
});

test("a running job does not depend on its image", async () => {
  await using box = new Sandbox();
  await box.serve();
  const { image } = await box.untilWarm();
  // It blocks in its write until somebody reads.
  const script = `pfc -w add ${"1".repeat(100_000)} | { read -n 1 _; echo go >&2; read _ <gate; wc -c; }`;
  await box.bash("mkfifo gate");
  const client = box.start(["bash", "-c", script]);
  await until("the job writes", () => client.stderr.includes("go"));
  process.kill(image.pid, "SIGKILL");
  await box.untilWarm();
  await box.bash("echo > gate");
  expect((await client.ended).stdout).toBe("100000\n"); // one was read before
});

test("an image whose daemon is killed leaves, and its spares do", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const status = await box.untilWarm();
  const spares = sparesOf(status);
  expect(spares.length).toBeGreaterThan(0);
  daemon.process.kill("SIGKILL");
  await daemon.process.exited;
  for (const pid of [status.image.pid, ...spares]) await until(`${pid} leaves`, () => isGone(pid));
});

test("jobs right after the daemon's start are right, warm or not", async () => {
  await using box = new Sandbox();
  for (let round = 0; round < 5; round++) {
    const daemon = await box.serve();
    const runs = await Promise.all(Array.from({ length: 4 }, () => box.pfc("-w", "add", "1", "2")));
    expect(runs).toEqual([sum, sum, sum, sum]);
    daemon.process.kill("SIGTERM");
    expect(await daemon.process.exited).toBe(0);
  }
});
