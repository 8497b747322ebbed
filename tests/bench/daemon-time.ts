/**
 * `bun tests/bench/daemon-time.ts [JOBS]`: what the daemon itself does for each job, in processor time and in system
 * calls (by strace, where there is one). The clients are this one process, one job after the other, so that next to
 * nothing else runs. Build first.
 */
import { readFileSync } from "node:fs";
import { openLibc } from "../../ffi/libc.ts";
import { signalMaskSize } from "../../src/base/limits.ts";
import { Scope } from "../../src/base/scope.ts";
import { fromLatin1, stringList } from "../../src/base/strings.ts";
import { capture } from "../../src/client/capture.ts";
import { standard } from "../../src/os/fd.ts";
import { openPlace } from "../../src/os/files.ts";
import { ownEnvironment, workingDirectory } from "../../src/os/process.ts";
import { openConnector, tryConnect } from "../../src/os/socket.ts";
import type { RunRequest } from "../../src/protocol/messages.ts";
import { MessageReceiver, sendMessage } from "../../src/transport/channel.ts";
import { interruptible } from "../helpers/interruption.ts";
import { Sandbox } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";
import { machine, roundsWanted, say, table } from "./measurement.ts";

const jobsDefault = 2000;
/** Jobs before the first that counts: code is compiled, buffers are there. */
const warmUpJobs = 1000;
/** Jobs under strace, which slows them down. */
const tracedJobs = 400;
/** The unit of the times in /proc/PID/stat. */
const tickMs = 10;

const sys = openLibc();
const receiver = new MessageReceiver(sys);
const place = openPlace(sys, ".");

interface Kind {
  readonly name: string;
  readonly words: readonly string[];
  readonly wait: boolean;
}

const kinds: readonly Kind[] = [
  { name: "/bin/true, waited for", words: ["/bin/true"], wait: true },
  { name: "/bin/true, detached", words: ["/bin/true"], wait: false },
  { name: "true, waited for", words: ["true"], wait: true },
];

await interruptible(async (interrupted) => {
  const jobs = roundsWanted(jobsDefault);
  await using box = new Sandbox();
  const { pid, socketPath } = await box.serveWarm();
  const untilIdle = async (): Promise<void> => {
    await until("the daemon is idle", async () => (await box.status()).running === 0);
  };
  say(`${machine()}\n${jobs} jobs each, one after the other\n\n`);
  const rows: string[][] = [["", "user µs", "system µs", "system calls"]];
  for (const kind of kinds) {
    interrupted.throwIfAborted();
    const request = requestFor(kind);
    for (let job = 0; job < warmUpJobs; job++) runJob(socketPath, request);
    const before = timesOf(pid);
    for (let job = 0; job < jobs; job++) runJob(socketPath, request);
    const after = timesOf(pid);
    await untilIdle();
    const user = ((after.userMs - before.userMs) * 1000) / jobs;
    const system = ((after.systemMs - before.systemMs) * 1000) / jobs;
    const calls = await callsOf(pid, box.path("calls"), () => {
      for (let job = 0; job < tracedJobs; job++) runJob(socketPath, request);
    });
    await untilIdle();
    rows.push([kind.name, user.toFixed(0), system.toFixed(0), calls]);
  }
  say(table(rows));
  return 0;
});

/** What this process would send as a client; its descriptors are our own, which stay open. */
function requestFor({ words, wait }: Kind): RunRequest {
  using owned = new Scope();
  const { request } = capture(
    sys,
    {
      blockedSignals: new Uint8Array(signalMaskSize),
      closed: new Set(),
      inherited: [],
      argv: stringList(fromLatin1(words.map((word) => `${word}\0`).join(""))),
      env: ownEnvironment(sys),
      workingDirectory: workingDirectory(sys),
    },
    {
      wait,
      warm: false,
      stdin: "keep",
      descriptors: [],
      directory: undefined,
      policy: { timeoutMs: 0, killAfterMs: 0, killGroup: false, onDisconnect: "hangup" },
    },
    { owned, terminals: {} },
  );
  return { ...request, unconfigured: true };
}

/** One client: sends its request, and leaves when it has been told all there is for it. */
function runJob(socketPath: string, request: RunRequest): void {
  using socket = openConnector(sys, 1000);
  if (tryConnect(sys, socket.raw, socketPath) !== "connected") throw new Error("no connection");
  const { input, output, error } = standard;
  sendMessage(sys, socket.raw, { id: 0, message: request }, [place.raw, input, output, error]);
  for (;;) {
    const received = receiver.receive(socket.raw);
    if (received === "again") continue;
    if (received === "gone") throw new Error("the daemon has left");
    const { type } = received.message;
    if (type === "refused") throw new Error(received.message.reason);
    if (type === (request.wait ? "exited" : "accepted")) return;
  }
}

function timesOf(pid: number): { userMs: number; systemMs: number } {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { userMs: Number(fields[11]) * tickMs, systemMs: Number(fields[12]) * tickMs };
}

/** System calls of `pid` itself for each of the traced jobs; "?" without strace. */
async function callsOf(pid: number, file: string, act: () => void): Promise<string> {
  if (Bun.which("strace") === null) return "?";
  await using tracer = Bun.spawn(["strace", "-c", "-p", String(pid), "-o", file], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const reader = tracer.stderr.getReader();
  await reader.read(); // "Process PID attached"
  act();
  tracer.kill("SIGINT");
  await tracer.exited;
  const summary = readFileSync(file, "latin1");
  const total = /^.*\btotal$/m.exec(summary)?.[0].trim().split(/\s+/) ?? [];
  say(`${summary}\n`);
  return (Number(total[3]) / tracedJobs).toFixed(1);
}
