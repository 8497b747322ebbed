/** When spares and images are made and let go: by what the machine has room for. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
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
});
