/** `add`: a command that runs in a process forked out of the warm image. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { childNamed, processStat } from "../helpers/process.ts";
import { type Ended, ended, Sandbox } from "../helpers/sandbox.ts";
import { Descriptor } from "../helpers/seqpacket.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(30_000);

const big = "123456789".repeat(20);
/** One line for each word, whatever is in it. */
const notNumbers = (...words: string[]): Partial<Ended> => ({
  stderr: words.map((word) => `add: '${word}' is not a number\n`).join(""),
  end: 1,
});

const cases: [args: string[], expected: Partial<Ended>][] = [
  [[], { stdout: "0\n" }],
  [["1", "2"], { stdout: "3\n" }],
  [["0"], { stdout: "0\n" }],
  [["-1", "-2", "3"], { stdout: "0\n" }],
  [["+5", "-7"], { stdout: "-2\n" }],
  [["0.1", "0.2"], { stdout: "0.3\n" }],
  [["0.5", "0.5"], { stdout: "1\n" }],
  [["1.10", "2"], { stdout: "3.1\n" }],
  [["-0.25", ".25"], { stdout: "0\n" }],
  [["-0.001"], { stdout: "-0.001\n" }],
  [["5.", ".5"], { stdout: "5.5\n" }],
  [["007", "-0"], { stdout: "7\n" }],
  [["9007199254740993", "0"], { stdout: "9007199254740993\n" }],
  [[big, big], { stdout: `${BigInt(big) * 2n}\n` }],
  [[`-${big}`, big], { stdout: "0\n" }],
  [["1e-1000".replace("e-1000", `.${"0".repeat(1000)}1`)], { stdout: `1.${"0".repeat(1000)}1\n` }],
  [["99999999999999999999.9", "0.1"], { stdout: "100000000000000000000\n" }],
  [["x"], notNumbers("x")],
  [["1", "x", "2", "y"], notNumbers("x", "y")],
  [[""], notNumbers("")],
  [["."], notNumbers(".")],
  [["-"], notNumbers("-")],
  [["--help"], notNumbers("--help")],
  [["--", "1"], notNumbers("--")],
  [["1e3"], notNumbers("1e3")],
  [["0x10"], notNumbers("0x10")],
  [["1 "], notNumbers("1 ")],
  [["1,5"], notNumbers("1,5")],
  [["1.2.3"], notNumbers("1.2.3")],
  [["NaN", "Infinity"], notNumbers("NaN", "Infinity")],
  [["1\n"], notNumbers("1\\n")],
  [["ü", "١"], notNumbers("\xc3\xbc", "\xd9\xa1")],
];

describe("warm, in a fork of the image", () => {
  let box: Sandbox;
  beforeAll(async () => {
    box = new Sandbox();
    await box.serveWarm();
  });
  afterAll(async () => await box[Symbol.asyncDispose]());

  test.each(cases)("add %j", async (args, expected) => {
    expect(await box.pfc("-w", "add", ...args)).toEqual(ended(expected));
  });

  test("all of them ran in the image", async () => {
    const before = await box.untilWarm();
    for (let count = 0; count < 5; count++) await box.pfc("-w", "add", "1");
    const after = await box.status();
    expect(after.image.served - before.image.served).toBe(5);
    expect(after.image.pid).toBe(before.image.pid);
    expect(after.image.served).toBeGreaterThanOrEqual(cases.length);
  });
});

test("2,000 numbers, and a sum of 200,000 digits", async () => {
  await using box = new Sandbox();
  await box.serveWarm();
  const numbers = Array.from({ length: 2000 }, (_, index) => `${index}.5`);
  expect(await box.pfc("-w", "add", ...numbers)).toEqual(ended({ stdout: "2000000\n" }));
  const nines = "9".repeat(100_000);
  const run = await box.pfc("-w", "add", nines, "1");
  expect(run.stdout === `1${"0".repeat(100_000)}\n`).toBe(true);
  expect({ stderr: run.stderr, end: run.end }).toEqual({ stderr: "", end: 0 });
});

test("it is the daemon's child, and not the image itself", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const { image } = await box.untilWarm();
  const [readEnd, writeEnd] = Descriptor.pipe();
  const client = box.startPfc(["-w", "add", "9".repeat(100_000)], { stdout: writeEnd.number });
  const job = await childNamed(daemon.pid, "add"); // it waits for room in the pipe
  expect(job.pid).not.toBe(image.pid);
  expect(processStat(job.pid)?.parent).toBe(daemon.pid);
  expect((await box.status()).running).toBe(1);
  client.kill("SIGTERM");
  expect(await client.exited).toBe("SIGTERM");
  readEnd[Symbol.dispose]();
  writeEnd[Symbol.dispose]();
});

describe("where nothing can be written", () => {
  test("to a closed stdout: a complaint and 1", async () => {
    await using box = new Sandbox();
    await box.serveWarm();
    const { stdout, stderr, end } = await box.bash("pfc -w add 1 2 >&-");
    expect(stderr).toMatch(/^add: cannot write: [^\n]*bad file descriptor\n$/);
    expect({ stdout, end }).toEqual({ stdout: "", end: 1 });
  });

  test("to a full device: a complaint and 1", async () => {
    await using box = new Sandbox();
    await box.serveWarm();
    const { stdout, stderr, end } = await box.bash("pfc -w add 1 2 >/dev/full");
    expect(stderr).toMatch(/^add: cannot write: [^\n]*no space left[^\n]*\n$/);
    expect({ stdout, end }).toEqual({ stdout: "", end: 1 });
  });

  test("to a pipe nobody reads: death by SIGPIPE, as of any program", async () => {
    await using box = new Sandbox();
    await box.serveWarm();
    await box.bash("mkfifo fifo");
    const run = await box.bash("exec 5<>fifo 6>fifo 5<&-; pfc -w add 1 2 >&6; kill -l $?");
    expect(run).toEqual(ended({ stdout: "PIPE\n" }));
  });

  test("complaints to a closed stderr: still 1", async () => {
    await using box = new Sandbox();
    await box.serveWarm();
    expect(await box.bash("pfc -w add x 2>&-")).toEqual(ended({ end: 1 }));
  });
});

test("a slow reader gets all of it", async () => {
  await using box = new Sandbox();
  await box.serveWarm();
  const run = await box.bash(`pfc -w add ${"1".repeat(100_000)} | { sleep 0.2; wc -c; }`);
  expect(run).toEqual(ended({ stdout: "100001\n" }));
});

test("many at once each get their own sum", async () => {
  await using box = new Sandbox();
  await box.serveWarm();
  const runs = await Promise.all(
    Array.from({ length: 40 }, (_, index) => box.pfc("-w", "add", `${index}`, "0.5")),
  );
  expect(runs).toEqual(runs.map((_, index) => ended({ stdout: `${index}.5\n` })));
  await until("they are over", async () => (await box.status()).running === 0);
});
