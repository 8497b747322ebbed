/** What a job sees: argv, environment, directory, umask, descriptors, signals, process group. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { type Bytes, entriesOf, nulTerminated, runExactly } from "../helpers/exact-spawn.ts";
import {
  childNamed,
  descriptorsOf,
  processStat,
  signalProcess,
  statusField,
} from "../helpers/process.ts";
import { ended, quoted, Sandbox } from "../helpers/sandbox.ts";
import { Descriptor } from "../helpers/seqpacket.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(30_000);

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
/** Every byte a string can hold. */
const allBytes = Uint8Array.from({ length: 255 }, (_, index) => index + 1);
/** Prints the argv of the shell that runs it. */
const printOwnArgv = 'cat "/proc/$$/cmdline"';

describe("argv arrives byte for byte", () => {
  const lists: [string, Bytes[]][] = [
    ["none", []],
    ["empty strings", ["", "", ""]],
    ["spaces, quotes, dollars and globs", [" ", "'", '"', "$HOME", "*", "\\", "`id`", "a b"]],
    ["line breaks and control bytes", ["a\nb", "\r\n", "\t", "\x01\x02\x1b[0m", "\n"]],
    ["UTF-8", ["ünïcödé", "日本語", "🙂", "\u0301"]],
    ["invalid UTF-8", [bytes(0xff), bytes(0xc3), bytes(0xed, 0xa0, 0x80), bytes(0x61, 0x80, 0x62)]],
    ["every byte", [allBytes]],
    ["words that look like options", ["-w", "--", "--help", "-C", "--socket"]],
    ["2,000 arguments", Array.from({ length: 2000 }, (_, index) => `argument ${index}`)],
    ["100,000 empty arguments", Array.from({ length: 100_000 }, () => "")],
    ["a body just below 64 KiB", ["x".repeat(65_000)]],
    ["a body of 64 KiB and more", ["x".repeat(70_000), bytes(0xff)]],
    ["a body of 1.5 MB", Array.from({ length: 15 }, (_, i) => String(i % 10).repeat(100_000))],
  ];
  test.each(lists)("%s", async (_, args) => {
    await using box = new Sandbox();
    await box.serve();
    const command: Bytes[] = ["sh", "-c", printOwnArgv, "name", ...args];
    const run = runExactly(box, `${box.bin}/pfc`, ["pfc", "-w", ...command], entriesOf(box.env));
    expect(Buffer.from(run.stderr).toString()).toBe("");
    expect(Buffer.compare(run.stdout, nulTerminated(command))).toBe(0);
    expect(run.end).toBe(0);
  });

  test("every size around the change from datagram to memory file", async () => {
    await using box = new Sandbox();
    await box.serve();
    const env = entriesOf(box.env);
    const fixed: Bytes[] = ["sh", "-c", printOwnArgv, "name"];
    for (let size = 64_500; size <= 65_700; size += 75) {
      const command = [...fixed, "x".repeat(size)];
      const run = runExactly(box, `${box.bin}/pfc`, ["pfc", "-w", ...command], env);
      expect(Buffer.from(run.stderr).toString()).toBe("");
      expect(Buffer.compare(run.stdout, nulTerminated(command))).toBe(0);
    }
  });

  test("what the caller's stack limit allows arrives, whatever the daemon's own is", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    // The kernel allows a quarter of the stack limit: 2 MiB to the daemon, 6 MiB to this client.
    const script = `
      ulimit -s unlimited
      args=(); big=$(printf '%0100000d' 0)
      for i in {1..40}; do args+=("$big"); done
      exec pfc -w sh -c 'echo $#' sh "\${args[@]}"`;
    expect(await box.bash(script)).toEqual(ended({ stdout: "40\n" }));
    expect(processStat(daemon.pid)?.name).toBe("pfd");
  });

  test("that of a command in the image, too", async () => {
    await using box = new Sandbox();
    await box.serveWarm();
    // All but the line break, which a complaint shows in another way to stay one line.
    const printed = allBytes.filter((byte) => byte !== 0x0a);
    const argv: Bytes[] = ["pfc", "-w", "add", printed, bytes(0xff, 0xfe), ""];
    const run = runExactly(box, `${box.bin}/pfc`, argv, entriesOf(box.env));
    const complaint = (argument: Uint8Array): Buffer =>
      Buffer.concat([Buffer.from("add: '"), argument, Buffer.from("' is not a number\n")]);
    const expected = [printed, bytes(0xff, 0xfe), bytes()].map(complaint);
    expect(Buffer.from(run.stderr).toString("latin1")).toBe(
      Buffer.concat(expected).toString("latin1"),
    );
    expect(run.stdout.length).toBe(0);
    expect(run.end).toBe(1);
  });
});

describe("the environment arrives byte for byte", () => {
  const lists: [string, Bytes[]][] = [
    ["nothing odd", ["A=1", "B=2"]],
    ["empty values and names", ["EMPTY=", "=x", "="]],
    ["no equals sign", ["NOTHING", ""]],
    ["the same name twice", ["TWICE=1", "TWICE=2", "PATH=/nowhere"]],
    ["line breaks", ["LINES=a\nb\n", "TAB=\t"]],
    ["invalid UTF-8 in value and name", [Buffer.from("V=\xff\xfe", "latin1"), bytes(0xff, 0x3d)]],
    ["every byte", [Buffer.concat([Buffer.from("ALL="), allBytes])]],
    ["settings of the runtime", ["BUN_INSTALL=/x", "NODE_OPTIONS=--nope", "BUN_JSC_dumpOptions=0"]],
    ["settings of the daemon's own kind", ["BUN_JSC_useConcurrentGC=0", "PFD_PROJECT=x"]],
    [
      "500 variables of 200 bytes",
      Array.from({ length: 500 }, (_, i) => `V${i}=${"y".repeat(200)}`),
    ],
    ["one variable of 120 KB", [`BIG=${"z".repeat(120_000)}`]],
  ];
  test.each(lists)("%s", async (_, entries) => {
    await using box = new Sandbox();
    await box.serve();
    const env = [...entriesOf(box.env), ...entries];
    const argv = ["pfc", "-w", "cat", "/proc/self/environ"];
    const run = runExactly(box, `${box.bin}/pfc`, argv, env);
    expect(Buffer.from(run.stderr).toString()).toBe("");
    expect(Buffer.from(run.stdout).toString("latin1")).toBe(
      Buffer.from(nulTerminated(env)).toString("latin1"),
    );
    expect(run.end).toBe(0);
  });

  test("an empty one stays empty", async () => {
    await using box = new Sandbox();
    await box.serve();
    const argv = ["pfc", "-w", "--socket", box.socketPath, "cat", "/proc/self/environ"];
    const run = runExactly(box, `${box.bin}/pfc`, argv, []);
    expect(Buffer.from(run.stderr).toString()).toBe("");
    expect(run.stdout.length).toBe(0);
    expect(run.end).toBe(0);
  });

  test("nothing of the daemon's is in it", async () => {
    await using box = new Sandbox();
    await box.serve([], { env: { OF_THE_DAEMON: "1", SHARED: "daemon" } });
    const run = await box.run(["pfc", "-w", "env"], { env: { SHARED: "client" } });
    const names = run.stdout.trimEnd().split("\n").sort();
    const expected = Object.entries({ ...box.env, SHARED: "client" });
    expect(names).toEqual(expected.map(([name, value]) => `${name}=${value}`).sort());
  });
});

describe("umask", () => {
  test.each(["000", "022", "027", "077", "777"])("%s", async (mask) => {
    await using box = new Sandbox();
    await box.serve();
    const script = `umask ${mask}; exec pfc -w sh -c 'umask; : > made; stat -c %a made'`;
    const created = (0o666 & ~Number.parseInt(mask, 8)).toString(8);
    expect(await box.bash(script)).toEqual(ended({ stdout: `0${mask}\n${created}\n` }));
  });

  test("the daemon's own stays as it was", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const before = statusField(daemon.pid, "Umask");
    await box.bash("umask 777; exec pfc -w true");
    expect(statusField(daemon.pid, "Umask")).toBe(before);
  });
});

describe("the working directory", () => {
  test("is the caller's", async () => {
    await using box = new Sandbox();
    await box.serve();
    mkdirSync(box.path("work", "sub dir"));
    const run = await box.run(["pfc", "-w", "pwd", "-P"], { cwd: box.path("work", "sub dir") });
    expect(run).toEqual(ended({ stdout: `${box.work}/sub dir\n` }));
  });

  test("may be one that was deleted", async () => {
    await using box = new Sandbox();
    await box.serve();
    const script = "mkdir gone; cd gone; rmdir ../gone; exec pfc -w readlink /proc/self/cwd";
    expect(await box.bash(script)).toEqual(ended({ stdout: `${box.work}/gone (deleted)\n` }));
    const add = "mkdir gone; cd gone; rmdir ../gone; exec pfc -w add 1 2";
    expect(await box.bash(add)).toEqual(ended({ stdout: "3\n" }));
  });

  test("may be one that was deleted, named by a descriptor", async () => {
    await using box = new Sandbox();
    await box.serve();
    const script =
      "mkdir d; exec 9<d; rmdir d; pfc -w --cwd /proc/self/fd/9 readlink /proc/self/cwd";
    expect(await box.bash(script)).toEqual(ended({ stdout: `${box.work}/d (deleted)\n` }));
  });

  test("may be one that was moved: the job is in the directory, not at its old path", async () => {
    await using box = new Sandbox();
    await box.serve();
    const script = "mkdir a; cd a; mv ../a ../b; exec pfc -w pwd -P";
    expect(await box.bash(script)).toEqual(ended({ stdout: `${box.work}/b\n` }));
  });

  test("may have a path longer than PATH_MAX", async () => {
    await using box = new Sandbox();
    await box.serve();
    const script = `
      part=$(printf '%0200d' 0)
      for i in {1..25}; do mkdir $part; cd -P $part 2>/dev/null || exit 9; done
      exec pfc -w sh -c 'echo here > made; cat made'`;
    expect(await box.bash(script)).toEqual(ended({ stdout: "here\n" }));
    await box.bash("find . -depth -delete");
  });

  const choices: [string, string, string][] = [
    ["absolute", "/usr", "/usr"],
    ["relative to the caller's", "sub", "WORK/sub"],
    ["with dots", "sub/../sub/.", "WORK/sub"],
    ["through a link", "link", "WORK/sub"],
  ];
  test.each(choices)("--cwd %s", async (_, directory, expected) => {
    await using box = new Sandbox();
    await box.serve();
    mkdirSync(box.path("work", "sub"));
    await box.bash("ln -s sub link");
    expect(await box.pfc("-w", "--cwd", directory, "pwd", "-P")).toEqual(
      ended({ stdout: `${expected.replace("WORK", box.work)}\n` }),
    );
  });

  const impossible: [string, string, string][] = [
    ["missing", "nowhere", "no such file or directory"],
    ["a file", "file", "not a directory"],
    ["below a file", "file/sub", "not a directory"],
    ["the empty name", "", "no such file or directory"],
  ];
  test.each(impossible)("--cwd %s is refused with 125", async (_, directory, why) => {
    await using box = new Sandbox();
    await box.serve();
    box.write("work/file", "");
    const { stdout, stderr, end } = await box.pfc("-w", "--cwd", directory, "true");
    expect(stderr).toMatch(/^pfc: cannot use the directory [^\n]+\n$/);
    expect(stderr).toContain(why);
    expect({ stdout, end }).toEqual({ stdout: "", end: 125 });
  });
});

describe("stdin, stdout and stderr", () => {
  test("stdin from a pipe, with its end", async () => {
    await using box = new Sandbox();
    await box.serve();
    const run = await box.run(["pfc", "-w", "cat"], { stdin: "one\ntwo\n" });
    expect(run).toEqual(ended({ stdout: "one\ntwo\n" }));
  });

  test("5 MB through stdin and stdout", async () => {
    await using box = new Sandbox();
    await box.serve();
    const text = "0123456789abcde\n".repeat(320_000);
    const run = await box.run(["pfc", "-w", "cat"], { stdin: text });
    const hash = (of: string): string => createHash("sha256").update(of).digest("hex");
    expect(hash(run.stdout)).toBe(hash(text));
    expect(run.end).toBe(0);
  });

  test("are separate", async () => {
    await using box = new Sandbox();
    await box.serve();
    const run = await box.pfc("-w", "sh", "-c", "echo out; echo err >&2; echo out2");
    expect(run).toEqual(ended({ stdout: "out\nout2\n", stderr: "err\n" }));
  });

  test("-n gives /dev/null as stdin", async () => {
    await using box = new Sandbox();
    await box.serve();
    const run = await box.run(["pfc", "-wn", "sh", "-c", "readlink /proc/self/fd/0; cat"], {
      stdin: "not read",
    });
    expect(run).toEqual(ended({ stdout: "/dev/null\n" }));
  });

  test("a file's position is shared with what ran before and what runs after", async () => {
    await using box = new Sandbox();
    await box.serve();
    box.write("work/input", "abcdefghi");
    const script = `{
      dd bs=1 count=3 status=none; echo
      pfc -w dd bs=1 count=3 status=none; pfc -w echo
      dd bs=1 count=3 status=none; echo
    } < input > output; cat output`;
    expect(await box.bash(script)).toEqual(ended({ stdout: "abc\ndef\nghi\n" }));
  });

  test("a flag set on the caller's file is not changed by us", async () => {
    await using box = new Sandbox();
    await box.serve();
    const script = `mkfifo fifo; exec 5<>fifo
      flags() { sed -n 's/^flags:\\t//p' /proc/$$/fdinfo/5; }
      before=$(flags); pfc -w true <&5 >&5 2>&5; pfc -w add 1 <&5 2>&5
      [ "$before" = "$(flags)" ] && echo same`;
    expect(await box.bash(script)).toEqual(ended({ stdout: "1\nsame\n" }));
  });

  const closings: [string, number[]][] = [
    ["<&-", [0]],
    [">&-", [1]],
    ["2>&-", [2]],
    ["<&- >&-", [0, 1]],
    ["<&- >&- 2>&-", [0, 1, 2]],
  ];
  test.each(closings)("closed with %s: closed in a program", async (redirection, closed) => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const client = box.start(["bash", "-c", `exec pfc -w sleep 1000 ${redirection}`]);
    const job = await childNamed(daemon.pid, "sleep");
    const open = [0, 1, 2].filter((number) => !closed.includes(number));
    // The dynamic loader opens libraries under the lowest free number, which may be one of these.
    await until("it has been loaded", () => processStat(job.pid)?.state === "S");
    expect([...descriptorsOf(job.pid).keys()].sort()).toEqual(open);
    client.kill("SIGTERM");
    expect(await client.exited).toBe("SIGTERM");
  });

  test.each(closings)(
    "closed with %s: closed in a command of the image",
    async (redirection, closed) => {
      await using box = new Sandbox();
      const daemon = await box.serveWarm();
      // It blocks in its write to a pipe nobody reads: a number larger than the pipe.
      const [readEnd, writeEnd] = Descriptor.pipe();
      const into = closed.includes(1) ? "stderr" : "stdout";
      const number = into === "stdout" ? "9".repeat(100_000) : "x".repeat(100_000);
      if (closed.includes(1) && closed.includes(2)) {
        // With nowhere to write it is over at once; only its status tells.
        const run = await box.bash(`pfc -w add 1 2 ${redirection}; echo $? >&2`);
        expect(run.stderr).toBe("1\n");
      } else {
        const script = `exec pfc -w add ${number} ${redirection}`;
        const client = box.start(["bash", "-c", script], { [into]: writeEnd.number });
        const job = await childNamed(daemon.pid, "add");
        await until("it writes", () => processStat(job.pid)?.state === "S");
        const open = [0, 1, 2].filter((fd) => !closed.includes(fd));
        expect([...descriptorsOf(job.pid).keys()].sort()).toEqual(open);
        client.kill("SIGTERM");
        await client.exited;
      }
      readEnd[Symbol.dispose]();
      writeEnd[Symbol.dispose]();
    },
  );

  test("a client whose stderr is closed still fails with its status", async () => {
    await using box = new Sandbox();
    const run = await box.bash("pfc -w true 2>&-; echo $?");
    expect(run).toEqual(ended({ stdout: "125\n" }));
  });
});

describe("--fd", () => {
  /** A client whose descriptors 3 to 20 and 300 are files of these names. */
  const numbers = [...Array.from({ length: 18 }, (_, index) => index + 3), 300];
  const opened = numbers.map((n) => `${n}<file-${n}`).join(" ");
  const passed = numbers.map((n) => `--fd ${n}`).join(" ");

  async function boxWithFiles(): Promise<Sandbox> {
    const box = new Sandbox();
    for (const number of numbers) box.write(`work/file-${number}`, `${number}\n`);
    return box;
  }

  test("passes descriptors under their numbers, whatever those are in the daemon", async () => {
    await using box = await boxWithFiles();
    const daemon = await box.serve();
    const inUse = [...descriptorsOf(daemon.pid).keys()];
    expect(numbers.filter((n) => inUse.includes(n)).length).toBeGreaterThan(5);
    const script = `exec ${opened}; exec pfc -w ${passed} sleep 1000`;
    const client = box.start(["bash", "-c", script]);
    const job = await childNamed(daemon.pid, "sleep");
    await until("it has been loaded", () => processStat(job.pid)?.state === "S");
    const table = descriptorsOf(job.pid);
    expect([...table.keys()].sort((a, b) => a - b)).toEqual([0, 1, 2, ...numbers]);
    for (const n of numbers) expect(table.get(n)).toBe(`${box.work}/file-${n}`);
    client.kill("SIGTERM");
    await client.exited;
  });

  test("passes them to a command of the image, too", async () => {
    await using box = await boxWithFiles();
    const daemon = await box.serveWarm();
    const [readEnd, writeEnd] = Descriptor.pipe();
    const script = `exec ${opened}; exec pfc -w ${passed} add ${"9".repeat(100_000)}`;
    const client = box.start(["bash", "-c", script], { stdout: writeEnd.number });
    const job = await childNamed(daemon.pid, "add");
    await until("it writes", () => processStat(job.pid)?.state === "S");
    const table = descriptorsOf(job.pid);
    expect([...table.keys()].sort((a, b) => a - b)).toEqual([0, 1, 2, ...numbers]);
    for (const n of numbers) expect(table.get(n)).toBe(`${box.work}/file-${n}`);
    client.kill("SIGTERM");
    await client.exited;
    readEnd[Symbol.dispose]();
    writeEnd[Symbol.dispose]();
  });

  test("a descriptor can be written to, and is closed when the job ends", async () => {
    await using box = new Sandbox();
    await box.serve();
    const run = await box.bash("pfc -w --fd 7 sh -c 'echo seven >&7' 7>&1 >/dev/null | cat");
    expect(run).toEqual(ended({ stdout: "seven\n" }));
  });

  test("a process substitution works", async () => {
    await using box = new Sandbox();
    await box.serve();
    const script = `
      f() { pfc -w --fd "\${1##*/}" --fd "\${2##*/}" diff "$1" "$2"; }
      f <(echo a) <(echo b)`;
    const run = await box.bash(script);
    expect(run).toEqual(ended({ stdout: "1c1\n< a\n---\n> b\n", end: 1 }));
  });

  const tables = [
    { what: "without it all of the caller's are passed", options: "-w", open: [0, 1, 2, 3, 5, 9] },
    { what: "it narrows what is passed", options: "-w --fd 5", open: [0, 1, 2, 5] },
    { what: "it gives a descriptor another number", options: "-w --fd 5:7", open: [0, 1, 2, 7] },
    { what: "it can take the place of a standard one", options: "-w --fd 5:0", open: [0, 1, 2] },
    { what: "a detached job gets no other by itself", options: "", open: [0, 1, 2] },
    { what: "a detached job gets what is named", options: "--fd 9:3", open: [0, 1, 2, 3] },
  ];

  test.each(tables)("$what", async ({ options, open }) => {
    await using box = new Sandbox();
    const daemon = await box.serve();
    const client = box.start([
      "bash",
      "-c",
      `exec 3</dev/zero 5</etc/passwd 9</etc/hosts; exec pfc ${options} sleep 1000`,
    ]);
    const job = await childNamed(daemon.pid, "sleep");
    await until("it has been loaded", () => processStat(job.pid)?.state === "S");
    const table = descriptorsOf(job.pid);
    expect([...table.keys()].sort()).toEqual(open);
    if (options.endsWith(":0")) expect(table.get(0)).toBe("/etc/passwd");
    if (options.endsWith(":7")) expect(table.get(7)).toBe("/etc/passwd");
    // What was handed over is the job's alone, or a reader would never see the end of a pipe.
    if (options.startsWith("-w")) {
      const kept = [...descriptorsOf(client.pid).values()];
      expect(kept.filter((target) => /passwd|hosts|zero/.test(target))).toEqual([]);
    }
    signalProcess(job.pid, "SIGTERM");
    await client.exited;
  });

  test("a file may be gone from its path by the time the job reads it", async () => {
    await using box = new Sandbox();
    await box.serve();
    const run = await box.bash("echo kept > f; exec 3<f; rm f; pfc -w --fd 3 cat /dev/fd/3");
    expect(run).toEqual(ended({ stdout: "kept\n" }));
  });

  test("the same number twice counts once", async () => {
    await using box = new Sandbox();
    await box.serve();
    const run = await box.bash("pfc -w --fd 5 --fd 5 cat /dev/fd/5 5<<<five");
    expect(run).toEqual(ended({ stdout: "five\n" }));
  });

  test("a closed descriptor is refused by name", async () => {
    await using box = new Sandbox();
    await box.serve();
    const { stdout, stderr, end } = await box.pfc("-w", "--fd", "77", "true");
    expect(stderr).toBe("pfc: cannot pass descriptor 77: it is not open (--fd 77)\n");
    expect({ stdout, end }).toEqual({ stdout: "", end: 125 });
  });

  const openMany = (count: number): string => `
    args=(); ulimit -n 2000
    for ((n = 3; n < ${count}; n++)); do eval "exec $n</dev/null"; args+=(--fd $n); done`;

  test("251 descriptors go in one message", async () => {
    await using box = new Sandbox();
    await box.serve();
    const script = `${openMany(251)}; exec pfc -w "\${args[@]}" sh -c 'ls /proc/$$/fd | wc -l'`;
    const { stdout, stderr, end } = await box.bash(script);
    expect(stderr).toBe("");
    expect(Number(stdout)).toBeGreaterThanOrEqual(251);
    expect(end).toBe(0);
  });

  test.each([252, 254, 300])("%d are too many", async (count) => {
    await using box = new Sandbox();
    await box.serve();
    const { stdout, stderr, end } = await box.bash(
      `${openMany(count)}; exec pfc -w "\${args[@]}" true`,
    );
    expect(stderr).toMatch(/^pfc: too many descriptors: \d+, [^\n]+\n$/);
    expect({ stdout, end }).toEqual({ stdout: "", end: 125 });
  });

  test("251 descriptors and a large body", async () => {
    await using box = new Sandbox();
    await box.serve();
    const script = `${openMany(251)}
      exec pfc -w "\${args[@]}" sh -c 'echo \${#1}' sh ${quoted("x".repeat(100_000))}`;
    box.write("work/script", script);
    expect(await box.run(["bash", "script"])).toEqual(ended({ stdout: "100000\n" }));
  });

  test("a number beyond what the daemon may open is refused, and nothing is left of it", async () => {
    await using box = new Sandbox();
    const daemon = await box.serveWarm();
    const before = descriptorsOf(daemon.pid).size;
    const script = `high=$(($(ulimit -Hn) - 1)); ulimit -Sn $((high + 1))
      [ $high -gt 65535 ] && high=65535
      eval "exec $high</dev/null"; exec pfc -w --fd $high sh -c 'ls /proc/self/fd >/dev/null'`;
    const { stdout, stderr, end } = await box.bash(script);
    // Where the hard limit is above all numbers we pass, it simply works.
    if (end !== 0) expect(stderr).toMatch(/^pfc: [^\n]+\n$/);
    expect([0, 125]).toContain(end as number);
    expect(stdout).toBe("");
    await until("it is closed", () => descriptorsOf(daemon.pid).size === before);
  });
});

describe("nothing of the daemon's", () => {
  test("no descriptor: not of its sockets, and not of what it inherited", async () => {
    await using box = new Sandbox();
    const script = `exec 9</etc/passwd 10</etc/group; exec pfd 2>log`;
    const daemon = box.start(["bash", "-c", script]);
    await until("it listens", () => existsSync(box.socketPath));
    const client = box.startPfc(["-w", "sleep", "1000"]);
    const job = await childNamed(daemon.pid, "sleep");
    await until("it has been loaded", () => processStat(job.pid)?.state === "S");
    expect([...descriptorsOf(job.pid).keys()].sort()).toEqual([0, 1, 2]);
    const listing = await box.pfc("-w", "ls", "/proc/self/fd");
    expect(listing.stdout).toBe("0\n1\n2\n3\n"); // 3 is the listing's own
    client.kill("SIGTERM");
    await client.exited;
    daemon.kill("SIGTERM");
    expect(await daemon.exited).toBe(0);
  });

  test("no signal mask and no ignored signal, though its own launcher ignored some", async () => {
    await using box = new Sandbox();
    const daemon = box.start(["bash", "-c", "trap '' HUP INT PIPE TERM USR1; exec pfd 2>log"]);
    await until("it listens", () => existsSync(box.socketPath));
    await box.untilWarm();
    const zero = "0".repeat(16);
    const { stdout } = await box.pfc("-w", "cat", "/proc/self/status");
    const signals = stdout.split("\n").filter((line) => /^Sig(Blk|Ign|Cgt)/.test(line));
    expect(signals).toEqual([`SigBlk:\t${zero}`, `SigIgn:\t${zero}`, `SigCgt:\t${zero}`]);
    const [readEnd, writeEnd] = Descriptor.pipe();
    const client = box.startPfc(["-w", "add", "9".repeat(100_000)], { stdout: writeEnd.number });
    const job = await childNamed(daemon.pid, "add");
    expect(statusField(job.pid, "SigBlk")).toBe(zero);
    expect(statusField(job.pid, "SigIgn")).toBe(zero);
    client.kill("SIGTERM");
    expect(await client.exited).toBe("SIGTERM");
    readEnd[Symbol.dispose]();
    writeEnd[Symbol.dispose]();
    daemon.kill("SIGKILL");
  });

  test("a process group of its own, below the daemon", async () => {
    await using box = new Sandbox();
    const daemon = await box.serveWarm();
    const program = box.startPfc(["-w", "sleep", "1000"]);
    const [readEnd, writeEnd] = Descriptor.pipe();
    const command = box.startPfc(["-w", "add", "9".repeat(100_000)], { stdout: writeEnd.number });
    for (const name of ["sleep", "add"]) {
      const job = await childNamed(daemon.pid, name);
      await until("it has its group", () => processStat(job.pid)?.group === job.pid);
      expect(processStat(job.pid)?.parent).toBe(daemon.pid);
    }
    for (const client of [program, command]) {
      client.kill("SIGTERM");
      expect(await client.exited).toBe("SIGTERM");
    }
    readEnd[Symbol.dispose]();
    writeEnd[Symbol.dispose]();
  });
});

describe("a terminal", () => {
  const hasScript = Bun.which("script") !== null; // util-linux's, which makes a terminal

  test.skipIf(!hasScript)("is not the stdin of a job nobody waits for", async () => {
    await using box = new Sandbox();
    await box.serve();
    const inner = "pfc sh -c 'readlink /proc/self/fd/0 > detached; mv detached detached.done'";
    const run = await box.run(["script", "-qec", inner, "/dev/null"], { stdin: "" });
    expect(run.end).toBe(0);
    await until("the job is over", () => existsSync(box.path("work/detached.done")));
    expect(box.read("work/detached.done")).toBe("/dev/null\n");
  });

  test.skipIf(!hasScript)("is the stdin of one somebody waits for", async () => {
    await using box = new Sandbox();
    await box.serve();
    const inner = "pfc -w sh -c 'readlink /proc/self/fd/0 > waited; test -t 1'";
    const run = await box.run(["script", "-qec", inner, "/dev/null"], { stdin: "" });
    expect(run.end).toBe(0);
    expect(box.read("work/waited")).toMatch(/^\/dev\/pts\/\d+\n$/);
  });
});
