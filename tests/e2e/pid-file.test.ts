/** The PID file and its lock: one daemon a socket, and what a killed one leaves behind. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isGone } from "../helpers/process.ts";
import { ended, Sandbox } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(30_000);

describe("the PID file", () => {
  const places: [socket: string, pidFile: string][] = [
    ["pfd.sock", "pfd.pid"],
    ["x.sock", "x.pid"],
    ["plain", "plain.pid"],
    ["a.b.sock", "a.b.pid"],
    ["x.sock.old", "x.sock.old.pid"],
    [".hidden.sock", ".hidden.pid"],
  ];
  test.each(places)("of %s is %s, and holds the pid on a line", async (socket, pidFile) => {
    await using box = new Sandbox();
    const daemon = await box.serve(["--socket", socket]);
    expect(box.read(`work/${pidFile}`)).toBe(`${daemon.pid}\n`);
    expect(readdirSync(box.work).sort()).toEqual([socket, pidFile].sort());
    daemon.process.kill("SIGTERM");
    expect(await daemon.process.exited).toBe(0);
    expect(readdirSync(box.work)).toEqual([]);
  });

  test.each([
    [["--mode", "runtime"], "run/pfd.pid"],
    [["--mode", "project", "--project", "p"], "run/pfd.p.pid"],
    [["--mode", "local"], "work/pfd.pid"],
  ] as const)("with %j is %s", async (options, pidFile) => {
    await using box = new Sandbox();
    const daemon = await box.serve(options);
    expect(box.read(pidFile)).toBe(`${daemon.pid}\n`);
  });

  test("--pid-file: another one besides, removed like it", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve(["--pid-file", "also.pid"]);
    expect(box.read("work/also.pid")).toBe(`${daemon.pid}\n`);
    expect(box.read("run/pfd.pid")).toBe(`${daemon.pid}\n`);
    expect((await box.prefork("stop")).end).toBe(0);
    expect(existsSync(box.path("work/also.pid"))).toBe(false);
    expect(readdirSync(box.runtime)).toEqual([]);
  });

  test("--pid-file of another daemon: refused", async () => {
    await using box = new Sandbox();
    const first = await box.serve(["--socket", "first.sock", "--pid-file", "shared.pid"]);
    const second = await box.run(["pfd", "--socket", "second.sock", "--pid-file", "shared.pid"]);
    expect(second.stderr).toMatch(/^pfd: [^\n]+\n$/);
    expect(second.stderr).toContain(`pid ${first.pid}`);
    expect(second.end).toBe(1);
    expect(readdirSync(box.work).sort()).toEqual(["first.pid", "first.sock", "shared.pid"]);
  });

  test("--pid-file that names the one beside the socket is that one", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve(["--pid-file", join(box.runtime, "pfd.pid")]);
    expect(box.read("run/pfd.pid")).toBe(`${daemon.pid}\n`);
  });

  test("that was removed while the daemon runs is not missed, nor is a successor's removed", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    rmSync(join(box.runtime, "pfd.pid"));
    writeFileSync(join(box.runtime, "pfd.pid"), "somebody else's\n");
    daemon.process.kill("SIGTERM");
    expect(await daemon.process.exited).toBe(0);
    expect(box.read("run/pfd.pid")).toBe("somebody else's\n");
  });
});

describe("a second daemon on the same socket", () => {
  test("says which pid holds it, and ends with 1", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    for (const command of [["pfd"], ["pfd", "-d"], ["pfd", "--socket", box.socketPath]]) {
      const { stdout, stderr, end } = await box.run(command);
      expect(stderr).toMatch(/^pfd: [^\n]+\n$/);
      expect(stderr).toContain(`the daemon with pid ${daemon.pid} holds ${box.socketPath}`);
      expect({ stdout, end }).toEqual({ stdout: "", end: 1 });
    }
    expect(box.read("run/pfd.pid")).toBe(`${daemon.pid}\n`);
    expect(await box.pfc("-w", "add", "1", "2")).toEqual(ended({ stdout: "3\n" }));
  });

  test("ten at once: one of them runs, nine say who", async () => {
    await using box = new Sandbox();
    const all = Array.from({ length: 10 }, () => box.start(["pfd"]));
    const losers = await until("nine have ended", async () => {
      const over: (typeof all)[number][] = [];
      for (const daemon of all) if (isGone(daemon.pid)) over.push(daemon);
      return over.length >= 9 && over;
    });
    expect(losers).toHaveLength(9);
    const { pid } = await box.status();
    for (const loser of losers) {
      const { stderr, end } = await loser.ended;
      expect(stderr).toMatch(new RegExp(`^pfd: (the daemon with pid ${pid}|another daemon) holds`));
      expect(end).toBe(1);
    }
    expect(all.map((daemon) => daemon.pid)).toContain(pid);
    expect(readdirSync(box.runtime).sort()).toEqual(["pfd.pid", "pfd.sock"]);
  });

  test("does not believe a pid in a file that nobody has locked", async () => {
    await using box = new Sandbox();
    // Our own pid, so a process of that number does run.
    writeFileSync(join(box.runtime, "pfd.pid"), `${process.pid}\n`);
    const daemon = await box.serve();
    expect(box.read("run/pfd.pid")).toBe(`${daemon.pid}\n`);
  });

  test.each(["", "1\n", "99999999\n"])("takes over a PID file that holds %j", async (content) => {
    await using box = new Sandbox();
    writeFileSync(join(box.runtime, "pfd.pid"), content);
    const daemon = await box.serve();
    expect(box.read("run/pfd.pid")).toBe(`${daemon.pid}\n`);
  });

  test.each(["garbage\n", "-1\n", "1 2 3\n", "x".repeat(10_000)])(
    "leaves a file alone that is no PID file: %.20j",
    async (content) => {
      await using box = new Sandbox();
      box.write("work/precious", content);
      const given = await box.run(["pfd", "--pid-file", "precious"]);
      expect(given.stderr).toMatch(/^pfd: [^\n]*precious[^\n]*\n$/);
      expect(given.end).toBe(1);
      expect(box.read("work/precious")).toBe(content);
      expect(readdirSync(box.runtime)).toEqual([]);
    },
  );
});

describe("after kill -9", () => {
  test("the next daemon cleans up by itself", async () => {
    await using box = new Sandbox();
    for (let round = 0; round < 3; round++) {
      const daemon = await box.serve();
      expect(await box.pfc("-w", "add", "1", "2")).toEqual(ended({ stdout: "3\n" }));
      daemon.process.kill("SIGKILL");
      expect(await daemon.process.exited).toBe("SIGKILL");
      expect(readdirSync(box.runtime).sort()).toEqual(["pfd.pid", "pfd.sock"]);
      const { stderr, end } = await box.pfc("-w", "true");
      expect(stderr).toContain(`ignoring ${box.socketPath}: it is stale: nobody listens\n`);
      expect(end).toBe(125);
    }
    const daemon = await box.serve();
    expect(box.read("run/pfd.pid")).toBe(`${daemon.pid}\n`);
    expect((await box.prefork("stop")).end).toBe(0);
    expect(readdirSync(box.runtime)).toEqual([]);
  });

  test("the lock is not held by a job or an image that lives on", async () => {
    await using box = new Sandbox();
    const daemon = await box.serveWarm();
    const client = box.startPfc([
      "-w",
      "--on-disconnect=continue",
      ...["sh", "-c", "echo $$; exec sleep 1000"],
    ]);
    await until("the job runs", () => client.stdout.includes("\n"));
    daemon.process.kill("SIGKILL");
    await daemon.process.exited;
    const job = Number(client.stdout);
    expect(isGone(job)).toBe(false);
    const next = await box.serve();
    expect(next.pid).not.toBe(daemon.pid);
    process.kill(job, "SIGKILL");
  });

  test("a waiting client says that the daemon is gone, and ends with 125", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const client = box.startPfc(["-w", "sh", "-c", "echo $$; exec sleep 1000"]);
    await until("the job runs", () => client.stdout.includes("\n"));
    // It may have spoken before its client hears that it runs; what is served after it is later.
    expect(await box.pfc("-w", "true")).toEqual(ended());
    daemon.process.kill("SIGKILL");
    expect(await client.exited).toBe(125);
    expect(client.stderr).toMatch(/^pfc: the daemon [^\n]+ has been ended\n$/);
    // Nobody will ever hear how it ends, so it does not go on.
    await until("the job is gone", () => isGone(Number(client.stdout)));
  });
});

test("what a daemon that died between two steps of its start left is no obstacle", async () => {
  await using box = new Sandbox();
  // The temporary name under which the socket is made ends in the pid, which may come again.
  for (let pid = 1; pid < 50; pid++) writeFileSync(`${box.socketPath}.${pid}`, "");
  const daemon = await box.serve();
  expect(daemon.socketPath).toBe(box.socketPath);
  expect(readFileSync(join(box.runtime, "pfd.pid"), "utf8")).toBe(`${daemon.pid}\n`);
});
