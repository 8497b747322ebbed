/** When spares and images are made and let go: by what the machine has room for. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { inputQuietMs, refillDelayMsMax } from "../../src/base/limits.ts";
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

  test("without a watch a change is noticed by the next run", async () => {
    await using box = new Sandbox();
    // The one that it may have is that of its socket.
    disguise(box, {}, ["echo 1 > /proc/sys/user/max_inotify_watches"]);
    const [one, two] = ["one", "two"].map((name) => new Edited(box, name)) as [Edited, Edited];
    const daemon = await box.serve();
    for (const edited of [one, two]) await edited.runUntilWarm();
    expect(daemon.log().match(/ENOSPC: changes of other files are noticed by/g)).toHaveLength(1);
    one.write("b");
    await one.run();
    expect((await scriptsOf(box))[0]?.reason).toBe(`${one.dependency} has changed`);
    await one.runUntilWarm();
  });
});

/** A script that prints a word, which another file has. */
class Edited {
  readonly dependency: string;
  readonly #box: Sandbox;
  readonly #name: string;
  readonly #script: string;
  #word = "a";

  constructor(box: Sandbox, name = "script") {
    this.#box = box;
    this.#name = name;
    this.dependency = this.#write("dependency", "a");
    const text = `import { word } from "./dependency.ts";\nconsole.log(word);\n`;
    this.#script = box.write(`work/${name}/script.ts`, text);
  }

  write(word: string): void {
    this.#word = word;
    this.#write("dependency", word);
  }

  /** Has the script take its word from another file, which was not there before. */
  turnTo(module: string, word: string): void {
    this.#word = word;
    this.#write(module, word);
    const text = `import { word } from "./${module}.ts";\nconsole.log(word);\n`;
    this.#box.write(`work/${this.#name}/script.ts`, text);
  }

  async run(): Promise<void> {
    const result = await startWarm(this.#box, this.#script, []).ended;
    expect(result).toEqual(ended({ stdout: `${this.#word}\n` }));
  }

  async runUntilWarm(): Promise<void> {
    const { isWarm } = await runUntilWarm(this.#box, async () => await this.run());
    expect(isWarm).toBe(true);
  }

  #write(module: string, word: string): string {
    return this.#box.write(`work/${this.#name}/${module}.ts`, `export const word = "${word}";\n`);
  }
}

describe("when a file changes", () => {
  /** Of the one image, when it is ready and has a spare. */
  const pidOf = async (box: Sandbox): Promise<number | undefined> => {
    const [variant, ...others] = (await scriptsOf(box))[0]?.variants ?? [];
    expect(others).toEqual([]);
    return variant?.state === "ready" && variant.spares === 1 ? variant.pid : undefined;
  };
  const anotherThan = async (box: Sandbox, pid: number): Promise<number> =>
    await until("there is another image", async () => {
      const now = await pidOf(box);
      return now !== pid && now;
    });

  test("its image is made anew though nothing is run, and the next run is warm", async () => {
    await using box = new Sandbox();
    const edited = new Edited(box);
    await box.serve();
    await edited.runUntilWarm();
    let pid = await until("the image is ready", async () => await pidOf(box));
    const edits = [
      () => edited.write("b"),
      () => edited.write("c"),
      () => edited.turnTo("other", "d"),
      () => edited.turnTo("dependency", "e"),
    ];
    for (const edit of edits) {
      edit();
      pid = await anotherThan(box, pid);
      expect((await scriptsOf(box))[0]?.variants[0]?.modules).toBe(1);
      const before = await warmRuns(box);
      await edited.run();
      expect(await warmRuns(box)).toBe(before + 1);
    }
  });

  test("many changes at once bring one image, and other files none", async () => {
    await using box = new Sandbox();
    const edited = new Edited(box);
    const daemon = await box.serve();
    await edited.runUntilWarm();
    const pid = await until("the image is ready", async () => await pidOf(box));
    for (let count = 0; count < 20; count++) {
      box.write(`work/script/new-${count}.ts`, "");
      edited.write(`b${count}`);
    }
    const next = await anotherThan(box, pid);
    for (let count = 0; count < 20; count++) box.write(`work/script/new-${count}.ts`, "changed");
    await Bun.sleep(2 * inputQuietMs);
    expect(await pidOf(box)).toBe(next);
    expect(daemon.log().match(/has changed: making the image of .* anew/g)).toHaveLength(1);
  });

  test("a change while it is made anew counts, too", async () => {
    await using box = new Sandbox();
    const edited = new Edited(box);
    const daemon = await box.serve();
    await edited.runUntilWarm();
    const pid = await until("the image is ready", async () => await pidOf(box));
    edited.write("b");
    await until("it is made anew", () => /making the image of .* anew/.test(daemon.log()));
    edited.write("c");
    await anotherThan(box, pid);
    // Unless it changed in the moment between, which the sweep finds out: then this run is cold.
    await edited.run();
    await edited.runUntilWarm();
  });

  test("a run that fits no image gets its own after the second time, whatever is made anew between", async () => {
    await using box = new Sandbox();
    const mark = (value: string): string =>
      `export const mark = process.env["MARK"];\n// ${value}\n`;
    const module = box.write("work/mark.ts", mark("a"));
    const script = box.write(
      "work/script.ts",
      'import { mark } from "./mark.ts";\nconsole.log(mark);\n',
    );
    const daemon = await box.serve();
    const run = async (value: string): Promise<void> => {
      const result = await startWarm(box, script, [], { env: { MARK: value } }).ended;
      expect(result).toEqual(ended({ stdout: `${value}\n` }));
    };
    expect((await runUntilWarm(box, async () => await run("one"))).isWarm).toBe(true);
    const pid = await until("the image is ready", async () => await pidOf(box));
    await run("two");
    writeFileSync(module, mark("b"));
    await anotherThan(box, pid);
    const before = await warmRuns(box);
    await run("two");
    await until("it has an image of its own", async () => {
      const variants = (await scriptsOf(box))[0]?.variants ?? [];
      return variants.length === 2 && variants.every(({ spares }) => spares === 1);
    });
    await run("two");
    expect(await warmRuns(box)).toBe(before + 1);
    expect(daemon.log().match(/making the image of .* anew/g)).toHaveLength(1);
  });
});
