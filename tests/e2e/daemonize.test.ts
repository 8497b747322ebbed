/** Going into the background: what is left behind, what the launcher is told, who gets to start. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { childNamed, descriptorsOf, isGone, processStat, statusField } from "../helpers/process.ts";
import { ended, Sandbox } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(30_000);

describe("serve -d", () => {
  test("says nothing, and the daemon answers when it returns", async () => {
    await using box = new Sandbox();
    for (let round = 0; round < 5; round++) {
      // With no pause between the two.
      expect(await box.bash("pfd -d && pfc -w echo up && prefork stop >/dev/null")).toEqual(
        ended({ stdout: "up\n" }),
      );
    }
    expect(await box.bash("prefork serve --daemonize && prefork ping >/dev/null")).toEqual(ended());
  });

  test("leaves session, terminal, directory, umask and stdio behind", async () => {
    await using box = new Sandbox();
    await box.bash("umask 022; pfd -d");
    const { pid } = await box.status();
    const stat = processStat(pid);
    expect(stat?.name).toBe("pfd");
    expect(stat?.session).not.toBe(processStat(process.pid)?.session);
    expect(stat?.session).not.toBe(pid); // not a leader: it can never get a terminal
    expect(stat?.terminal).toBe(0);
    expect(isGone(stat?.session ?? 0)).toBe(true); // the leader was the process in the middle
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe("/");
    expect(statusField(pid, "Umask")).toBe("0077");
    expect(statusField(pid, "Threads")).toBe("1");
    const table = descriptorsOf(pid);
    expect(table.get(0)).toBe("/dev/null");
    expect(table.get(1)).toBe("/dev/null");
    expect(table.get(2)).toBe(join(box.runtime, "pfd.log"));
    for (const target of table.values()) expect(target).not.toMatch(/^pipe:/);
  });

  test("has nothing of what its launcher had open", async () => {
    await using box = new Sandbox();
    await box.bash("exec 7</etc/passwd 8<>/dev/null 9</; pfd -d");
    const { pid } = await box.status();
    const targets = [...descriptorsOf(pid).values()];
    expect(targets).not.toContain("/etc/passwd");
    expect(targets).not.toContain("/");
  });

  test("with a terminal around: the daemon survives it and does not hold it", async () => {
    await using box = new Sandbox();
    const run = await box.run(["script", "-qec", "pfd -d; prefork ping", "/dev/null"]);
    expect(run.stdout).toContain("answers at");
    const { pid } = await box.status();
    expect([...descriptorsOf(pid).values()].join()).not.toContain("/dev/pts/");
    expect(await box.pfc("-w", "add", "1", "2")).toEqual(ended({ stdout: "3\n" }));
  });

  test("does not hold the pipes of its launcher", async () => {
    await using box = new Sandbox();
    // `cat` ends when nobody has the other end any more.
    expect(await box.bash("pfd -d 2>&1 | cat; echo over")).toEqual(ended({ stdout: "over\n" }));
    await box.prefork("stop");
    expect(await box.bash("pfc -C true 2>&1 | cat; echo over")).toEqual(
      ended({ stdout: "over\n" }),
    );
  });

  test("with closed stdio, too", async () => {
    await using box = new Sandbox();
    expect(await box.bash("pfd -d <&- >&- 2>&-; echo $?")).toEqual(ended({ stdout: "0\n" }));
    const { pid } = await box.status();
    expect(descriptorsOf(pid).get(0)).toBe("/dev/null");
    expect(await box.pfc("-w", "add", "1", "2")).toEqual(ended({ stdout: "3\n" }));
  });

  test("survives signals to the launcher's group and the end of its session", async () => {
    await using box = new Sandbox();
    await box.run(["setsid", "-w", "bash", "-c", "pfd -d; kill -HUP 0; kill -TERM 0"]);
    expect((await box.prefork("ping")).end).toBe(0);
  });

  test("takes relative paths from where it was called", async () => {
    await using box = new Sandbox();
    const words = "pfd -d --socket my.sock --pid-file my.number --log my.log --log-level debug";
    expect(await box.bash(words)).toEqual(ended());
    const { pid, socket } = await box.status("--socket", "my.sock");
    expect(socket).toBe(join(box.work, "my.sock"));
    expect(box.read("work/my.number")).toBe(`${pid}\n`);
    expect(await box.pfc("--socket", "my.sock", "-w", "true")).toEqual(ended());
    expect(box.read("work/my.log")).toContain(" debug job 1 (true)");
  });

  test("keeps its options: grace, limit of jobs, mode", async () => {
    await using box = new Sandbox();
    expect(await box.bash("pfd -d --mode local --max-jobs 1 --grace 0.1")).toEqual(ended());
    expect((await box.status()).mode).toBe("local");
    const job = box.startPfc(["-w", "sh", "-c", "trap '' TERM; echo ready; sleep 1000"]);
    await until("it runs", () => job.stdout.includes("ready"));
    expect((await box.pfc("-w", "true")).end).toBe(125);
    await box.prefork("stop"); // in much less than the default of 5 s, or the test runs out of time
    expect((await job.ended).end).toBe("SIGKILL");
  });

  const failures: [string, (box: Sandbox) => string, RegExp][] = [
    ["no such directory", () => "pfd -d --socket no/such/x.sock", /no such file or directory/],
    [
      "a directory in the socket's place",
      () => "mkdir x.sock; pfd -d --socket x.sock",
      /is not a socket/,
    ],
    ["a file in the directory's place", () => ": > f; pfd -d --socket f/x.sock", /not a directory/],
    ["a log that cannot be opened", () => "pfd -d --log no/such.log", /no\/such\.log/],
    ["a PID file that cannot be made", () => "pfd -d --pid-file no/such.pid", /no\/such\.pid/],
  ];
  test.each(failures)("%s: one line and 1", async (_, script, why) => {
    await using box = new Sandbox();
    const { stdout, stderr, end } = await box.bash(script(box));
    expect(stderr).toMatch(/^pfd: [^\n]+\n$/);
    expect(stderr).toMatch(why);
    expect({ stdout, end }).toEqual({ stdout: "", end: 1 });
    expect(existsSync(box.socketPath)).toBe(false);
    expect(existsSync(join(box.runtime, "pfd.pid"))).toBe(false);
  });

  test("an occupied socket: who has it, and 1", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const { stdout, stderr, end } = await box.bash("pfd -d");
    expect(stderr).toMatch(/^pfd: [^\n]+\n$/);
    expect(stderr).toContain(`pid ${daemon.pid}`);
    expect(stderr).toContain(box.socketPath);
    expect({ stdout, end }).toEqual({ stdout: "", end: 1 });
    expect((await box.status()).pid).toBe(daemon.pid);
  });

  test("--ready-fd: a line when it answers, for a supervisor", async () => {
    await using box = new Sandbox();
    const daemon = box.start(["bash", "-c", "exec pfd --ready-fd 5 5>ready 2>log"]);
    const isReady = (): boolean =>
      existsSync(box.path("work/ready")) && box.read("work/ready") === "READY=1\n";
    await until("it says that it is ready", isReady);
    expect((await box.prefork("ping")).end).toBe(0);
    daemon.kill("SIGTERM");
    expect(await daemon.exited).toBe(0);
  });

  test("--ready-fd of a closed descriptor: one line and 1", async () => {
    await using box = new Sandbox();
    const { stderr, end } = await box.bash("pfd --ready-fd 77");
    expect(stderr).toMatch(/^pfd: [^\n]*descriptor 77 is not open[^\n]*\n$/);
    expect(end).toBe(1);
  });
});

describe("the log of a daemon in the background", () => {
  test("stands beside the socket, and goes with a clean exit", async () => {
    await using box = new Sandbox();
    await box.bash("pfd -d");
    const path = join(box.runtime, "pfd.log");
    expect(readFileSync(path, "utf8")).toMatch(/^\S+ info listening on [^\n]+\n/);
    await box.prefork("stop");
    expect(existsSync(path)).toBe(false);
  });

  test("--log: is appended to, and stays", async () => {
    await using box = new Sandbox();
    box.write("work/log", "before\n");
    await box.bash("pfd -d --log log");
    await box.prefork("stop");
    expect(box.read("work/log")).toMatch(/^before\n[^\n]*listening[\s\S]*stopped\n$/);
  });

  test("--log-level error: keeps quiet", async () => {
    await using box = new Sandbox();
    await box.bash("pfd -d --log log --log-level error; pfc -w true; prefork stop");
    expect(box.read("work/log")).toBe("");
  });
});

describe("-C", () => {
  test("starts a daemon that is like that of serve -d, and the job runs in it", async () => {
    await using box = new Sandbox();
    const run = await box.run(["pfc", "-Cw", "cat"], { stdin: "through\n" });
    expect(run).toEqual(ended({ stdout: "through\n" }));
    const { pid, done } = await box.status();
    expect(done).toBe(1);
    expect(processStat(pid)?.session).not.toBe(pid);
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe("/");
    expect(descriptorsOf(pid).get(0)).toBe("/dev/null");
  });

  test("does not let the daemon inherit what was passed to the job", async () => {
    await using box = new Sandbox();
    box.write("work/file", "");
    await box.bash("exec 7<file; pfc -Cw --fd 7 true; pfc -Cw true <file >file 2>&1");
    const { pid } = await box.status();
    expect([...descriptorsOf(pid).values()]).not.toContain(box.path("work/file"));
  });

  test("an error of the job is the job's, and the daemon stays", async () => {
    await using box = new Sandbox();
    expect((await box.pfc("-Cw", "sh", "-c", "exit 9")).end).toBe(9);
    expect((await box.pfc("-Cw", "no-such")).end).toBe(127);
    expect((await box.status()).failed).toBe(2);
  });

  test.each(["cold", "beside the leftovers of a killed daemon"])(
    "twenty clients at once, %s: one daemon, twenty jobs",
    async (start) => {
      await using box = new Sandbox();
      if (start !== "cold") {
        const daemon = await box.serve();
        daemon.process.kill("SIGKILL");
        await daemon.process.exited;
        expect(existsSync(box.socketPath)).toBe(true);
      }
      const runs = await Promise.all(
        Array.from({ length: 20 }, (_, index) => box.pfc("-Cw", "add", `${index}`, "1")),
      );
      expect(runs).toEqual(runs.map((_, index) => ended({ stdout: `${index + 1}\n` })));
      const status = await box.status();
      expect({ done: status.done, failed: status.failed }).toEqual({ done: 20, failed: 0 });
      // All in one daemon; and no other is left anywhere below or beside it.
      const log = readFileSync(join(box.runtime, "pfd.log"), "utf8");
      expect(log.match(/ listening on /g)).toHaveLength(1);
    },
  );

  test("twenty clients at once while a daemon is stopping: all jobs run in the next", async () => {
    await using box = new Sandbox();
    await box.bash("pfd -d");
    const before = await box.untilWarm();
    const job = box.startPfc([
      "-w",
      "sh",
      "-c",
      "trap 'sleep 0.3; exit 5' TERM; echo ready; while :; do sleep 0.02; done",
    ]);
    await until("it runs", () => job.stdout.includes("ready"));
    const stop = box.prefork("stop");
    await until("it is stopping", () => !existsSync(box.socketPath));
    const runs = await Promise.all(
      Array.from({ length: 20 }, (_, index) => box.pfc("-Cw", "add", `${index}`, "1")),
    );
    expect(runs).toEqual(runs.map((_, index) => ended({ stdout: `${index + 1}\n` })));
    expect((await stop).end).toBe(0);
    expect((await job.ended).end).toBe(5);
    expect((await box.status()).pid).not.toBe(before.pid);
  });

  test("two projects at once: a daemon each", async () => {
    await using box = new Sandbox();
    const runs = await Promise.all(
      ["a", "b", "a", "b"].map((name) =>
        box.pfc("-Cw", "--mode=project", "--project", name, "add", "1"),
      ),
    );
    expect(runs).toEqual(runs.map(() => ended({ stdout: "1\n" })));
    const a = await box.status("--project", "a");
    const b = await box.status("--project", "b");
    expect(a.pid).not.toBe(b.pid);
    expect([a.done, b.done]).toEqual([2, 2]);
  });
});

test("a daemon in the foreground stays in its session and in its launcher's sight", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  expect(processStat(daemon.pid)?.parent).toBe(process.pid);
  expect(processStat(daemon.pid)?.session).toBe(processStat(process.pid)?.session ?? -1);
  expect(statusField(daemon.pid, "Threads")).toBe("1");
  expect((await childNamed(daemon.pid, "pfd-image")).group).not.toBe(
    processStat(daemon.pid)?.group,
  );
});
