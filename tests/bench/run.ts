/**
 * `bun run bench [ROUNDS]`: what a command costs through prefork, next to what it costs directly and
 * what the runtime itself costs, and what the daemon keeps in memory. How it is measured is in
 * measurement.ts.
 */
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compile } from "../../build.ts";
import { openLibc } from "../../ffi/libc.ts";
import { signalMaskSize } from "../../src/base/limits.ts";
import { fromLatin1, stringList } from "../../src/base/strings.ts";
import { resourceLimits } from "../../src/os/resource-limits.ts";
import { encodeBody, encodeHeader } from "../../src/protocol/encode.ts";
import { type RunRequest, unknownAttributes } from "../../src/protocol/messages.ts";
import { interruptible } from "../helpers/interruption.ts";
import { childrenOf } from "../helpers/process.ts";
import { Sandbox } from "../helpers/sandbox.ts";
import { leastRequest, leastSocket } from "./least-files.ts";
import {
  contender,
  findNode,
  goal,
  machine,
  ours,
  quantile,
  roundsWanted,
  say,
  table,
  takeTurns,
} from "./measurement.ts";

const roundsDefault = 60;

/** What `prefork run` may cost, in starts of an empty compiled Bun program. */
const runGoal = 1.6;
/** Bytes that the daemon and its base image may keep in RAM. */
const memoryGoal = 60e6;

await interruptible(async (interrupted) => {
  const rounds = roundsWanted(roundsDefault);
  const empty = await compile("tests/bench/empty.ts", "empty");
  const least = await compile("tests/bench/least.ts", "least");
  await using box = new Sandbox();
  await box.serveWarm();
  const { env, work: cwd } = box;

  serveLeast(box);
  const direct = contender("/bin/true, directly", ["/bin/true"]);
  const program = ours("prefork run -w /bin/true", ["-w", "/bin/true"]);
  const add = ours("prefork run -w add 1 2", ["-w", "add", "1", "2"]);
  const detached = ours("prefork run /bin/true", ["/bin/true"]);
  const runtime = contender("empty compiled Bun program", [empty]);
  const leastClient = contender("the least client for it", [least], { isOurs: true });
  const contenders = [direct, program, leastClient, add, detached, runtime];
  const node = findNode();
  if (node !== undefined) contenders.push(contender("node -e 0", [node, "-e", "0"]));

  const before = await memoryNow(box);
  const idle = async (): Promise<void> => await untilIdle(box);
  await takeTurns(contenders, { rounds, env, cwd, untilIdle: idle, interrupted });

  say(`${machine()}\n${rounds} rounds\n\n`);
  const unit = quantile(runtime, 0.5);
  const rows = contenders.map((one) => [
    one.name,
    quantile(one, 0.5).toFixed(2),
    quantile(one, 0.99).toFixed(2),
    (quantile(one, 0.5) / unit).toFixed(2),
  ]);
  say(table([["", "median ms", "p99 ms", "ratio"], ...rows]));
  const after = await memoryNow(box);
  say("\n");
  say(
    table([
      ["", "RSS MB at first", "PSS", "RSS MB after the rounds", "PSS"],
      ...after.map(([name, { rss, pss }], row): string[] => {
        const first = before[row]?.[1];
        return [name, inMb(first?.rss), inMb(first?.pss), inMb(rss), inMb(pss)];
      }),
    ]),
  );
  say("\n");
  for (const one of [program, add, detached]) {
    const ratio = quantile(one, 0.5) / unit;
    goal(
      `${one.name} costs ${ratio.toFixed(2)} of the empty program`,
      `${runGoal}`,
      ratio <= runGoal,
    );
  }
  const both = sum(after.slice(0, 2).map(([, memory]) => memory));
  // RSS counts a page that both processes share twice. PSS counts it once, and less where it is also
  // shared with others: with another daemon of the same binary it is too low.
  for (const [name, bytes] of [
    ["RSS", both.rss],
    ["PSS", both.pss],
  ] as const) {
    const seen = `daemon and base image keep ${inMb(bytes)} MB (${name})`;
    goal(seen, `${inMb(memoryGoal)} MB`, bytes <= memoryGoal);
  }
  return 0;
});

/** Lays out for `least.ts` what it does not do itself. */
function serveLeast(box: Sandbox): void {
  const none = new Uint8Array(signalMaskSize);
  const run: RunRequest = {
    type: "run",
    wait: true,
    attributes: {
      umask: 0o022,
      nice: 0,
      limits: resourceLimits(openLibc()),
      ignoredSignals: none,
      blockedSignals: none,
      ...unknownAttributes,
    },
    policy: { timeoutMs: 0, killAfterMs: 0, killGroup: false, onDisconnect: "hangup" },
    warm: false,
    unconfigured: true,
    controllingTerminal: false,
    terminalGuard: undefined,
    directoryIndex: 0,
    directoryPath: fromLatin1(box.work),
    descriptors: [0, 1, 2].map((number) => ({ number, index: number + 1 })),
    argv: stringList(fromLatin1("/bin/true\0")),
    env: stringList(fromLatin1("PATH=/bin\0")),
  };
  const body = encodeBody(run);
  const header = encodeHeader(run, body.length, { id: 1, fdCount: 4, bodyInMemfd: false });
  writeFileSync(join(box.work, leastRequest), Buffer.concat([header, body]));
  symlinkSync(join(box.runtime, "pfd.sock"), join(box.work, leastSocket));
}

async function untilIdle(box: Sandbox): Promise<void> {
  for (;;) {
    const { running, image } = await box.status();
    if (running === 0 && image.spares > 0) return;
  }
}

/** In bytes. See proc_pid_smaps(5). */
interface Memory {
  readonly rss: number;
  readonly pss: number;
}

/** Of the daemon, its base image, and its spare, in this order. */
async function memoryNow(box: Sandbox): Promise<[name: string, memory: Memory][]> {
  await untilIdle(box);
  const { pid, image } = await box.status();
  const spares = childrenOf(pid).filter((child) => child.pid !== image.pid);
  return [
    ["daemon", memoryOf(pid)],
    ["base image", memoryOf(image.pid)],
    ["spare", sum(spares.map((spare) => memoryOf(spare.pid)))],
  ];
}

function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
  const field = (name: string): number => {
    const kib = new RegExp(`^${name}: +(\\d+) kB$`, "m").exec(text)?.[1];
    if (kib === undefined) throw new Error(`/proc/${pid}/smaps_rollup has no ${name}`);
    return Number(kib) * 1024;
  };
  return { rss: field("Rss"), pss: field("Pss") };
}

function sum(parts: readonly Memory[]): Memory {
  const add = (total: Memory, { rss, pss }: Memory): Memory => ({
    rss: total.rss + rss,
    pss: total.pss + pss,
  });
  return parts.reduce(add, { rss: 0, pss: 0 });
}

function inMb(bytes = Number.NaN): string {
  return (bytes / 1e6).toFixed(1);
}
