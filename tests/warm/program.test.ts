/** The entry module of a script is the program, as it is under `bun SCRIPT`. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, copyFileSync, existsSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { binary, type Ended, ended, Sandbox } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";
import {
  directCommand,
  directEnv,
  equip,
  runUntilWarm,
  startDirect,
  startWarm,
  untilSettled,
  warmCommand,
  warmRuns,
} from "../helpers/warm.ts";

setDefaultTimeout(60_000);

test("what it exports to be served is served", async () => {
  await using box = new Sandbox();
  equip(box);
  const script = box.write(
    "work/serve.ts",
    `export default {
       port: 0,
       hostname: "127.0.0.1",
       fetch() {
         setTimeout(() => process.exit(5), 10);
         return new Response("served");
       },
     };
    `,
  );
  await box.serve();
  const ask = async (start: typeof startWarm): Promise<Ended> => {
    const run = start(box, script, []);
    const said = /http:\/\/127\.0\.0\.1:(\d+)/;
    const url = await until("it listens", () => said.exec(run.stdout + run.stderr)?.[0]);
    expect(await (await fetch(url)).text()).toBe("served");
    const { stdout, stderr, end } = await run.ended;
    return { stdout: stdout.replace(said, "URL"), stderr: stderr.replace(said, "URL"), end };
  };
  const direct = await ask(startDirect);
  expect(direct.end).toBe(5);
  const { runs, isWarm } = await runUntilWarm(box, async () => await ask(startWarm));
  expect(isWarm).toBe(true);
  for (const result of runs) expect(result).toEqual(direct);
});

test("what the runtime keeps of its modules is not where the user's own Bun keeps it", async () => {
  await using box = new Sandbox();
  // Large enough to be kept.
  box.write("work/large.ts", `export const large: string = "${"x".repeat(100_000)}";\n`);
  const script = box.write(
    "work/caches.ts",
    `import { large } from "./large.ts";
     import module from "node:module";
     console.log(module.enableCompileCache().directory, large.length);
    `,
  );
  await box.serve();
  const env = { XDG_CACHE_HOME: box.path("caches") };
  const run = async (): Promise<string> => {
    const { stdout, stderr, end } = await startWarm(box, script, [], { env }).ended;
    expect({ stderr, end }).toEqual({ stderr: "", end: 0 });
    return stdout;
  };
  const { runs, isWarm } = await runUntilWarm(box, run);
  expect(isWarm).toBe(true);
  for (const said of runs) {
    expect(said).toStartWith(`${box.path("caches/prefork/compiled")}`);
    expect(said).toEndWith(" 100000\n");
  }
  await until("what was transpiled is kept", () =>
    existsSync(box.path("caches/prefork/transpiled")),
  );
});

test("a time zone that is empty has no value", async () => {
  await using box = new Sandbox();
  equip(box);
  const script = box.write("work/zone.ts", "console.log(process.env.TZ, new Date(0).getHours());");
  await box.serve();
  const run = async (start: typeof startWarm): Promise<Ended> =>
    await start(box, script, [], { env: { TZ: "" } }).ended;
  const direct = await run(startDirect);
  for (let count = 0; count < 3; count++) expect(await run(startWarm)).toEqual(direct);
});

test("the soft limit on open files is as high as it may be, for it and its children", async () => {
  await using box = new Sandbox();
  equip(box);
  const script = box.write(
    "work/limits.mjs",
    `import { readFileSync } from "node:fs";
     import { execFileSync } from "node:child_process";
     const line = (text) => text.split("\\n").find((one) => one.startsWith("Max open files"));
     console.log(line(readFileSync("/proc/self/limits", "latin1")));
     console.log(line(execFileSync("cat", ["/proc/self/limits"], { encoding: "latin1" })));
    `,
  );
  await box.serve();
  const limited = ["bash", "-c", 'ulimit -Sn 300; exec "$@"', "bash"];
  const direct = await box.start([...limited, ...directCommand(script, [])], { env: directEnv })
    .ended;
  expect(direct.stdout).not.toContain(" 300 ");
  const { runs, isWarm } = await runUntilWarm(
    box,
    async () => await box.start([...limited, ...warmCommand(box, script, [])]).ended,
  );
  expect(isWarm).toBe(true);
  for (const result of runs) expect(result).toEqual(direct);
});

test("descriptors that the caller passed are the script's, the lowest included", async () => {
  await using box = new Sandbox();
  equip(box);
  const script = box.write(
    "work/numbers.mjs",
    `import { readSync, writeSync } from "node:fs";
     for (const number of [3, 4, 9, 200]) writeSync(number, \`number \${number}\\n\`);
     const bytes = Buffer.alloc(100);
     console.log(bytes.toString("latin1", 0, readSync(5, bytes)));
    `,
  );
  await box.serve();
  const open = ["bash", "-c", 'exec 3>a 4>b 5<<<text 9>c 200>d; "$@"; cat a b c d', "bash"];
  const direct = await box.start([...open, ...directCommand(script, [])], { env: directEnv }).ended;
  expect(direct.stdout).toEndWith("number 3\nnumber 4\nnumber 9\nnumber 200\n");
  const { runs, isWarm } = await runUntilWarm(
    box,
    async () => await box.start([...open, ...warmCommand(box, script, [])]).ended,
  );
  expect(isWarm).toBe(true);
  for (const result of runs) expect(result).toEqual(direct);
});

test.each(["replaced", "removed"])(
  "a script can start its runtime when the binary was %s",
  async (how) => {
    await using box = new Sandbox();
    const own = box.path("own-prefork");
    copyFileSync(binary, own);
    const script = box.write(
      "work/again.mjs",
      `import { spawnSync } from "node:child_process";
     const { stdout } = spawnSync(process.execPath, ["-p", "6 * 7"], { env: { BUN_BE_BUN: "1" } });
     console.log(String(stdout), process.argv[0] === process.execPath);
    `,
    );
    const daemon = box.start([own, "serve"]);
    await until("it listens", () => daemon.stderr.includes("listening"));
    rmSync(own);
    if (how === "replaced") copyFileSync(binary, own);
    const { runs, isWarm } = await runUntilWarm(
      box,
      async () => await startWarm(box, script, []).ended,
    );
    expect(isWarm).toBe(true);
    for (const result of runs) expect(result).toEqual(ended({ stdout: "42\n true\n" }));
  },
);

test("a tool that pnpm has installed is run, and one that is no script runs as a program", async () => {
  await using box = new Sandbox();
  const at = (name: string): string => `work/node_modules/${name}`;
  box.write(at("tool/cli"), "#!/usr/bin/env node\nconsole.log('tool', process.argv.slice(2));\n");
  const shim = `#!/bin/sh\nbasedir=$(dirname "$0")\nexec node  "$basedir/../tool/cli" "$@"\n`;
  chmodSync(box.write(at(".bin/tool"), shim), 0o755);
  chmodSync(box.write(at(".bin/shell"), '#!/bin/sh\necho "$0" "$@"; exit 3\n'), 0o755);
  await box.serve();
  const { runs, isWarm } = await runUntilWarm(
    box,
    async () => await startWarm(box, "tool", ["a b"]).ended,
  );
  expect(isWarm).toBe(true);
  for (const result of runs) expect(result).toEqual(ended({ stdout: 'tool [ "a b" ]\n' }));
  const path = box.path(at(".bin/shell"));
  expect(await startWarm(box, "shell", ["a b"]).ended).toEqual(
    ended({ stdout: `${path} a b\n`, end: 3 }),
  );
});

test("native code sees the environment of its job, and of no other", async () => {
  await using box = new Sandbox();
  equip(box);
  const script = box.write(
    "work/native.mjs",
    `import { CString, dlopen } from "bun:ffi";
     const { symbols } = dlopen("libc.so.6", { getenv: { args: ["cstring"], returns: "ptr" } });
     for (const name of ["SECRET", "OTHER", "PATH"]) {
       const value = symbols.getenv(Buffer.from(name + "\\0"));
       console.log(name, value ? String(new CString(value)) : undefined);
     }
    `,
  );
  await box.serve();
  const envs = [{ SECRET: "one" }, { SECRET: "two", OTHER: "" }, {}, { OTHER: "a=b=ä" }];
  const direct = await Promise.all(
    envs.map(async (env) => await startDirect(box, script, [], { env }).ended),
  );
  expect(direct[0]?.stdout).toContain("SECRET one\n");
  const { isWarm } = await runUntilWarm(
    box,
    async () => await startWarm(box, script, [], { env: envs[0] ?? {} }).ended,
  );
  expect(isWarm).toBe(true);
  const before = await warmRuns(box);
  for (const [index, env] of envs.entries()) {
    expect(await startWarm(box, script, [], { env }).ended).toEqual(direct[index] as Ended);
  }
  expect(await warmRuns(box)).toBe(before + envs.length);
});

test("a library that the loader is told to load is there, and for that job only", async () => {
  await using box = new Sandbox();
  const libc = /\/\S+\/libc\.so\.6$/m.exec(readFileSync("/proc/self/maps", "latin1"))?.[0];
  const library = join(dirname(libc ?? ""), "libBrokenLocale.so.1"); // a part of glibc
  const script = box.write(
    "work/loaded.mjs",
    `import { readFileSync } from "node:fs";
     console.log(readFileSync("/proc/self/maps", "latin1").includes("libBrokenLocale"));
    `,
  );
  await box.serve();
  const run = async (env: Record<string, string>): Promise<string> =>
    (await startWarm(box, script, [], { env }).ended).stdout;
  const LD_PRELOAD = library;
  expect(await run({ LD_PRELOAD })).toBe("true\n");
  for (let round = 0; round < 4; round++) {
    await untilSettled(box);
    expect(await run({})).toBe("false\n");
    expect(await run({ LD_PRELOAD })).toBe("true\n");
  }
  expect(await warmRuns(box)).toBeGreaterThan(0);
});
