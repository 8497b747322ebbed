/**
 * The native starter alone, without a daemon: this process is its parent, and so the parent of the jobs it starts. What a job
 * then is under the daemon, the end-to-end tests show.
 */
import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as errno from "../../ffi/errno.ts";
import { openLibc } from "../../ffi/libc.ts";
import { O_RDONLY } from "../../ffi/linux/constants.ts";
import { allocate, cString } from "../../ffi/memory.ts";
import { Scope } from "../../src/base/scope.ts";
import { fromUtf8, stringList } from "../../src/base/strings.ts";
import { starterName, starterSocketNumber, starterWordNumber } from "../../src/domain/builtins.ts";
import { tryReap } from "../../src/os/children.ts";
import { Fd, type RawFd } from "../../src/os/fd.ts";
import { open, openNull, openPipe, openPlace, readToEnd } from "../../src/os/files.ts";
import { resourceLimits } from "../../src/os/resource-limits.ts";
import { socketPair } from "../../src/os/socket.ts";
import { trySpawn } from "../../src/os/spawn.ts";
import type { Message, RunRequest } from "../../src/protocol/messages.ts";
import { MessageReceiver, sendMessage } from "../../src/transport/channel.ts";
import { attributes, runRequest } from "../helpers/requests.ts";
import { binary } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";

const sys = openLibc();
const receiver = new MessageReceiver(sys);
const directory = mkdtempSync(join(tmpdir(), "prefork-starter-"));
afterAll(() => rmSync(directory, { recursive: true }));

const words = (...list: string[]) => stringList(fromUtf8(list.map((word) => `${word}\0`).join("")));

/** A starter that waits for jobs. It leaves when its socket closes. */
class Starter implements Disposable {
  readonly pid: number;
  readonly #socket: Fd;
  readonly #report: Fd;

  constructor() {
    using owned = new Scope();
    const { ours, theirs } = socketPair(sys);
    owned.use(ours);
    owned.use(theirs);
    const report = owned.use(new Fd(sys, sys.memfd_create(cString("report"), 1)));
    expect(sys.ftruncate(report.raw, 4096)).toBe(0);
    const nothing = owned.use(openNull(sys)).raw;
    this.pid = trySpawn(sys, {
      path: binary,
      argv: words(starterName),
      env: words(),
      descriptors: new Map<number, RawFd>([
        [0, nothing],
        [1, nothing],
        [2, 2 as RawFd],
        [starterSocketNumber, theirs.raw],
        [starterWordNumber, report.raw],
      ]),
    });
    expect(this.pid).toBeGreaterThan(0);
    this.#socket = ours.move();
    this.#report = report.move();
  }

  /** The child that it has begun, as its parent would read it. */
  get begun(): number {
    const word = allocate(4);
    expect(sys.pread(this.#report.raw, word, 4, 0)).toBe(4);
    return word.view.getInt32(0, true);
  }

  send(request: Partial<RunRequest>, fds: readonly RawFd[], id = 7): void {
    using place = openPlace(sys, directory);
    const message: RunRequest = {
      ...runRequest,
      attributes: { ...attributes, limits: resourceLimits(sys) },
      ...request,
      descriptors: fds.map((_, index) => ({
        number: request.descriptors?.[index]?.number ?? index,
        index: index + 1,
      })),
    };
    expect(sendMessage(sys, this.#socket.raw, { id, message }, [place.raw, ...fds])).toBe("sent");
  }

  answer(): { id: number; message: Message } | "gone" | "again" {
    const received = receiver.receive(this.#socket.raw);
    if (typeof received === "string") return received;
    using owned = received;
    return { id: owned.id, message: owned.message };
  }

  /** Runs one job to its end. @returns what it wrote to its stdout, and its wait status. */
  run(
    request: Partial<RunRequest>,
    more: readonly RawFd[] = [],
  ): { out: string; status: number | undefined } {
    using nothing = openNull(sys);
    const pipe = openPipe(sys);
    using readEnd = pipe.readEnd;
    using writeEnd = pipe.writeEnd;
    this.send(request, [nothing.raw, writeEnd.raw, writeEnd.raw, ...more]);
    writeEnd[Symbol.dispose]();
    const answer = this.answer();
    if (typeof answer === "string") throw new Error(`the starter is ${answer}`);
    const { message } = answer;
    if (message.type !== "started") throw new Error(`not started: ${JSON.stringify(message)}`);
    const out = new TextDecoder().decode(readToEnd(sys, readEnd.raw));
    return { out, status: tryReap(sys, message.pid, { wait: true })?.waitStatus };
  }

  /** Has a job fail. @returns the stage and the errno; the child that failed is reaped. */
  fail(request: Partial<RunRequest>): [string, number] {
    using nothing = openNull(sys);
    this.send(request, [nothing.raw, nothing.raw, nothing.raw]);
    const answer = this.answer();
    if (typeof answer === "string" || answer.message.type !== "notStarted") {
      throw new Error(`not refused: ${JSON.stringify(answer)}`);
    }
    tryReap(sys, this.begun, { wait: true });
    return [answer.message.stage, answer.message.errno];
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
    this.#report[Symbol.dispose]();
    tryReap(sys, this.pid, { wait: true });
  }
}

/** A set of signals. */
function mask(...signals: number[]): Uint8Array {
  const bits = signals.reduce((all, signal) => all | (1n << BigInt(signal - 1)), 0n);
  return new Uint8Array(BigUint64Array.of(bits).buffer);
}

/** See fcntl(2). */
const F_SETSIG = 10;
const F_SETLEASE = 1024;
const F_WRLCK = 1;
const F_UNLCK = 2;

const shell = (script: string): Partial<RunRequest> => ({
  argv: words("sh", "-c", script),
  env: words(`PATH=${process.env["PATH"]}`),
});

test("a starter serves one job after the other, and leaves with its socket", () => {
  using starter = new Starter();
  for (let round = 0; round < 3; round++) {
    expect(starter.run(shell(`echo ${round}; exit ${round}`))).toEqual({
      out: `${round}\n`,
      status: round << 8,
    });
  }
  // Nothing of the jobs is left open in it.
  const open = readFileSync(`/proc/${starter.pid}/status`, "utf8");
  expect(open).toMatch(/^Name:\tpfd-starter$/m);
  expect(starter.run({ argv: words("/bin/ls", `/proc/${starter.pid}/fd`) }).out).toBe(
    "0\n1\n2\n3\n4\n",
  );
});

test("the job is a child of the starter's parent, in a group of its own, and begins in its directory", () => {
  using starter = new Starter();
  const { out } = starter.run(
    shell("echo $PPID; pwd; read _ _ _ _ group _ </proc/self/stat; [ $group = $$ ] && echo own"),
  );
  expect(out).toBe(`${process.pid}\n${directory}\nown\n`);
});

test("arguments and environment are bytes, however many there are", () => {
  using starter = new Starter();
  const long = "x".repeat(100_000);
  const { out } = starter.run({
    argv: words("/bin/sh", "-c", "echo $#; expr length $1; expr length $BIG", "sh", long, "", "c"),
    env: words(`BIG=${long}`),
  });
  expect(out).toBe("3\n100000\n100000\n");
  const bytes = starter.run({
    argv: stringList(Uint8Array.from(Buffer.from("/bin/echo\0\xff\xfe\0", "latin1"))),
  });
  expect(bytes.out).toBe(new TextDecoder().decode(Uint8Array.from([0xff, 0xfe, 0x0a])));
});

describe("what cannot be started, and at which stage", () => {
  const plain = join(directory, "plain");
  writeFileSync(plain, "");
  const lost = join(directory, "lost-interpreter");
  writeFileSync(lost, "#!/nowhere/at/all\n");
  chmodSync(lost, 0o755);
  mkdirSync(join(directory, "folder"));
  const search = (path: string) => ({ env: words(`PATH=${path}`) });
  const rows: [string, Partial<RunRequest>, [string, number]][] = [
    ["no such file", { argv: words("/nowhere") }, ["program", errno.ENOENT]],
    ["an empty command", { argv: words("") }, ["program", errno.ENOENT]],
    [
      "nothing along PATH",
      { argv: words("nowhere"), ...search("/bin:/usr/bin") },
      ["program", errno.ENOENT],
    ],
    ["a file in place of a directory", { argv: words(`${plain}/x`) }, ["program", errno.ENOTDIR]],
    [
      "one along PATH is passed over",
      { argv: words("nowhere"), ...search(plain) },
      ["program", errno.ENOENT],
    ],
    ["a directory", { argv: words("./folder") }, ["program", errno.EACCES]],
    ["an interpreter that is missing", { argv: words(lost) }, ["interpreter", errno.ENOENT]],
    [
      "a name too long",
      { argv: words("n".repeat(256)), ...search("/bin") },
      ["program", errno.ENAMETOOLONG],
    ],
    [
      "a PATH too long for any process",
      { argv: words("true"), ...search(`/bin:${"p".repeat(140_000)}`) },
      ["program", errno.E2BIG],
    ],
    [
      "an argument too long",
      { argv: words("/bin/true", "a".repeat(140_000)) },
      ["program", errno.E2BIG],
    ],
  ];
  test.each(rows)("%s", (_, request, expected) => {
    using starter = new Starter();
    expect(starter.fail(request)).toEqual(expected);
    expect(starter.run(shell("echo next")).out).toBe("next\n");
  });
});

test("a script without a #! line is given to sh", () => {
  const script = join(directory, "no-line");
  writeFileSync(script, 'echo "$0 $1"\n');
  chmodSync(script, 0o755);
  using starter = new Starter();
  expect(starter.run({ argv: words(script, "one") }).out).toBe(`${script} one\n`);
  expect(
    starter.run({ argv: words("no-line", "two"), env: words(`PATH=/bin:${directory}`) }).out,
  ).toBe(`${script} two\n`);
});

test("descriptors come under any number, also over each other; those that are not given are closed", () => {
  using starter = new Starter();
  const file = join(directory, "numbers");
  writeFileSync(file, "three");
  using three = open(sys, file, O_RDONLY);
  using nothing = openNull(sys);
  const pipe = openPipe(sys);
  using readEnd = pipe.readEnd;
  using writeEnd = pipe.writeEnd;
  starter.send(
    {
      argv: words("/bin/sh", "-c", "ls /proc/self/fd; cat <&3"),
      descriptors: [3, 1, 9].map((number) => ({ number, index: 0 })),
    },
    [three.raw, writeEnd.raw, nothing.raw],
  );
  writeEnd[Symbol.dispose]();
  const answer = starter.answer();
  if (typeof answer === "string" || answer.message.type !== "started")
    throw new Error("not started");
  expect(answer.id).toBe(7);
  expect(new TextDecoder().decode(readToEnd(sys, readEnd.raw))).toMatch(/^0\n1\n3\n9\nthree$/);
  tryReap(sys, answer.message.pid, { wait: true });
});

test("umask, nice value, limits, signals, OOM score, CPUs, I/O priority, personality and more are taken on", () => {
  using starter = new Starter();
  const limits = resourceLimits(sys);
  limits.view.setBigUint64(4 * 16, 0n, true); // RLIMIT_CORE, soft and hard
  limits.view.setBigUint64(4 * 16 + 8, 0n, true);
  const { out } = starter.run({
    ...shell(
      "umask; nice; ulimit -c; ulimit -Hc; cat /proc/self/oom_score_adj /proc/self/coredump_filter /proc/self/timerslack_ns" +
        " /proc/self/personality; grep -E '^(SigIgn|NoNewPrivs|Cpus_allowed_list)' /proc/self/status; ionice",
    ),
    attributes: {
      ...attributes,
      limits,
      umask: 0o27,
      nice: 7,
      ignoredSignals: mask(13, 33, 64),
      oomScoreAdj: 321,
      coredumpFilter: 0x11,
      personality: 0x0040000,
      noNewPrivs: true,
      ioPriority: (2 << 13) | 6,
      timerSlackNs: 77_000n,
      affinity: Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0]),
    },
  });
  expect(out.split("\n")).toEqual([
    "0027",
    "7",
    "0",
    "0",
    "321",
    "00000011",
    "77000",
    "00040000",
    "SigIgn:\t8000000100001000",
    "NoNewPrivs:\t1",
    "Cpus_allowed_list:\t0",
    "best-effort: prio 6",
    "",
  ]);
  // The next one finds nothing of it.
  expect(starter.run(shell("umask; nice; grep SigIgn /proc/self/status")).out).toBe(
    "0022\n0\nSigIgn:\t0000000000000000\n",
  );
});

test("blocked signals are, any of them", () => {
  using starter = new Starter();
  const { out } = starter.run({
    argv: words("/bin/grep", "SigBlk", "/proc/self/status"), // and no shell, which unblocks them
    attributes: { ...attributes, limits: resourceLimits(sys), blockedSignals: mask(30, 34) },
  });
  expect(out).toBe("SigBlk:\t0000000220000000\n");
});

test("the scheduling policy, and its nice value with it, are taken on", () => {
  using starter = new Starter();
  const scheduling = allocate(48);
  scheduling.view.setUint32(0, 48, true);
  scheduling.view.setUint32(4, 3, true); // SCHED_BATCH
  scheduling.view.setInt32(16, 4, true);
  const { out } = starter.run({
    ...shell("chrt -p $$; nice"),
    attributes: { ...attributes, limits: resourceLimits(sys), nice: 4, scheduling },
  });
  expect(out).toMatch(/SCHED_BATCH(.|\n)*\n4\n$/);
});

test("while an exec hangs, the word it shares with its parent names the child", async () => {
  using starter = new Starter();
  expect(starter.begun).toBe(0);
  const program = join(directory, "leased");
  copyFileSync("/bin/true", program);
  chmodSync(program, 0o755);
  using file = open(sys, program, O_RDONLY);
  // Whoever opens it has to wait until we give the lease back; we are told by SIGURG, which does nothing.
  expect(sys.fcntl(file.raw, F_SETSIG, 23)).toBe(0);
  expect(sys.fcntl(file.raw, F_SETLEASE, F_WRLCK)).toBe(0);
  using nothing = openNull(sys);
  starter.send({ argv: words(program) }, [nothing.raw, nothing.raw, nothing.raw]);
  await until("there is a child", () => starter.begun > 0);
  const pid = starter.begun;
  expect(readFileSync(`/proc/${pid}/stat`, "utf8")).toContain(` ${process.pid} `);
  expect(sys.fcntl(file.raw, F_SETLEASE, F_UNLCK)).toBe(0);
  const answer = starter.answer();
  expect(answer).toEqual({ id: 7, message: { type: "started", pid } });
  expect(tryReap(sys, pid, { wait: true })?.waitStatus).toBe(0);
});
