/** How the daemon treats a job: its time, its group, its end without a client, its environment. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { childNamed, isGone, processStat, signalProcess } from "../helpers/process.ts";
import { type Sandbox as Box, ended, Sandbox } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";

/** What timeout(1) does is what we do. */
describe("--timeout", () => {
  const deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 0.01; done"];
  const cases: { what: string; limits: [ours: string[], theirs: string[]]; command: string[] }[] = [
    {
      what: "that is not reached",
      limits: [["--timeout", "100"], ["100"]],
      command: ["sh", "-c", "exit 7"],
    },
    { what: "of a fraction", limits: [["--timeout=0.05"], ["0.05"]], command: ["sleep", "1000"] },
    {
      what: "of zero, which is none",
      limits: [["--timeout", "0"], ["0"]],
      command: ["sleep", "0.1"],
    },
    {
      what: "on a job that ends well when asked",
      limits: [["--timeout", "0.1"], ["0.1"]],
      command: ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.01; done"],
    },
    {
      what: "on a job that is stopped",
      limits: [["--timeout", "0.1"], ["0.1"]],
      command: ["sh", "-c", "kill -STOP $$"],
    },
    {
      what: "and --kill-after, on a job that does not listen",
      limits: [
        ["--timeout", "0.05", "--kill-after", "0.05"],
        ["-k", "0.05", "0.05"],
      ],
      command: deaf,
    },
    {
      what: "and --kill-after, which is not needed",
      limits: [
        ["--timeout", "0.05", "--kill-after", "100"],
        ["-k", "100", "0.05"],
      ],
      command: ["sleep", "1000"],
    },
  ];

  test.each(cases)("$what: as timeout(1)", async ({ limits: [ours, theirs], command }) => {
    await using box = new Sandbox();
    await box.serve();
    const script = (words: readonly string[]) => [
      "bash",
      "-c",
      '"$@" 2>/dev/null; echo $?',
      "bash",
      ...words,
    ];
    const direct = await box.run(script(["timeout", ...theirs, ...command]));
    const through = await box.run(script(["pfc", "-w", ...ours, ...command]));
    const withoutPid = (text: string) => text.replaceAll(/\d{2,}/g, "PID");
    expect({ ...through, stderr: withoutPid(through.stderr) }).toEqual({
      ...direct,
      stderr: withoutPid(direct.stderr),
    });
  });

  test("ends the whole group, also of a detached job", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    await box.bash("pfc --timeout 0.2 sh -c 'sleep 1000; sleep 1000' >/dev/null 2>&1");
    const shell = await childNamed(daemon.pid, "sh");
    const inner = await childNamed(shell.pid, "sleep");
    await until("both are gone", () => isGone(shell.pid) && isGone(inner.pid));
    const status = await until("it is counted", async () => {
      const now = await box.status();
      return now.running === 0 && now;
    });
    expect({ done: status.done, failed: status.failed }).toEqual({ done: 0, failed: 1 });
  });

  test.each([
    { words: ["--timeout", "soon"], complaint: "'--timeout' is a number of seconds" },
    { words: ["--timeout", "-1"], complaint: "'--timeout' is a number of seconds" },
    { words: ["--timeout", ""], complaint: "'--timeout' is a number of seconds" },
    { words: ["--kill-after", "1"], complaint: "counts from the end of '--timeout'" },
    { words: ["--on-disconnect", "panic"], complaint: "is one of hangup, continue, term, kill" },
    { words: ["--stdin", "-n"], complaint: "exclude each other" },
    { words: ["-t", "-n"], complaint: "exclude each other" },
    { words: ["--unset", "A=1"], complaint: "takes the name of a variable" },
    { words: ["--env", "=1"], complaint: "takes NAME or NAME=VALUE" },
    { words: ["--fd", "3:"], complaint: "'--fd' is a whole number" },
    { words: ["--fd", "3:x"], complaint: "'--fd' is a whole number" },
  ])("$words is refused in one line", async ({ words, complaint }) => {
    await using box = new Sandbox();
    const { stdout, stderr, end } = await box.pfc("-w", ...words, "true");
    expect(stderr).toMatch(/^pfc: [^\n]+ \(see 'pfc --help'\)\n$/);
    expect(stderr).toContain(complaint);
    expect({ stdout, end }).toEqual({ stdout: "", end: 125 });
  });
});

/** A job that leaves a process of its group behind; the answer is that one's pid. */
async function leaveBehind(box: Box, words: readonly string[]): Promise<number> {
  const script = "sleep 1000 >/dev/null 2>&1 & echo $!";
  const run = await box.pfc(...words, "-w", "sh", "-c", script);
  expect(run).toMatchObject({ stderr: "", end: 0 });
  return Number(run.stdout);
}

describe("what a job leaves in its process group", () => {
  test("is left alone, and reaped when it ends", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const pid = await leaveBehind(box, []);
    await until("it sleeps", () => processStat(pid)?.state === "S");
    expect(processStat(pid)?.parent).toBe(daemon.pid);
    signalProcess(pid, "SIGTERM");
    await until("it has been reaped", () => processStat(pid) === undefined);
  });

  test("is killed with --kill-group", async () => {
    await using box = new Sandbox();
    await box.serve();
    const pid = await leaveBehind(box, ["--kill-group"]);
    await until("it is gone", () => processStat(pid) === undefined);
  });

  test("and what has left the group is not", async () => {
    await using box = new Sandbox();
    await box.serve();
    const script = "setsid sleep 1000 >/dev/null 2>&1 & echo $!; sleep 0.1";
    const run = await box.pfc("--kill-group", "-w", "sh", "-c", script);
    const pid = Number(run.stdout);
    await until("it goes on", () => processStat(pid)?.state === "S");
    signalProcess(pid, "SIGKILL");
  });

  test("gets a signal of which the first process has died", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const client = box.startPfc(["-w", "sh", "-c", "sleep 1000; sleep 1000"]);
    const shell = await childNamed(daemon.pid, "sh");
    const inner = await childNamed(shell.pid, "sleep");
    client.kill("SIGTERM");
    expect(await client.exited).toBe("SIGTERM");
    await until("the other is gone", () => isGone(inner.pid));
  });

  test("does not get one that the first process handles", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const script = "trap 'echo got; exit 3' TERM; sleep 0.5; echo not reached";
    const client = box.startPfc(["-w", "sh", "-c", script]);
    const shell = await childNamed(daemon.pid, "sh");
    await childNamed(shell.pid, "sleep");
    client.kill("SIGTERM");
    // A shell runs its trap when the command it waits for has ended by itself.
    expect(await client.ended).toEqual(ended({ stdout: "got\n", end: 3 }));
  });
});

describe("--on-disconnect", () => {
  const told = 'for s in HUP TERM CONT; do trap "echo $s >> got; exit" $s; done';
  const job = `${told}; echo ready; while :; do sleep 0.01; done`;

  test.each([
    { policy: "hangup", got: "HUP\n" },
    { policy: "term", got: "TERM\n" },
  ])("$policy: it gets that signal", async ({ policy, got }) => {
    await using box = new Sandbox();
    await box.serve();
    const client = box.startPfc([`--on-disconnect=${policy}`, "-w", "sh", "-c", job]);
    await until("the job listens", () => client.stdout.includes("ready"));
    client.kill("SIGKILL");
    await until("it is over", async () => (await box.status()).running === 0);
    expect(box.read("work/got")).toBe(got);
  });

  test("kill: it is killed", async () => {
    await using box = new Sandbox();
    await box.serve();
    const client = box.startPfc(["--on-disconnect=kill", "-w", "sh", "-c", job]);
    await until("the job listens", () => client.stdout.includes("ready"));
    client.kill("SIGKILL");
    await until("it is over", async () => (await box.status()).running === 0);
    expect(existsSync(box.path("work/got"))).toBe(false);
  });

  test("continue: it goes on", async () => {
    await using box = new Sandbox();
    await box.serve();
    await box.bash("mkfifo gate");
    const script = "trap 'echo HUP >> got' HUP; echo ready; read go < gate; echo $go >> got";
    const client = box.startPfc(["--on-disconnect=continue", "-w", "sh", "-c", script]);
    await until("the job listens", () => client.stdout.includes("ready"));
    client.kill("SIGKILL");
    expect(await client.exited).toBe("SIGKILL");
    await box.bash("echo went on > gate");
    await until("it is over", async () => (await box.status()).running === 0);
    expect(box.read("work/got")).toBe("went on\n");
  });
});

describe("the environment", () => {
  const caller = { A: "1", B: "2", C: "" };
  const cases: { options: string[]; lines: string[] }[] = [
    { options: [], lines: ["A=1", "B=2", "C="] },
    { options: ["--env", "A=x y"], lines: ["A=x y", "B=2", "C="] },
    { options: ["--env=D=4", "--env", "D=5"], lines: ["A=1", "B=2", "C=", "D=5"] },
    { options: ["--unset", "A", "--unset=C"], lines: ["B=2"] },
    { options: ["--unset", "A", "--env", "A=3"], lines: ["A=3", "B=2", "C="] },
    { options: ["--unset", "NONE", "--env", "NONE"], lines: ["A=1", "B=2", "C="] },
    {
      options: ["--clear-env", "--env", "B", "--env", "C", "--env", "E=="],
      lines: ["B=2", "C=", "E=="],
    },
  ];

  test.each(cases)("with $options", async ({ options, lines }) => {
    await using box = new Sandbox();
    await box.serve();
    // Looked up by its path: there may be no PATH in the new environment.
    const client = box.startPfc(["-w", ...options, "/usr/bin/env"], { env: caller });
    const { stdout, stderr, end } = await client.ended;
    expect({ stderr, end }).toEqual({ stderr: "", end: 0 });
    const named = stdout.split("\n").filter((line) => /^[A-E]=/.test(line));
    expect(named.sort()).toEqual(lines);
    expect(stdout.includes("PATH=")).toBe(!options.includes("--clear-env"));
  });

  test("its PATH is where the command is looked for", async () => {
    await using box = new Sandbox();
    await box.serve();
    box.write("work/own/hello", "#!/bin/sh\necho hello\n", 0o755);
    const run = await box.pfc("-w", "--env", `PATH=${box.work}/own`, "hello");
    expect(run).toEqual(ended({ stdout: "hello\n" }));
  });

  test("a value need not be text", async () => {
    await using box = new Sandbox();
    await box.serve();
    const run = await box.bash("pfc -w --env A=$'\\xff\\n\\xfe' printenv A");
    expect(run).toEqual(ended({ stdout: "\xff\n\xfe\n" }));
  });
});
