/** What is sent to a waiting client reaches its job, as it was sent. */
import { expect, test } from "bun:test";
import { constants } from "node:os";
import { childNamed, childrenOf } from "../helpers/process.ts";
import { ended, quoted, type Running, Sandbox } from "../helpers/sandbox.ts";
import { queue, send, signalPrinter } from "../helpers/signals.ts";
import { until } from "../helpers/wait.ts";

const { SIGALRM, SIGPIPE, SIGPROF, SIGUSR1 } = constants.signals;

/**
 * Not those that nobody can hold (KILL, STOP), glibc's own two, and those that Bun's threads take: faults and PWR.
 */
const notHeld: ReadonlySet<number> = new Set([9, 19, 32, 33, 4, 5, 6, 7, 8, 11, 30, 31]);
const held = Array.from({ length: 64 }, (_, index) => index + 1).filter(
  (number) => !notHeld.has(number),
);

/** A client whose job prints what it gets. */
async function startPrinter(box: Sandbox): Promise<Running> {
  const client = box.startPfc(["-w", ...signalPrinter], { stdin: "pipe" });
  await until("the job listens", () => client.stdout === "ready\n");
  return client;
}

test("all that can be held", async () => {
  await using box = new Sandbox();
  await box.serve();
  const client = await startPrinter(box);
  let expected = "ready\n";
  for (const number of held) {
    send(client.pid, number);
    expected += `${number} -\n`;
    await until(`signal ${number} arrives`, () => client.stdout === expected);
  }
  await client.closeInput();
  expect(await client.ended).toEqual(ended({ stdout: expected }));
});

test("those that are queued, with their values, and real-time ones as often as they were", async () => {
  await using box = new Sandbox();
  await box.serve();
  const client = await startPrinter(box);
  const values = [1n, 0xffff_ffff_ffff_ffffn, 0n, 0x1234_5678_9abc_def0n, 5n];
  for (const value of values) queue(client.pid, 40, value);
  queue(client.pid, 41, 6n);
  for (let count = 0; count < 3; count++) send(client.pid, 42);
  queue(client.pid, SIGUSR1, 7n);
  const lines = [...values.map((value) => `40 ${value}`), "41 6", "42 -", "42 -", "42 -", "10 7"];
  await until("all arrive", () => client.stdout.split("\n").length >= lines.length + 2);
  await client.closeInput();
  const { stdout, stderr, end } = await client.ended;
  expect(stdout.trimEnd().split("\n").slice(1).sort()).toEqual(lines.sort());
  // Of one number they come in the order in which they were sent.
  const fortieth = stdout.split("\n").filter((line) => line.startsWith("40 "));
  expect(fortieth).toEqual(values.map((value) => `40 ${value}`));
  expect({ stderr, end }).toEqual({ stderr: "", end: 0 });
});

test("but not what the kernel says of a child that the client has", async () => {
  await using box = new Sandbox();
  await box.serve();
  await box.bash("mkfifo gate");
  // The shell becomes the client, and leaves it a child.
  const command = `exec pfc -w --fd 0 ${signalPrinter.map(quoted).join(" ")}`;
  const client = box.start(["bash", "-c", `exec 3<>gate; read -u 3 & ${command}`], {
    stdin: "pipe",
  });
  await until("the job listens", () => client.stdout === "ready\n");
  await box.bash("echo >gate");
  await until("the child has ended", () =>
    childrenOf(client.pid).some(({ state }) => state === "Z"),
  );
  send(client.pid, SIGUSR1);
  await until("another arrives", () => client.stdout !== "ready\n");
  await client.closeInput();
  expect(await client.ended).toMatchObject({ stdout: `ready\n${SIGUSR1} -\n`, end: 0 });
});

test.each([
  { what: "an alarm", number: SIGALRM },
  { what: "a profiler", number: SIGPROF },
  { what: "a broken pipe", number: SIGPIPE },
  { what: "a real-time signal", number: 40 },
])("$what ends the job, and then the client, by the same signal", async ({ number }) => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const shell = box.start(["bash", "-c", "pfc -w sleep 1000; echo $?"]);
  await childNamed(daemon.pid, "sleep");
  const client = await childNamed(shell.pid, "pfc");
  send(client.pid, number);
  expect((await shell.ended).stdout).toBe(`${128 + number}\n`);
  expect((await box.status()).running).toBe(0);
});

test("a timer of the caller's, which exec leaves running, rings in the job", async () => {
  await using box = new Sandbox();
  await box.serve();
  const script = "perl -e 'alarm 2; exec @ARGV' pfc -w sleep 1000; echo $?";
  expect((await box.bash(script)).stdout).toBe(`${128 + SIGALRM}\n`);
});

test.each([
  { what: "PWR alone", mask: "30" },
  { what: "many and PWR", mask: "1, 2, 10, 30" },
  { what: "many without PWR", mask: "1, 2, 10" },
])("a caller that blocks $what has a job that does", async ({ mask }) => {
  await using box = new Sandbox();
  await box.serve();
  const block = `use POSIX; sigprocmask(SIG_BLOCK, POSIX::SigSet->new(${mask}))`;
  const start = "if (!fork) { exec @ARGV } wait; exit($? >> 8)";
  const script = `perl -e '${block}; ${start}' $VIA grep SigBlk /proc/self/status`;
  const direct = await box.bash(script, { env: { VIA: "" } });
  expect(direct.end).toBe(0);
  expect(await box.bash(script, { env: { VIA: "pfc -w" } })).toEqual(direct);
});
