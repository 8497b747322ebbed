/** What becomes of jobs and daemon when the image of the built-in commands dies, hangs or is slow. */
import { expect, setDefaultTimeout, test } from "bun:test";
import {
  descriptorCount,
  isGone,
  processStat,
  statusField,
  zombiesOf,
} from "../helpers/process.ts";
import { ended, Sandbox } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(40_000);

const sum = ended({ stdout: "3\n" });

test("an image is a one-thread process of the daemon", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const { image } = await box.untilWarm();
  for (const pid of [daemon.pid, image.pid]) expect(statusField(pid, "Threads")).toBe("1");
  expect(processStat(image.pid)).toMatchObject({ name: "pfd-image", parent: daemon.pid });
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
  expect(daemon.log()).toMatch(/ warn [^\n]*image base [^\n]*died/);
  expect(daemon.log().match(/image base is ready/g)).toHaveLength(2);
  expect(isGone(before.image.pid)).toBe(true);
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
  expect(daemon.log().match(/image base \d+ has died/g)).toHaveLength(6);
});

test("an image that is stopped is replaced, and jobs are right meanwhile", async () => {
  await using box = new Sandbox();
  await box.serve();
  const before = await box.untilWarm();
  process.kill(before.image.pid, "SIGSTOP");
  const runs = await Promise.all(Array.from({ length: 3 }, () => box.pfc("-w", "add", "1", "2")));
  expect(runs).toEqual([sum, sum, sum]);
  const after = await box.untilWarm();
  expect(after.image.pid).not.toBe(before.image.pid);
  expect(isGone(before.image.pid)).toBe(true);
});

test("an idle image that dies is replaced", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const { image } = await box.untilWarm();
  process.kill(image.pid, "SIGKILL");
  await until("another waits", async () => {
    const next = (await box.status()).image;
    return next.state === "ready" && next.pid !== image.pid;
  });
  expect(daemon.log()).toMatch(/ warn [^\n]*image base \d+ has died/);
  expect(await box.pfc("-w", "add", "1", "2")).toEqual(sum);
});

test("a client that leaves before its job has begun", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const { image } = await box.untilWarm();
  // It gets the job before the daemon learns that it is stopped.
  process.kill(daemon.pid, "SIGSTOP");
  process.kill(image.pid, "SIGSTOP");
  const client = box.startPfc(["-w", "add", "1", "2"]);
  await until("the client waits", () => processStat(client.pid)?.state === "S");
  client.kill("SIGKILL");
  await client.exited;
  process.kill(daemon.pid, "SIGCONT");
  await until("the job is over", async () => (await box.status()).running === 0);
  await until("the image is gone", () => isGone(image.pid));
  expect(await box.pfc("-w", "add", "1", "2")).toEqual(sum);
  await until("no zombie", () => zombiesOf(daemon.pid).length === 0);
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

test("an image whose daemon is killed leaves", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const { image } = await box.untilWarm();
  daemon.process.kill("SIGKILL");
  await daemon.process.exited;
  await until("it leaves", () => isGone(image.pid));
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
