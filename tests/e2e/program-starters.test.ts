/**
 * Starters of programs that hang, are stopped or are killed, with whatever they are made of: it costs the jobs of others
 * nothing, and their own as little as can be.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { copyFileSync, existsSync } from "node:fs";
import { childrenOf, descriptorCount, signalProcess, zombiesOf } from "../helpers/process.ts";
import { type Daemon, ended, Sandbox } from "../helpers/sandbox.ts";
import { Descriptor, frame, Peer, runBody, sys, wire } from "../helpers/seqpacket.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(120_000);

/** See fcntl(2). */
const F_SETSIG = 10;
const F_SETLEASE = 1024;
const F_WRLCK = 1;
const F_UNLCK = 2;
const SIGURG = 23;

/** A program on which we hold a lease: who executes it waits until we give it back, or for 45 seconds. */
class LeasedProgram implements Disposable {
  readonly path: string;
  readonly #file: Descriptor;

  constructor(box: Sandbox) {
    this.path = box.path("work", "leased");
    copyFileSync("/bin/true", this.path);
    this.#file = Descriptor.open(this.path);
    // We are told by a signal that does nothing.
    expect(sys.fcntl(this.#file.number, F_SETSIG, SIGURG)).toBe(0);
    expect(sys.fcntl(this.#file.number, F_SETLEASE, F_WRLCK)).toBe(0);
  }

  giveBack(): void {
    expect(sys.fcntl(this.#file.number, F_SETLEASE, F_UNLCK)).toBe(0);
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/** The starters that the daemon has. A copy of one that is about to become a program has the same name, and is a job's. */
function startersOf({ pid, log }: Daemon): number[] {
  const made = new Set(
    [...log().matchAll(/the starter (\d+) waits/g)].map(([, made]) => Number(made)),
  );
  return childrenOf(pid).flatMap((child) => (made.has(child.pid) ? [child.pid] : []));
}

/** Whether a job is about to be executed. */
function isBecoming(daemon: Daemon): boolean {
  const starters = startersOf(daemon);
  return childrenOf(daemon.pid).some(
    ({ pid, name }) => name === "pfd-starter" && !starters.includes(pid),
  );
}

async function expectAtRest(daemon: Daemon, before: number): Promise<void> {
  await until("one starter waits", () => startersOf(daemon).length === 1);
  await until("its descriptors are as before", () => descriptorCount(daemon.pid) === before);
  expect(zombiesOf(daemon.pid)).toEqual([]);
}

async function serve(box: Sandbox): Promise<{ daemon: Daemon; before: number }> {
  const daemon = await box.serveWarm(["--log-level", "debug"]);
  await box.pfc("-w", "true");
  await until("one starter waits", () => startersOf(daemon).length === 1);
  await until("nothing is to be done", async () => (await box.status()).running === 0);
  return { daemon, before: descriptorCount(daemon.pid) };
}

test("an exec that hangs holds up its own job, and nobody else's", async () => {
  await using box = new Sandbox();
  const { daemon, before } = await serve(box);
  using leased = new LeasedProgram(box);
  const hung = box.startPfc(["-w", leased.path]);
  await until("it hangs", () => isBecoming(daemon));
  const others = await box.bash("seq 100 | xargs -P 8 -n 1 pfc -w echo | sort -n");
  expect(others).toEqual(
    ended({ stdout: Array.from({ length: 100 }, (_, n) => `${n + 1}\n`).join("") }),
  );
  expect((await box.prefork("ping")).end).toBe(0);
  expect((await box.status()).running).toBe(1);
  leased.giveBack();
  expect(await hung.ended).toEqual(ended());
  await expectAtRest(daemon, before);
});

test("a starter that is killed while its job hangs in exec: the job goes on", async () => {
  await using box = new Sandbox();
  const { daemon, before } = await serve(box);
  using leased = new LeasedProgram(box);
  const [starter = 0] = startersOf(daemon);
  const hung = box.startPfc(["-w", leased.path]);
  await until("it hangs", () => isBecoming(daemon));
  expect(signalProcess(starter, "SIGKILL")).toBe(true);
  expect(await box.pfc("-w", "echo", "served")).toEqual(ended({ stdout: "served\n" }));
  leased.giveBack();
  expect(await hung.ended).toEqual(ended());
  await expectAtRest(daemon, before);
});

test.each(["SIGKILL", "SIGSTOP"] as const)(
  "an idle starter that gets %s costs nothing",
  async (signal) => {
    await using box = new Sandbox();
    const { daemon, before } = await serve(box);
    for (let round = 0; round < 10; round++) {
      for (const pid of startersOf(daemon)) signalProcess(pid, signal);
      expect(await box.pfc("-w", "echo", `${round}`)).toEqual(ended({ stdout: `${round}\n` }));
    }
    await expectAtRest(daemon, before);
  },
);

test.each(["SIGKILL", "SIGSTOP"] as const)(
  "starters that get %s at any moment lose no job",
  async (signal) => {
    await using box = new Sandbox();
    const { daemon, before } = await serve(box);
    const jobs = box.start([
      "bash",
      "-c",
      "for n in $(seq 40); do pfc -w echo $n || echo lost; done",
    ]);
    let isOver = false;
    void jobs.exited.then(() => {
      isOver = true;
    });
    while (!isOver) {
      for (const pid of startersOf(daemon)) signalProcess(pid, signal);
      await Bun.sleep(Math.random() * 20);
    }
    const expected = Array.from({ length: 40 }, (_, n) => `${n + 1}\n`).join("");
    expect(await jobs.ended).toEqual(ended({ stdout: expected }));
    await expectAtRest(daemon, before);
  },
);

test("200 programs at once: all run, and nothing is left", async () => {
  await using box = new Sandbox();
  const { daemon, before } = await serve(box);
  const script =
    "pids=; for n in $(seq 200); do pfc -w sh -c 'exit 7' & pids=\"$pids $!\"; done; for pid in $pids; do wait $pid; echo $?; done";
  const run = await box.bash(script);
  expect(run).toEqual(ended({ stdout: "7\n".repeat(200) }));
  await expectAtRest(daemon, before);
});

test("a job whose client has left before the daemon has read of it is not started", async () => {
  await using box = new Sandbox();
  const { daemon } = await serve(box);
  signalProcess(daemon.pid, "SIGSTOP");
  {
    using peer = Peer.connect(daemon.socketPath);
    using directory = Descriptor.open(box.work);
    const body = runBody(["/bin/sh", "-c", "echo ran > ran"], { wait: false });
    expect(peer.send(frame(wire.run, body, { fdCount: 1 }), [directory])).toBe("sent");
  }
  signalProcess(daemon.pid, "SIGCONT");
  expect(await box.pfc("-w", "true")).toEqual(ended());
  expect(existsSync(box.path("work", "ran"))).toBe(false);
});

test("a starter that hangs does not hold up the end of the daemon", async () => {
  await using box = new Sandbox();
  const { daemon } = await serve(box);
  using leased = new LeasedProgram(box);
  const hung = box.startPfc(["-w", leased.path]);
  await until("it hangs", () => isBecoming(daemon));
  expect((await box.prefork("stop", "--now")).end).toBe(0);
  expect((await hung.ended).end).not.toBe(0);
  expect(startersOf(daemon)).toEqual([]);
});
