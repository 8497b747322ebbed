/** How a job ends, what the client makes of it, and commands that cannot be run at all. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { entriesOf, runExactly } from "../helpers/exact-spawn.ts";
import { childNamed, childrenOf, isGone, processStat, statusField } from "../helpers/process.ts";
import { ended, Sandbox } from "../helpers/sandbox.ts";
import { Descriptor } from "../helpers/seqpacket.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(30_000);

describe("the exit status", () => {
  let box: Sandbox;
  beforeAll(async () => {
    box = new Sandbox();
    await box.serve();
  });
  afterAll(async () => await box[Symbol.asyncDispose]());

  test.each([0, 1, 2, 3, 42, 77, 100, 124, 125, 126, 127, 128, 129, 143, 200, 254, 255])(
    "%d is the client's",
    async (code) => {
      const run = await box.pfc("-w", "sh", "-c", `echo out; exit ${code}`);
      expect(run).toEqual(ended({ stdout: "out\n", end: code }));
    },
  );

  const fatal = ["TERM", "KILL", "SEGV", "ABRT", "HUP", "INT", "QUIT", "PIPE", "USR1", "ALRM"];
  test.each([...fatal, "BUS", "FPE", "XFSZ", "SYS", "TRAP"])(
    "death by SIG%s is the client's",
    async (name) => {
      const run = await box.pfc("-w", "sh", "-c", `echo out; kill -${name} $$`);
      expect(run).toEqual(ended({ stdout: "out\n", end: `SIG${name}` as NodeJS.Signals }));
    },
  );

  test("death by a real-time signal is the client's", async () => {
    const run = await box.bash("pfc -w sh -c 'kill -40 $$'; echo $?");
    expect(run.stdout).toBe("168\n");
  });

  test("the client leaves no core file of its own", async () => {
    const env = entriesOf(box.env);
    const script = "ulimit -c unlimited; exec pfc -w sh -c 'kill -SEGV $$'";
    const run = runExactly(box, "/bin/bash", ["bash", "-c", script], env);
    expect({ end: run.end, core: run.core }).toEqual({ end: "SIGSEGV", core: false });
    // The job, which has the caller's limit, may have left one; where it goes is the system's affair.
    expect(readdirSync(box.work).length).toBeLessThanOrEqual(1);
  });
});

describe("a waiting client", () => {
  /**
   * Says which signal it got and ends with 7; `ready` tells that it listens. The shell's own words
   * about its child, which gets the signal too, do not matter.
   */
  const listening = (name: string): string => `
    exec 2>/dev/null
    trap 'echo got ${name}; exit 7' ${name}
    echo ready
    while :; do sleep 0.02; done`;

  test.each(["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH", "CONT"])(
    "passes SIG%s on to its job",
    async (name) => {
      await using box = new Sandbox();
      await box.serve();
      const client = box.startPfc(["-w", "bash", "-c", listening(name)]);
      await until("the job listens", () => client.stdout.includes("ready"));
      client.kill(`SIG${name}` as NodeJS.Signals);
      expect(await client.ended).toEqual(ended({ stdout: `ready\ngot ${name}\n`, end: 7 }));
    },
  );

  test.each(["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1"] as const)(
    "dies of %s when its job does",
    async (name) => {
      await using box = new Sandbox();
      await box.serve();
      const client = box.startPfc(["-w", "sh", "-c", "echo ready; exec sleep 1000"]);
      await until("the job runs", () => client.stdout.includes("ready"));
      client.kill(name);
      expect(await client.ended).toEqual(ended({ stdout: "ready\n", end: name }));
    },
  );

  test("ends as its job, however often it is told to end", async () => {
    await using box = new Sandbox();
    await box.serve();
    const script =
      "trap 'exit 3' TERM; trap 'echo relayed' USR1; echo ready; while :; do sleep 0.002; done";
    for (let round = 0; round < 20; round++) {
      const client = box.startPfc(["-w", "sh", "-c", script]);
      await until("the job listens", () => client.stdout.includes("ready"));
      // Until the client knows that its job runs, a second order to end is for itself.
      client.kill("SIGUSR1");
      await until("the client relays", () => client.stdout.includes("relayed"));
      let isOver = false;
      void client.exited.then(() => {
        isOver = true;
      });
      // As timeout(1), which signals its child and then its own group, only more of it.
      while (!isOver) {
        for (let count = 0; count < 50; count++) client.kill("SIGTERM");
        await Bun.sleep(0);
      }
      expect(await client.exited).toBe(3);
    }
  });

  test("can be told not to wait for a reader that does not read", async () => {
    await using box = new Sandbox();
    await box.serve();
    const [readEnd, writeEnd] = Descriptor.pipe();
    const words = ["-tt", "sh", "-c", "head -c 3000 /dev/zero; exit 3"];
    // The pipe is full before: what the job writes has to wait in its terminal, and in the client.
    await box.run(["head", "-c", "65536", "/dev/zero"], { stdout: writeEnd.number });
    const client = box.startPfc(words, { stdout: writeEnd.number });
    await until("the job is over", async () => (await box.status()).failed === 1);
    client.kill("SIGTERM");
    expect(await client.exited).toBe(3);
    readEnd[Symbol.dispose]();
    writeEnd[Symbol.dispose]();
  });

  test("leaves no thread of its own that could take a signal and die of it", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const client = box.startPfc(["-w", "sleep", "1000"]);
    await childNamed(daemon.pid, "sleep");
    const numbers = [1, 2, 3, 10, 12, 15]; // HUP INT QUIT USR1 USR2 TERM
    const mask = numbers.reduce((bits, number) => bits | (1n << BigInt(number - 1)), 0n);
    const threads = readdirSync(`/proc/${client.pid}/task`);
    for (const thread of threads) {
      const blocked = BigInt(`0x${statusField(client.pid, "SigBlk", Number(thread))}`);
      expect((blocked & mask).toString(2)).toBe(mask.toString(2));
    }
    client.kill("SIGTERM");
    expect(await client.exited).toBe("SIGTERM");
  });

  test("passes a signal to the whole process group of the job", async () => {
    await using box = new Sandbox();
    await box.serve();
    const script = "sleep 1000 & echo $!; sleep 1000 & echo $!; wait";
    const client = box.startPfc(["-w", "sh", "-c", script]);
    const pids = await until("both run", () => {
      const lines = client.stdout.trimEnd().split("\n").map(Number);
      return lines.length === 2 && lines;
    });
    client.kill("SIGTERM");
    expect((await client.ended).end).toBe("SIGTERM");
    for (const pid of pids) await until(`${pid} is gone`, () => isGone(pid));
  });

  test("stops with its job on SIGTSTP, and goes on with it on SIGCONT", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    // In a group of its own, as a shell with job control has it: the kernel stops nobody whom no
    // shell could continue.
    const asShell = "if (!fork) { setpgrp(0, 0); exec @ARGV } wait";
    const shell = box.start(["perl", "-e", asShell, "pfc", "-w", "sleep", "1000"]);
    const client = await childNamed(shell.pid, "pfc");
    const job = await childNamed(daemon.pid, "sleep");
    process.kill(client.pid, "SIGTSTP");
    await until("both are stopped", () =>
      [client.pid, job.pid].every((pid) => processStat(pid)?.state === "T"),
    );
    process.kill(client.pid, "SIGCONT");
    await until("both go on", () =>
      [client.pid, job.pid].every((pid) => processStat(pid)?.state === "S"),
    );
    process.kill(client.pid, "SIGTERM");
    await until("both are gone", () => isGone(client.pid) && isGone(job.pid));
  });

  test("goes on with its job where nobody could continue it", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    // A session of its own: its process group is an orphaned one.
    const client = box.start(["setsid", "pfc", "-w", "sh", "-c", "kill -TSTP $$; echo goes on"]);
    expect(await client.ended).toEqual(ended({ stdout: "goes on\n" }));
    expect(childrenOf(daemon.pid).filter(({ name }) => name === "sh")).toEqual([]);
  });

  test("loses no signal, however early it comes", async () => {
    await using box = new Sandbox();
    await box.serve();
    const delays = Array.from({ length: 40 }, (_, index) => index * 0.5);
    for (const delay of delays) {
      const client = box.startPfc(["-w", "sleep", "10"]);
      await Bun.sleep(delay); // the moments between its start and the job's are what is tried
      client.kill("SIGTERM");
      expect(await client.ended).toEqual(ended({ end: "SIGTERM" }));
    }
    await until("no job is left", async () => (await box.status()).running === 0);
  });

  test("that is killed leaves its job with SIGHUP", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const script = `trap 'echo hung up > hup.tmp; mv hup.tmp hup; exit' HUP; ${listening("USR1")}`;
    const client = box.startPfc(["-w", "bash", "-c", script]);
    await until("the job listens", () => client.stdout.includes("ready"));
    client.kill("SIGKILL");
    expect(await client.exited).toBe("SIGKILL");
    await until("the job heard of it", () => existsSync(box.path("work/hup")));
    await until("the job is gone", async () => (await box.status()).running === 0);
    expect(childrenOf(daemon.pid).filter(({ name }) => name === "bash")).toEqual([]);
  });

  test("that is killed wakes a stopped job, so that it can act on SIGHUP", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const client = box.startPfc(["-w", "sleep", "1000"]);
    const job = await childNamed(daemon.pid, "sleep");
    process.kill(job.pid, "SIGSTOP");
    await until("it is stopped", () => processStat(job.pid)?.state === "T");
    client.kill("SIGKILL");
    await until("it is gone", () => isGone(job.pid));
  });

  test("ends at its job's end, though a grandchild holds its stdout", async () => {
    await using box = new Sandbox();
    await box.serve();
    const client = box.startPfc(["-w", "sh", "-c", "sleep 1000 & echo $!; exit 3"]);
    expect(await client.exited).toBe(3);
    await until("the pid is there", () => client.stdout.includes("\n"));
    process.kill(Number(client.stdout), "SIGKILL");
    expect((await client.ended).stderr).toBe("");
  });

  test("is not compiled by the JIT while it lives, however much it passes", async () => {
    await using box = new Sandbox();
    await box.serve();
    const script = 'for n in {10..40}; do eval "exec $n</dev/null"; done; exec pfc -w true';
    // What is compiled is told on stderr.
    const run = await box.bash(script, { env: { BUN_JSC_reportCompileTimes: "1" } });
    expect(run).toEqual(ended());
  });
});

describe("a client that does not wait", () => {
  test("leaves with 0 when the job has been started, and the job goes on", async () => {
    await using box = new Sandbox();
    await box.serve();
    await box.bash("mkfifo gate");
    // It holds our stdout, so its end is not the end of the pipe.
    const client = box.startPfc(["sh", "-c", "read go < gate; echo $go > did.tmp; mv did.tmp did"]);
    expect(await client.exited).toBe(0);
    expect((await box.status()).running).toBe(1);
    expect(existsSync(box.path("work/did"))).toBe(false);
    await box.bash("echo went on > gate");
    await until("the job is over", () => existsSync(box.path("work/did")));
    expect(box.read("work/did")).toBe("went on\n");
    const status = await until("it is counted", async () => {
      const now = await box.status();
      return now.running === 0 && now;
    });
    expect({ done: status.done, failed: status.failed }).toEqual({ done: 1, failed: 0 });
  });

  test("has its output all the same", async () => {
    await using box = new Sandbox();
    await box.serve();
    const client = box.startPfc(["sh", "-c", "echo out; echo err >&2; exit 9"]);
    expect(await client.ended).toEqual(ended({ stdout: "out\n", stderr: "err\n" }));
    await until("it is counted", async () => (await box.status()).failed === 1);
  });

  test("keeps a piped stdin", async () => {
    await using box = new Sandbox();
    await box.serve();
    const run = await box.run(["pfc", "cat"], { stdin: "piped\n" });
    expect(run).toEqual(ended({ stdout: "piped\n" }));
  });

  test("does not take its job along when it is gone, or its shell", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    await box.run(["setsid", "-w", "bash", "-c", "pfc sleep 1000 >/dev/null 2>&1; exit"]);
    const job = await childNamed(daemon.pid, "sleep");
    expect(await box.pfc("-w", "true")).toEqual(ended());
    await until("it goes on", () => processStat(job.pid)?.state === "S");
  });

  test("runs a command of the image like a program", async () => {
    await using box = new Sandbox();
    await box.serveWarm();
    expect(await box.pfc("add", "1", "2")).toEqual(ended({ stdout: "3\n" }));
  });

  test("still says that a command cannot be found", async () => {
    await using box = new Sandbox();
    await box.serve();
    expect(await box.pfc("no-such-command")).toEqual(
      ended({ stderr: "pfc: no-such-command: command not found\n", end: 127 }),
    );
  });
});

describe("which program a command is", () => {
  test("a script without #! runs under sh", async () => {
    await using box = new Sandbox();
    box.write("work/script", 'echo "$0:$1:$#"\nexit 4\n', 0o755);
    await box.serve();
    expect(await box.pfc("-w", "./script", "a b", "")).toEqual(
      ended({ stdout: "./script:a b:2\n", end: 4 }),
    );
    box.write("bin/in-path", "echo in path $1\n", 0o755);
    expect(await box.pfc("-w", "in-path", "x")).toEqual(ended({ stdout: "in path x\n" }));
  });

  test("an empty executable file does nothing, with success", async () => {
    await using box = new Sandbox();
    box.write("work/empty", "", 0o755);
    await box.serve();
    expect(await box.pfc("-w", "./empty")).toEqual(ended());
  });

  test("a script with #! runs under its interpreter", async () => {
    await using box = new Sandbox();
    box.write("work/script", "#!/bin/bash\necho $BASH_VERSION | grep -c .\n", 0o755);
    await box.serve();
    expect(await box.pfc("-w", "./script")).toEqual(ended({ stdout: "1\n" }));
  });

  test("is looked up in the client's PATH, not the daemon's", async () => {
    await using box = new Sandbox();
    box.write("client/tool", "#!/bin/sh\necho of the client\n", 0o755);
    box.write("daemon/tool", "#!/bin/sh\necho of the daemon\n", 0o755);
    await box.serve([], { env: { PATH: `${box.path("daemon")}:${box.env["PATH"]}` } });
    const env = { PATH: `${box.path("client")}:/usr/bin:/bin` };
    const run = await box.run([`${box.bin}/pfc`, "-w", "tool"], { env });
    expect(run).toEqual(ended({ stdout: "of the client\n" }));
  });

  const searches: [string, string, string][] = [
    ["a relative element is the client's", "sub:/usr/bin:/bin", "sub"],
    ["an empty element is the working directory", ":/usr/bin:/bin", "here"],
    ["an empty last element, too", "/usr/bin:/bin:", "here"],
    ["the first hit counts", "sub:.:/bin", "sub"],
    ["a directory of that name is passed over", "dirs:sub:/bin", "sub"],
    ["a file that is not executable is passed over", "plain:sub:/bin", "sub"],
    ["what is missing is passed over", "/no/such:sub/none:sub:/bin", "sub"],
    ["a file in place of a directory is passed over", "plain/tool:sub:/bin", "sub"],
  ];
  test.each(searches)("%s", async (_, path, expected) => {
    await using box = new Sandbox();
    box.write("work/tool", "#!/bin/sh\necho here\n", 0o755);
    box.write("work/sub/tool", "#!/bin/sh\necho sub\n", 0o755);
    box.write("work/plain/tool", "#!/bin/sh\necho plain\n", 0o644);
    box.write("work/dirs/tool/x", "");
    await box.serve();
    const run = await box.run([`${box.bin}/pfc`, "-w", "tool"], { env: { PATH: path } });
    expect(run).toEqual(ended({ stdout: `${expected}\n` }));
  });

  test("without PATH it is looked for where execvp(3) looks", async () => {
    await using box = new Sandbox();
    await box.serve();
    const run = await box.run([`${box.bin}/pfc`, "-w", "sh", "-c", "echo found"], {
      env: { PATH: undefined },
    });
    expect(run).toEqual(ended({ stdout: "found\n" }));
  });

  test("a name with a slash is not looked up, and is relative to the job's directory", async () => {
    await using box = new Sandbox();
    box.write("work/sub/tool", "#!/bin/sh\npwd -P\n", 0o755);
    await box.serve();
    expect(await box.pfc("-w", "sub/tool")).toEqual(ended({ stdout: `${box.work}\n` }));
    expect(await box.pfc("-w", "--cwd", "sub", "./tool")).toEqual(
      ended({ stdout: `${box.work}/sub\n` }),
    );
  });
});

describe("a command that cannot be run", () => {
  const cases: [string, string[], string, number][] = [
    ["not in PATH", ["no-such"], "no-such: command not found", 127],
    ["not in PATH, with a line break", ["no\nsuch"], "no\\nsuch: command not found", 127],
    ["no such file", ["./no-such"], "./no-such: no such file", 127],
    ["no such absolute file", ["/no/such"], "/no/such: no such file", 127],
    ["below a file", ["./plain/x"], "./plain/x: cannot be executed: not a directory", 126],
    ["a file with a slash", ["./plain/"], "./plain/: cannot be executed: not a directory", 126],
    ["the empty name", [""], "'': command not found", 127],
    ["the empty name, with a word", ["", "x"], "'': command not found", 127],
    [
      "an interpreter below a file",
      ["./below"],
      "./below: cannot be executed: not a directory",
      126,
    ],
    ["a missing interpreter", ["./lost"], "./lost: cannot be executed: its interpreter", 127],
    ["a dangling link", ["./dangling"], "./dangling: no such file", 127],
    ["not executable", ["./plain"], "./plain: cannot be executed: permission denied", 126],
    ["in PATH, not executable", ["plain-in-path"], "plain-in-path: cannot be executed: ", 126],
    ["a directory", ["./dir"], "./dir: cannot be executed: permission denied", 126],
    ["the working directory", ["."], ".: cannot be executed: permission denied", 126],
    ["a directory with a slash", ["./"], "./: cannot be executed: ", 126],
    ["the root directory", ["/"], "/: cannot be executed: permission denied", 126],
    ["a link to itself", ["./loop"], "./loop: cannot be executed: ", 126],
    ["a name that is too long", ["x".repeat(300)], `${"x".repeat(300)}: `, 126],
    ["a path that is too long", [`./${"x/".repeat(3000)}`], "./x/", 126],
  ];
  test.each(cases)("%s", async (_, command, complaint, status) => {
    await using box = new Sandbox();
    box.write("work/plain", "echo plain\n", 0o644);
    box.write("bin/plain-in-path", "echo plain\n", 0o644);
    box.write("work/below", "#!/etc/passwd/sh\n", 0o755);
    box.write("work/lost", "#!/no/such/interpreter\n", 0o755);
    box.write("work/dir/x", "");
    await box.bash("ln -s nowhere dangling; ln -s loop loop");
    await box.serve();
    for (const wait of [["-w"], []]) {
      const { stdout, stderr, end } = await box.pfc(...wait, ...command);
      expect(stderr).toStartWith(`pfc: ${complaint}`);
      expect(stderr).toMatch(/^[^\n]+\n$/);
      expect({ stdout, end }).toEqual({ stdout: "", end: status });
    }
    const { running, failed } = await box.status();
    expect({ running, failed }).toEqual({ running: 0, failed: 2 });
  });

  test("a file that is being written to", async () => {
    await using box = new Sandbox();
    await box.serve();
    const script = "cp /bin/true busy; exec 5<>busy; pfc -w ./busy; echo $?";
    const run = await box.bash(script);
    expect(run.stderr).toBe("pfc: ./busy: cannot be executed: the file is being written to\n");
    expect(run.stdout).toBe("126\n");
  });
});
