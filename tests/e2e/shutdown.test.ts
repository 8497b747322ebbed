/** How a daemon ends: by a signal, by `prefork stop`, or because its socket was taken away. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { childNamed, isGone, processStat } from "../helpers/process.ts";
import { type Daemon, ended, type Running, Sandbox } from "../helpers/sandbox.ts";
import {
  type Answer,
  Descriptor,
  frame,
  Listener,
  Peer,
  runBody,
  wire,
} from "../helpers/seqpacket.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(30_000);

/** Ends with 7 a little after SIGTERM, and says so. */
const obedient = `
  trap 'echo terminated; exit 7' TERM
  echo ready
  while :; do read -t 0.02 _ <> pause; done`;
/** Does not end by SIGTERM. */
const deaf = `
  trap '' TERM
  echo ready
  while :; do read -t 0.02 _ <> pause; done`;

async function startJob(box: Sandbox, script: string): Promise<Running> {
  if (!existsSync(box.path("work/pause"))) await box.bash("mkfifo pause");
  const client = box.startPfc(["-w", "bash", "-c", script]);
  await until("the job is ready", () => client.stdout.includes("ready\n"));
  return client;
}

async function expectGone(box: Sandbox, daemon: Daemon): Promise<void> {
  expect(await daemon.process.exited).toBe(0);
  expect(readdirSync(box.runtime)).toEqual([]);
  expect(daemon.log()).toMatch(/ stopping: [^\n]+\n[\s\S]* info stopped\n$/);
}

describe.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)("%s", (signal) => {
  test("with no jobs: gone at once, with its files and 0", async () => {
    await using box = new Sandbox();
    const daemon = await box.serveWarm();
    const { image } = await box.status();
    daemon.process.kill(signal);
    await expectGone(box, daemon);
    await until("the image has left", () => isGone(image.pid));
  });

  test("with jobs: they get SIGTERM, and their clients hear how they ended", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const clients = await Promise.all([startJob(box, obedient), startJob(box, obedient)]);
    daemon.process.kill(signal);
    for (const client of clients) {
      expect(await client.ended).toEqual(ended({ stdout: "ready\nterminated\n", end: 7 }));
    }
    await expectGone(box, daemon);
  });
});

describe("SIGTERM to the daemon", () => {
  test("reaches the whole process group of a job", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const script = "sleep 1000 & echo $!; sleep 1000 & echo $!; echo ready; wait";
    const client = await startJob(box, script);
    const pids = client.stdout.split("\n").slice(0, 2).map(Number);
    daemon.process.kill("SIGTERM");
    expect((await client.ended).end).toBe("SIGTERM");
    for (const pid of pids) await until(`${pid} is gone`, () => isGone(pid));
    await expectGone(box, daemon);
  });

  test("reaches a job that is stopped", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const client = box.startPfc(["-w", "sleep", "1000"]);
    const job = await childNamed(daemon.pid, "sleep");
    process.kill(job.pid, "SIGSTOP");
    await until("it is stopped", () => processStat(job.pid)?.state === "T");
    daemon.process.kill("SIGTERM");
    expect((await client.ended).end).toBe("SIGTERM");
    await expectGone(box, daemon);
  });

  test("reaches a job nobody waits for", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    await box.bash("pfc sleep 1000 >/dev/null 2>&1");
    const job = await childNamed(daemon.pid, "sleep");
    daemon.process.kill("SIGTERM");
    await expectGone(box, daemon);
    expect(isGone(job.pid)).toBe(true);
  });

  test("a job that ignores it is killed after --grace", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve(["--grace", "0.5"]);
    const client = await startJob(box, deaf);
    const started = performance.now();
    daemon.process.kill("SIGTERM");
    expect(await client.ended).toEqual(ended({ stdout: "ready\n", end: "SIGKILL" }));
    expect(performance.now() - started).toBeGreaterThan(450);
    expect(daemon.log()).toMatch(/ warn the grace time is over: killing 1 jobs\n/);
    await expectGone(box, daemon);
  });

  test.each(["SIGTERM", "SIGINT"] as const)(
    "a second signal, %s, does not wait",
    async (second) => {
      await using box = new Sandbox();
      const daemon = await box.serve(["--grace", "1000"]);
      const client = await startJob(box, deaf);
      daemon.process.kill("SIGTERM");
      await until("it is stopping", () => daemon.log().includes("stopping"));
      daemon.process.kill(second);
      expect((await client.ended).end).toBe("SIGKILL");
      await expectGone(box, daemon);
    },
  );

  test("--grace 0: killed at once", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve(["--grace", "0"]);
    const client = await startJob(box, deaf);
    daemon.process.kill("SIGTERM");
    expect((await client.ended).end).toBe("SIGKILL");
    await expectGone(box, daemon);
  });

  test("new jobs are refused from then on, in one line and with 125", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve(["--grace", "1000"]);
    using early = Peer.connect(box.socketPath);
    early.send(frame(wire.ping));
    await early.answer();
    using waiting = Peer.connect(box.socketPath);
    const client = await startJob(box, deaf);
    daemon.process.kill("SIGTERM");
    await until("its name is gone", () => !existsSync(box.socketPath));
    const { stdout, stderr, end } = await box.pfc("-w", "true");
    expect(stderr).toMatch(/^pfc: no daemon: [^\n]+\n$/);
    expect({ stdout, end }).toEqual({ stdout: "", end: 125 });
    // Who had connected before is told.
    const body = new Uint8Array(4);
    waiting.send(frame(wire.run, body));
    const answer = await waiting.answer();
    if (answer !== "closed") expect(answer.type).toBe(wire.refused);
    daemon.process.kill("SIGTERM");
    expect((await client.ended).end).toBe("SIGKILL");
    await expectGone(box, daemon);
  });

  test("while clients come and go: each gets its result or one clear line", async () => {
    await using box = new Sandbox();
    const daemon = await box.serveWarm();
    const clients = Array.from({ length: 30 }, (_, index) =>
      index % 2 === 0 ? box.pfc("-w", "add", "1", "2") : box.pfc("-w", "echo", "3"),
    );
    await Promise.race(clients);
    daemon.process.kill("SIGTERM");
    for (const run of await Promise.all(clients)) {
      if (run.end === 125) {
        expect(run.stderr).toMatch(/^(pfc: ignoring [^\n]+\n)?pfc: [^\n]+\n$/);
        expect(run.stdout).toBe("");
      } else if (run.end !== "SIGTERM") expect(run).toEqual(ended({ stdout: "3\n" }));
    }
    await expectGone(box, daemon);
  });
});

describe("prefork stop", () => {
  test("returns when the daemon is gone", async () => {
    await using box = new Sandbox();
    await box.bash("pfd -d");
    const { pid } = await box.status();
    const { stdout, stderr, end } = await box.prefork("stop");
    expect(isGone(pid)).toBe(true);
    expect(readdirSync(box.runtime)).toEqual([]);
    expect(stdout).toBe(`stopped pfd (pid ${pid}); 0 jobs were running\n`);
    expect({ stderr, end }).toEqual({ stderr: "", end: 0 });
  });

  test("gives jobs their time, however long that is", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve(["--grace", "1000"]);
    const client = await startJob(
      box,
      "trap 'read _ < gate; exit 9' TERM; mkfifo gate; echo ready; while :; do read -t 0.02 _ <> pause; done",
    );
    const stop = box.start(["prefork", "stop"]);
    await until("it is stopping", () => daemon.log().includes("stopping"));
    expect(isGone(stop.pid)).toBe(false);
    await box.bash("echo > gate");
    expect((await client.ended).end).toBe(9);
    const { stdout, end } = await stop.ended;
    expect(stdout).toContain("; 1 jobs were running\n");
    expect(end).toBe(0);
    await expectGone(box, daemon);
  });

  test("--now kills them at once", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve(["--grace", "1000"]);
    const client = await startJob(box, deaf);
    expect((await box.prefork("stop", "--now")).end).toBe(0);
    expect(isGone(daemon.pid)).toBe(true);
    expect((await client.ended).end).toBe("SIGKILL");
    await expectGone(box, daemon);
  });

  test("twice at once: both return when it is gone", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const client = await startJob(box, obedient);
    const stops = await Promise.all([box.prefork("stop"), box.prefork("stop")]);
    for (const { end, stderr } of stops) {
      // The one that came second may have found nobody any more.
      if (end !== 0) expect(stderr).toMatch(/^prefork: (no daemon|the daemon)[^\n]+\n$/);
    }
    expect(stops.some(({ end }) => end === 0)).toBe(true);
    expect((await client.ended).end).toBe(7);
    await expectGone(box, daemon);
  });

  test("without a daemon: one line and 125", async () => {
    await using box = new Sandbox();
    const { stdout, stderr, end } = await box.prefork("stop");
    expect(stderr).toMatch(/^prefork: no daemon: [^\n]+\n$/);
    expect({ stdout, end }).toEqual({ stdout: "", end: 125 });
  });

  test("and start again, twenty times", async () => {
    await using box = new Sandbox();
    const script = "for n in {1..20}; do pfd -d && pfc -w add $n 1 && prefork stop || exit; done";
    const { stdout, stderr, end } = await box.bash(script);
    const sums = stdout.split("\n").filter((line) => /^\d+$/.test(line));
    expect({ stderr, end }).toEqual({ stderr: "", end: 0 });
    expect(sums).toEqual(Array.from({ length: 20 }, (_, index) => `${index + 2}`));
  });
});

describe("a socket that is taken away", () => {
  test("removed: the daemon drains and leaves", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const client = await startJob(box, obedient);
    rmSync(box.socketPath);
    expect(await client.ended).toEqual(ended({ stdout: "ready\nterminated\n", end: 7 }));
    expect(await daemon.process.exited).toBe(0);
    expect(daemon.log()).toContain("is not ours any more");
    expect(readdirSync(box.runtime)).toEqual([]);
  });

  test("replaced by another's: that one stays", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const other = box.path("other.sock");
    using _listener = Listener.at(other);
    const { ino } = statSync(other);
    renameSync(other, box.socketPath);
    expect(await daemon.process.exited).toBe(0);
    expect(statSync(box.socketPath).ino).toBe(ino);
  });

  test("replaced by a file: that one stays", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    writeFileSync(box.path("file"), "mine\n");
    renameSync(box.path("file"), box.socketPath);
    expect(await daemon.process.exited).toBe(0);
    expect(box.read("run/pfd.sock")).toBe("mine\n");
  });

  test("moved to another name: the daemon leaves, the name stays", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    renameSync(box.socketPath, `${box.socketPath}.moved`);
    expect(await daemon.process.exited).toBe(0);
    expect(existsSync(`${box.socketPath}.moved`)).toBe(true);
    rmSync(`${box.socketPath}.moved`);
  });

  test("with its whole directory: the daemon leaves", async () => {
    await using box = new Sandbox();
    await box.bash("mkdir gone");
    const daemon = await box.serve(["--socket", "gone/x.sock"]);
    rmSync(box.path("work/gone"), { recursive: true });
    expect(await daemon.process.exited).toBe(0);
    expect(readdirSync(box.work)).toEqual([]);
  });

  test("only touched: the daemon stays", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    await box.bash(`chmod 600 ${box.socketPath}; touch ${box.socketPath}`);
    expect(await box.pfc("-w", "add", "1", "2")).toEqual(ended({ stdout: "3\n" }));
    expect((await box.status()).pid).toBe(daemon.pid);
  });
});

test("all who have connected by then are answered, however many", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  daemon.process.kill("SIGSTOP");
  await until("it is stopped", () => processStat(daemon.pid)?.state === "T");
  using directory = Descriptor.open("/");
  // More than the daemon accepts in one turn; they wait in the kernel.
  const peers = Array.from({ length: 150 }, () => Peer.connect(box.socketPath));
  for (const peer of peers) {
    peer.send(frame(wire.run, runBody(["true"]), { fdCount: 1 }), [directory]);
  }
  daemon.process.kill("SIGTERM");
  daemon.process.kill("SIGCONT");
  // Who is accepted before the signal is read has a job, which is asked to end.
  const [first, ...others] = peers;
  const answer = (await first?.answer()) as Answer | undefined;
  expect(answer?.type === wire.accepted || answer?.type === wire.refused).toBe(true);
  first?.[Symbol.dispose]();
  for (const peer of others) {
    expect(await peer.answer()).toMatchObject({
      type: wire.refused,
      reason: "the daemon is stopping",
    });
    peer[Symbol.dispose]();
  }
  await expectGone(box, daemon);
});
