/**
 * What a module does outside of its process while it is loaded is done once by each run, and never by the image, which
 * loads modules ahead.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { ended, Sandbox } from "../helpers/sandbox.ts";
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

test.each(Object.entries(ways))("%s", async (_, statement) => {
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

test("a module whose name stands in the text is loaded ahead, one whose name is worked out is not", async () => {
  await using box = new Sandbox();
  for (const name of ["hidden", "chosen"])
    box.write(`work/${name}.ts`, `export default "${name}";`);
  const script = box.write(
    "work/script.ts",
    `const modules = ["./hidden.ts", "./" + process.argv[2] + ".ts"];
     for (const module of modules) console.log((await import(module)).default);
    `,
  );
  await box.serve();
  const run = async (): Promise<void> => {
    const result = await startWarm(box, script, ["chosen"]).ended;
    expect(result).toEqual(ended({ stdout: "hidden\nchosen\n" }));
  };
  expect(await runUntilWarm(box, run)).toMatchObject({ isWarm: true });
  expect((await scriptsOf(box))[0]?.variants).toMatchObject([{ modules: 1 }]);
});
