/** When spares and images are made and let go: by what the machine has room for. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { refillDelayMsMax } from "../../src/base/limits.ts";
import { canDisguise, disguise } from "../helpers/disguise.ts";
import { ended, type Running, Sandbox } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";
import { runUntilWarm, scriptsOf, startWarm, warmRuns } from "../helpers/warm.ts";

setDefaultTimeout(120_000);

describe.skipIf(!canDisguise)("on a machine of our making (needs namespaces)", () => {
  /** What /proc/loadavg says when so many want a processor, the daemon among them. */
  const loadText = (running: number): string => `0.00 0.00 0.00 ${running}/999 1\n`;
  const spares = async (box: Sandbox): Promise<number | undefined> =>
    (await scriptsOf(box))[0]?.variants[0]?.spares;

  test("a spare is replaced at once, or later when all processors are busy", async () => {
    await using box = new Sandbox();
    const load = box.write("loadavg", loadText(1));
    disguise(box, { "/proc/loadavg": load });
    const script = box.write("work/wait.ts", "for await (const _ of console) break;\n");
    const daemon = await box.serve(["--log-level", "debug"]);
    const start = (): Running => startWarm(box, script, [], { stdin: "pipe" });
    const end = async (job: Running): Promise<void> => {
      await job.closeInput();
      expect(await job.ended).toEqual(ended());
    };
    expect((await runUntilWarm(box, async () => await end(start()))).isWarm).toBe(true);
    const told = (): readonly string[] =>
      [...daemon.log().matchAll(/wait\.ts \(\d\) has a spare forked in (\d+) ms/g)].map(
        ([, delayMs = ""]) => delayMs,
      );
    for (const running of [1, 100_000]) {
      await until("a spare waits", async () => (await spares(box)) === 1);
      box.write("loadavg", loadText(running));
      const before = await warmRuns(box);
      const job = start();
      await until("it runs warm", async () => (await warmRuns(box)) > before);
      await until("it is replaced while the job runs", async () => (await spares(box)) === 1);
      expect(told()).toEqual(running === 1 ? [] : [`${refillDelayMsMax}`]);
      await end(job);
    }
  });

  test("while memory is short no spare is kept and no image is made", async () => {
    await using box = new Sandbox();
    const meminfo = (availableMB: number): string =>
      box.write("meminfo", `MemTotal: ${8192 * 1024} kB\nMemAvailable: ${availableMB * 1024} kB\n`);
    disguise(box, { "/proc/meminfo": meminfo(4000) });
    const [used, other] = ["used", "other"].map((name) =>
      box.write(`work/${name}.ts`, `console.log("${name}");\n`),
    ) as [string, string];
    const daemon = await box.serve();
    const runUsed = async (): Promise<void> => {
      expect(await startWarm(box, used, []).ended).toEqual(ended({ stdout: "used\n" }));
    };
    const runOther = async (): Promise<void> => {
      expect(await startWarm(box, other, []).ended).toEqual(ended({ stdout: "other\n" }));
    };
    expect((await runUntilWarm(box, runUsed)).isWarm).toBe(true);
    await until("a spare waits", async () => (await spares(box)) === 1);

    meminfo(40);
    await until("the spare is let go", async () => (await spares(box)) === 0);
    const shortage = "the machine is short of memory: 40 of 8192 MB are left";
    expect((await box.prefork("status")).stdout).toContain(`memory      ${shortage}\n`);
    // The image itself goes on: what is forked out of it takes less than what runs cold.
    const before = await warmRuns(box);
    await runUsed();
    expect(await warmRuns(box)).toBe(before + 1);
    for (let count = 0; count < 2; count++) await runOther();
    const [, unmade] = await scriptsOf(box);
    expect(unmade).toMatchObject({ warm: 0, cold: 2, reason: shortage, variants: [] });
    expect(await spares(box)).toBe(0);
    expect(daemon.log().match(/short of memory/g)).toHaveLength(1);

    meminfo(4000);
    await until("there is a spare again", async () => (await spares(box)) === 1);
    expect((await runUntilWarm(box, runOther)).isWarm).toBe(true);
    expect(daemon.log().match(/there is memory .* again/g)).toHaveLength(1);
  });

  const [, group] = /^0::(\/.*)$/m.exec(readFileSync("/proc/self/cgroup", "latin1")) ?? [];

  test.skipIf(group === undefined)("the bound of a control group counts, too", async () => {
    await using box = new Sandbox();
    const at = `cgroup${group}`;
    const mebibyte = 1024 * 1024;
    box.write(`${at}/memory.max`, `${500 * mebibyte}\n`);
    box.write(`${at}/memory.current`, `${490 * mebibyte}\n`);
    const stat = (cachedMB: number): string =>
      box.write(
        `${at}/memory.stat`,
        `anon 1\nactive_file ${cachedMB * mebibyte}\ninactive_file ${mebibyte}\n`,
      );
    stat(9);
    disguise(box, { "/sys/fs/cgroup": box.path("cgroup") });
    const script = box.write("work/script.ts", "");
    await box.serve();
    const run = async (): Promise<void> => {
      expect(await startWarm(box, script, []).ended).toEqual(ended());
    };
    await run();
    const shortage = `the control group ${group} is short of memory: 20 of 500 MB are left`;
    expect(await scriptsOf(box)).toMatchObject([{ reason: shortage, variants: [] }]);
    // Caches of files are given back when something else needs the room.
    stat(400);
    expect((await runUntilWarm(box, run)).isWarm).toBe(true);
  });
});
