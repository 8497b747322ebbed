/**
 * What a module does outside of its process while it is loaded is done once by each run, and never by the image, which
 * loads modules ahead; and a run that does not load a module does not feel that another one has.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Ended, ended, Sandbox } from "../helpers/sandbox.ts";
import { runUntilWarm, scriptsOf, startWarm } from "../helpers/warm.ts";

setDefaultTimeout(60_000);

/** Each appends a line to the file `log`. */
const ways: Readonly<Record<string, string>> = {
  "fs.appendFileSync()": 'fs.appendFileSync(log, "x\\n");',
  "fs.promises.appendFile()": 'await fs.promises.appendFile(log, "x\\n");',
  "fs.promises.appendFile(), which nobody awaits": 'fs.promises.appendFile(log, "x\\n");',
  "fs.appendFile(), whose callback throws":
    'fs.appendFile(log, "x\\n", (error) => { if (error) throw error; });',
  "fs.openSync() and fs.writeSync()": 'fs.writeSync(fs.openSync(log, "a"), "x\\n");',
  "fs.createWriteStream()": 'fs.createWriteStream(log, { flags: "a" }).end("x\\n");',
  "a function that was imported by its name": 'appendFileSync(log, "x\\n");',
  "Bun.write()":
    'await Bun.write(log, (fs.existsSync(log) ? await Bun.file(log).text() : "") + "x\\n");',
  "Bun.spawnSync()": 'Bun.spawnSync(["sh", "-c", append]);',
  "child_process.execSync()": "execSync(append);",
  "child_process.spawn()": 'spawn("sh", ["-c", append]);',
  "a failure that is caught": 'try { fs.appendFileSync(log, "x\\n"); } catch {}',
};

test.each(Object.entries(ways))("once a run: %s", async (_, statement) => {
  await using box = new Sandbox();
  const log = box.write("log", "");
  box.write(
    "work/acts.ts",
    `import { execSync, spawn } from "node:child_process";
     import fs, { appendFileSync } from "node:fs";
     const log = ${JSON.stringify(log)};
     const append = "echo x >> " + log;
     export const kept = [execSync, spawn, appendFileSync];
     ${statement}
    `,
  );
  box.write("work/calm.ts", "export const calm = 1;\n");
  const script = box.write(
    "work/script.ts",
    'import { calm } from "./calm.ts";\nimport "./acts.ts";\nconsole.log(calm);\n',
  );
  await box.serve();
  let runs = 0;
  const run = async (): Promise<void> => {
    expect(await startWarm(box, script, []).ended).toEqual(ended({ stdout: "1\n" }));
    runs += 1;
  };
  expect(await runUntilWarm(box, run)).toMatchObject({ isWarm: true });
  await run();
  expect(box.read("log")).toBe("x\n".repeat(runs));
  const [told] = await scriptsOf(box);
  // The other one is loaded ahead all the same.
  expect(told?.variants).toMatchObject([{ modules: 1 }]);
});

describe("a module that is found by a name that is worked out", () => {
  const script = `const { value } = await import("./" + process.argv[2] + ".ts");
    console.log(value, [].extra, (await import("node:fs")).extra, globalThis.extra, process.exitCode);
    process.exit();
  `;
  const runner = (box: Sandbox): ((name: string) => Promise<Ended>) => {
    const file = box.write("work/script.ts", script);
    return async (name) => await startWarm(box, file, [name]).ended;
  };

  test("is loaded ahead, and counts as any other", async () => {
    await using box = new Sandbox();
    const run = runner(box);
    box.write("work/calm.ts", 'export const value = "calm";\n');
    await box.serve();
    const said = (value: string): Ended =>
      ended({ stdout: `${value} undefined undefined undefined undefined\n` });
    const { runs, isWarm } = await runUntilWarm(box, async () => await run("calm"));
    expect(isWarm).toBe(true);
    for (const result of runs) expect(result).toEqual(said("calm"));
    expect((await scriptsOf(box))[0]?.variants).toMatchObject([{ modules: 1, excluded: [] }]);
    box.write("work/calm.ts", 'export const value = "changed";\n');
    expect(await run("calm")).toEqual(said("changed"));
  });

  const changes: Readonly<Record<string, readonly [statement: string, told: string]>> = {
    "a built-in object": ["Array.prototype.extra = 1;", "changes Array.prototype.extra"],
    "a module of the runtime": ['import fs from "node:fs"; fs.extra = 1;', "changes node:fs.extra"],
    "a global": ["globalThis.extra = 1;", "changes globalThis.extra"],
    "how the process ends": ["process.exitCode = 3;", "changes process.exitCode"],
    "a listener": ['process.on("exit", () => console.log("extra"));', "changes listeners.exit"],
  };

  test.each(Object.entries(changes))("and changes %s, is not", async (_, [statement, told]) => {
    await using box = new Sandbox();
    const run = runner(box);
    box.write("work/calm.ts", 'export const value = "calm";\n');
    box.write("work/loud.ts", `${statement}\nexport const value = "loud";\n`);
    await box.serve();
    // The first run tells of the loud one, and what it has changed there, it changes in each run.
    const loud = await run("loud");
    expect(loud).not.toEqual(await run("calm"));
    expect(await runUntilWarm(box, async () => await run("loud"))).toMatchObject({
      isWarm: true,
      runs: expect.arrayContaining([loud]),
    });
    expect(await run("loud")).toEqual(loud);
    expect(await run("calm")).toEqual(
      ended({ stdout: "calm undefined undefined undefined undefined\n" }),
    );
    const [variant] = (await scriptsOf(box))[0]?.variants ?? [];
    expect(variant?.excluded.map(({ reason }) => reason)).toContainEqual(
      expect.stringContaining(told),
    );
  });

  test("and waits for what only a job has, is not", async () => {
    await using box = new Sandbox();
    const file = box.write("work/script.ts", script);
    box.write(
      "work/ask.ts",
      `export const value = await new Promise((resolve) => {
         process.stdin.once("data", (bytes) => resolve(String(bytes).trim()));
       });
      `,
    );
    await box.serve();
    const run = async (): Promise<Ended> => {
      const job = startWarm(box, file, ["ask"], { stdin: "pipe" });
      await job.write("said\n");
      return await job.ended;
    };
    const { runs, isWarm } = await runUntilWarm(box, run);
    expect(isWarm).toBe(true);
    for (const result of runs) {
      expect(result).toEqual(ended({ stdout: "said undefined undefined undefined undefined\n" }));
    }
    const [variant] = (await scriptsOf(box))[0]?.variants ?? [];
    expect(variant?.excluded).toMatchObject([{ reason: "does not end while it is loaded" }]);
  });
});
