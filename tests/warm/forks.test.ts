/**
 * Very many children of one image, one after the other and 64 at once: each collects garbage,
 * compiles new code, and waits for timers, files and a child. None hangs or dies, and afterwards
 * daemon and image are what they were. `PREFORK_FORKS` sets how many; 10,000 is the long form.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import {
  childrenOf,
  descendantsOf,
  ownDescriptorKinds,
  statusField,
  zombiesOf,
} from "../helpers/process.ts";
import { setting } from "../helpers/property.ts";
import { type Daemon, type Ended, ended, Sandbox } from "../helpers/sandbox.ts";
import { concurrently, until } from "../helpers/wait.ts";
import {
  copyScripts,
  equip,
  runUntilWarm,
  startWarm,
  untilSettled,
  warmRuns,
} from "../helpers/warm.ts";

const forksWanted = setting("PREFORK_FORKS") ?? 40;
const atOnce = 64;
/** One takes some 100 ms; a hang is one that takes this long. */
const hangMs = 30_000;

setDefaultTimeout(120_000 + forksWanted * 1000);

/** What the daemon and all below it are while nothing runs. */
interface Footprint {
  readonly descriptors: readonly string[];
  /** The name of each process below the daemon, and its threads. */
  readonly processes: readonly string[];
}

async function footprint(box: Sandbox, daemon: Daemon): Promise<Footprint> {
  await untilSettled(box);
  return await until("nothing changes any more", async () => {
    const first = look(daemon.pid);
    await Bun.sleep(100);
    const second = look(daemon.pid);
    return zombiesOf(daemon.pid).length === 0 && Bun.deepEquals(first, second) && second;
  });
}

function look(daemon: number): Footprint {
  const pids = [daemon, ...descendantsOf(daemon).map(({ pid }) => pid)];
  return { descriptors: ownDescriptorKinds(daemon), processes: pids.flatMap(threadsOf).sort() };
}

/** A process's name, and those of its threads; nothing when it has just ended. */
function threadsOf(pid: number): string[] {
  try {
    const names = readdirSync(`/proc/${pid}/task`).map((thread) =>
      statusField(pid, "Name", Number(thread)),
    );
    return [names.join(" ")];
  } catch {
    return [];
  }
}

test(`${forksWanted} children in a row, and ${atOnce} at once`, async () => {
  await using box = new Sandbox();
  equip(box);
  const script = join(copyScripts(box), "work-hard.ts");
  const daemon = await box.serve();
  const failures: string[] = [];
  const run = async (): Promise<Ended> => {
    const running = startWarm(box, script, []);
    const watch = setTimeout(() => {
      failures.push(`hangs: ${describeChildren(daemon.pid)}`);
      running.kill("SIGTERM");
    }, hangMs);
    const result = await running.ended;
    clearTimeout(watch);
    if (!Bun.deepEquals(result, ended({ stdout: "well\n" }))) failures.push(JSON.stringify(result));
    return result;
  };

  expect(await runUntilWarm(box, run)).toMatchObject({ isWarm: true });
  // The first crowd brings as many spares and starters as there will be.
  await concurrently(Array.from({ length: 8 }), 8, run);
  const before = await footprint(box, daemon);
  const warmBefore = await warmRuns(box);

  // Those that ran cold are none: until enough were warm.
  let warm = 0;
  for (let round = 0; warm < forksWanted && round < 10 && failures.length === 0; round++) {
    await concurrently(Array.from({ length: forksWanted - warm }), 1, run);
    warm = (await warmRuns(box)) - warmBefore;
  }
  expect(failures).toEqual([]);
  expect(warm).toBeGreaterThanOrEqual(forksWanted);

  await concurrently(Array.from({ length: atOnce }), atOnce, run);
  expect(failures).toEqual([]);
  const after = await footprint(box, daemon);
  expect(statusField(daemon.pid, "Threads")).toBe("1");
  expect(after).toEqual(before);
});

function describeChildren(daemon: number): string {
  return childrenOf(daemon)
    .map(({ pid, name, state }) => `${pid} ${name} ${state}`)
    .join(", ");
}

const [major = 0, minor = 0] = release().split(".").map(Number);
/** The first Linux that makes a huge page of small ones when it is asked to. */
const canCollapse = major > 6 || (major === 6 && minor >= 1);

test.skipIf(!canCollapse)(
  "a spare has its memory in huge pages, its image in small ones",
  async () => {
    await using box = new Sandbox();
    equip(box);
    const script = join(copyScripts(box), "three-modules.ts");
    const daemon = await box.serve();
    const run = async (): Promise<Ended> => await startWarm(box, script, ["1"]).ended;
    expect((await runUntilWarm(box, run)).isWarm).toBe(true);
    await untilSettled(box);
    const hugeKiB = (pid: number): number => {
      const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
      return Number(/^AnonHugePages: +(\d+) kB$/m.exec(text)?.[1]);
    };
    const ofScript = (): number[] =>
      childrenOf(daemon.pid).flatMap(({ name, pid }) =>
        name === "pfd-image" || name === "pfd-starter" ? [] : [pid],
      );
    await until("one of two has huge pages", () => {
      const [small, huge] = ofScript()
        .map(hugeKiB)
        .sort((a, b) => a - b);
      return small === 0 && huge !== undefined && huge >= 4096;
    });
  },
);
