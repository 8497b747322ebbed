/** Many jobs in a row, many at once, and more than are allowed. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  childrenOf,
  descriptorCount,
  ownDescriptorKinds,
  processStat,
  statusField,
  zombiesOf,
} from "../helpers/process.ts";
import { type Daemon, type Ended, ended, Sandbox } from "../helpers/sandbox.ts";
import { Peer } from "../helpers/seqpacket.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(120_000);

/** Nothing is left of the jobs: descriptors as before, an image and a starter, and no zombie. */
async function expectAtRest(box: Sandbox, daemon: Daemon, before: number): Promise<void> {
  await until("no job runs", async () => (await box.status()).running === 0);
  await until("one image and one starter wait", () => childrenOf(daemon.pid).length === 2);
  const names = childrenOf(daemon.pid).map(({ name }) => name);
  expect(names.sort()).toEqual(["pfd-image", "pfd-starter"]);
  await until("its descriptors are as before", () => descriptorCount(daemon.pid) === before);
  expect(zombiesOf(daemon.pid)).toEqual([]);
  expect(statusField(daemon.pid, "Threads")).toBe("1");
}

/** Its number of descriptors, at rest and after a first job. */
async function descriptorsAtRest(box: Sandbox, daemon: Daemon): Promise<number> {
  await box.untilWarm();
  await box.pfc("-w", "add", "1");
  await box.untilWarm();
  await until("one image and one starter wait", () => childrenOf(daemon.pid).length === 2);
  // What is left is the listener, the image and the starter.
  await until("the client's connection is closed", () => {
    return ownDescriptorKinds(daemon.pid).filter((kind) => kind === "socket").length === 3;
  });
  return descriptorCount(daemon.pid);
}

test("1,000 jobs in a row, each with its exact output and status", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const before = await descriptorsAtRest(box, daemon);
  const script = `
    for ((n = 1; n <= 1000; n++)); do
      case $((n % 4)) in
        0) pfc -w echo "job $n" ;;
        1) pfc -w add $n 0.5 ;;
        2) echo "from stdin $n" | pfc -w cat ;;
        3) pfc -w sh -c 'printf %s "$1"; exit $((1 + $1 % 7))' sh $n; echo ":$?" ;;
      esac
    done`;
  const expected = Array.from({ length: 1000 }, (_, index) => {
    const n = index + 1;
    const outputs = [`job ${n}`, `${n}.5`, `from stdin ${n}`, `${n}:${1 + (n % 7)}`];
    return `${outputs[n % 4]}\n`;
  });
  const { stdout, stderr, end } = await box.bash(script);
  expect(stderr).toBe("");
  expect(stdout.split("\n")).toEqual(expected.join("").split("\n"));
  expect(end).toBe(0);
  const status = await box.status();
  expect(status.done + status.failed).toBe(1001);
  expect(status.failed).toBe(250);
  expect(status.image.served).toBe(251);
  await expectAtRest(box, daemon, before);
});

test("200 clients at once, each with its own output", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const before = await descriptorsAtRest(box, daemon);
  const results = await Promise.all(
    Array.from({ length: 200 }, async (_, n): Promise<[Ended, Ended]> => {
      switch (n % 4) {
        case 0:
          return [await box.pfc("-w", "add", `${n}`, "0.25"), ended({ stdout: `${n}.25\n` })];
        case 1:
          return [
            await box.run(["pfc", "-w", "cat"], { stdin: `input ${n}` }),
            ended({ stdout: `input ${n}` }),
          ];
        case 2:
          return [
            await box.pfc("-w", "sh", "-c", `echo ${n}; echo e${n} >&2; sleep 0.2; exit 5`),
            ended({ stdout: `${n}\n`, stderr: `e${n}\n`, end: 5 }),
          ];
        default:
          return [await box.pfc("echo", `${n}`), ended({ stdout: `${n}\n` })];
      }
    }),
  );
  expect(results.map(([actual]) => actual)).toEqual(results.map(([, expected]) => expected));
  await expectAtRest(box, daemon, before);
  expect((await box.status()).failed).toBe(50);
});

test("200 jobs that run at the same time", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const before = await descriptorsAtRest(box, daemon);
  await box.bash("mkfifo gate");
  // Each waits until the gate is opened for all.
  const clients = Array.from({ length: 200 }, (_, n) =>
    box.startPfc(["-w", "sh", "-c", `read _ < gate; echo ${n}`]),
  );
  const full = await until("all of them run", async () => {
    const status = await box.status();
    return status.running === 200 && status;
  });
  expect(full.image.state).toBe("ready");
  expect(await box.pfc("-w", "add", "1", "2")).toEqual(ended({ stdout: "3\n" }));
  const opener = box.start(["bash", "-c", "exec 5<>gate; yes go >&5"]);
  const results = await Promise.all(clients.map((client) => client.ended));
  opener.kill("SIGKILL");
  expect(results).toEqual(results.map((_, n) => ended({ stdout: `${n}\n` })));
  await expectAtRest(box, daemon, before);
});

describe("--max-jobs", () => {
  test("one more is refused in one line and with 125, until there is room again", async () => {
    await using box = new Sandbox();
    await box.serve(["--max-jobs", "2"]);
    const jobs = [box.startPfc(["-w", "sleep", "1000"]), box.startPfc(["-w", "sleep", "1000"])];
    await until("both run", async () => (await box.status()).running === 2);
    for (const words of [["-w", "true"], ["true"], ["-w", "add", "1"], ["-w", "no-such"]]) {
      expect(await box.pfc(...words)).toEqual(
        ended({ stderr: "pfc: 2 jobs are running, as many as allowed (--max-jobs)\n", end: 125 }),
      );
    }
    // What is refused is no job.
    expect(await box.status()).toMatchObject({ running: 2, done: 0, failed: 0 });
    jobs[0]?.kill("SIGTERM");
    await jobs[0]?.exited;
    expect(await box.pfc("-w", "add", "1")).toEqual(ended({ stdout: "1\n" }));
  });

  test("of many at once as many run as are allowed", async () => {
    await using box = new Sandbox();
    await box.serve(["--max-jobs", "5"]);
    await box.bash("mkfifo gate");
    const clients = Array.from({ length: 20 }, () =>
      box.startPfc(["-w", "sh", "-c", "read _ < gate; echo ran"]),
    );
    const refused = await until("fifteen have been refused", () => {
      const over = clients.filter((client) => client.stderr.includes("--max-jobs"));
      return over.length === 15 && over;
    });
    for (const client of refused) expect((await client.ended).end).toBe(125);
    expect((await box.status()).running).toBe(5);
    const opener = box.start(["bash", "-c", "exec 5<>gate; yes go >&5"]);
    for (const client of clients.filter((each) => !refused.includes(each))) {
      expect(await client.ended).toEqual(ended({ stdout: "ran\n" }));
    }
    opener.kill("SIGKILL");
  });
});

test("more clients than the daemon has descriptors for wait for their turn", async () => {
  await using box = new Sandbox();
  const daemon = box.start(["bash", "-c", "ulimit -n 40; exec pfd 2>log"]);
  await box.bash("until test -S $XDG_RUNTIME_DIR/pfd.sock; do sleep 0.01; done");
  await box.untilWarm();
  const silent = Array.from({ length: 60 }, () => Peer.connect(box.socketPath));
  await until("it has run out", () => box.read("work/log").includes("out of descriptors"));
  const client = box.startPfc(["-w", "echo", "served"]);
  // The silent ones run into their time limit; then it is the client's turn.
  expect(await client.ended).toEqual(ended({ stdout: "served\n" }));
  for (const peer of silent) peer.close();
  expect(await box.pfc("-w", "add", "1", "2")).toEqual(ended({ stdout: "3\n" }));
  expect(processStat(daemon.pid)?.name).toBe("pfd");
});
