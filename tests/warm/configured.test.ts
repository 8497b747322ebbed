/**
 * Configured commands from allowing them to running warm, what `prefork why` and `prefork commands`
 * tell, and what fails.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { closeSync, existsSync, mkdirSync, openSync, symlinkSync } from "node:fs";
import { type Ended, ended, Sandbox, type StartOptions } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";
import { runUntilWarm } from "../helpers/warm.ts";

setDefaultTimeout(60_000);

interface Told {
  readonly name: string;
  readonly warm: number;
  readonly cold: number;
  readonly reason?: string;
  readonly quarantined?: string;
  readonly variants: readonly {
    readonly state: string;
    readonly pid: number;
    readonly spares: number;
    readonly modules: number;
  }[];
}

/** A project at work/p with one command, and a daemon. */
class Project extends Sandbox {
  constructor(toml: string, script: string) {
    super();
    for (const name of ["CONFIG", "STATE"]) {
      this.env[`XDG_${name}_HOME`] = this.path(name.toLowerCase());
    }
    mkdirSync(this.path("work/p/.git"), { recursive: true });
    this.write("work/p/prefork.toml", toml);
    this.write("work/p/hello.ts", script);
  }

  async here(...words: string[]): Promise<Ended> {
    return await this.run(words, { cwd: this.path("work/p") });
  }

  async why(): Promise<readonly Told[]> {
    return JSON.parse((await this.here("prefork", "why", "--json")).stdout) as Told[];
  }

  /** The images' states by command, as `prefork commands` tells them. */
  async states(env: StartOptions["env"] = {}): Promise<Readonly<Record<string, unknown>>> {
    const cwd = this.path("work/p");
    const { stdout, stderr } = await this.run(["prefork", "commands", "--json"], { cwd, env });
    if (stderr !== "") throw new Error(stderr);
    const { commands } = JSON.parse(stdout) as { commands: { name: string; image?: unknown }[] };
    return Object.fromEntries(commands.map(({ name, image }) => [name, image]));
  }

  /** Runs `words` until a run was warm. @returns its result. */
  async runUntilWarm(...words: string[]): Promise<Ended> {
    return await until("a run is warm", async () => {
      const warm = async (): Promise<number> => (await this.why())[0]?.warm ?? 0;
      const before = await warm();
      const result = await this.here(...words);
      return (await warm()) > before && result;
    });
  }
}

function isState(image: unknown, state: string): boolean {
  return (image as { state?: unknown } | undefined)?.state === state;
}

const hello = '[commands.hello]\nscript = "hello.ts"\nargs = ["from", "here"]\n';
const greeting = "console.log(process.argv.slice(2).join(' '));\n";

test("a configured command runs when it is allowed, with its arguments, and warm", async () => {
  await using project = new Project(hello, greeting);
  await project.serve();
  const file = project.path("work/p/prefork.toml");
  const notice = `pfd: ignoring ${file}: it is not allowed (read it, then run 'prefork allow' there)\n`;
  const unknown = { end: 127, stderr: "pfc: hello: command not found\n" };
  expect(await project.here("pfc", "-w", "hello", "you")).toEqual(
    ended({ ...unknown, stderr: notice + unknown.stderr }),
  );
  // It is said once.
  expect(await project.here("pfc", "-w", "hello", "you")).toEqual(ended(unknown));

  expect((await project.here("prefork", "allow")).end).toBe(0);
  const said = ended({ stdout: "from here you\n" });
  expect(await project.here("pfc", "-w", "hello", "you")).toEqual(said);
  expect(await project.runUntilWarm("pfc", "-w", "hello", "you")).toEqual(said);
  expect(await project.here("prefork", "why", "hello")).toMatchObject({ end: 0, stderr: "" });

  // Another text is another matter.
  project.write("work/p/prefork.toml", hello.replace("here", "there"));
  expect((await project.here("pfc", "-w", "hello")).end).toBe(127);
});

test("a command that is configured to run cold does", async () => {
  await using project = new Project(`${hello}cold = true\n`, greeting);
  await project.serve();
  await project.here("prefork", "allow");
  for (let count = 0; count < 3; count++) {
    expect(await project.here("pfc", "-w", "hello")).toEqual(ended({ stdout: "from here\n" }));
  }
  const reason = "it is configured to run cold";
  expect(await project.why()).toMatchObject([{ warm: 0, cold: 3, reason, variants: [] }]);
  expect(await project.states()).toMatchObject({ hello: { state: "cold", reason } });
});

test("commands tells the state of each image, and needs no daemon", async () => {
  const toml = `${hello}env = ["KIND"]\n
[commands.other]\nscript = "hello.ts"\n
[commands.tool]\nbin = "tool"\n
[commands.none]\nbin = "none"\n`;
  await using project = new Project(toml, greeting);
  mkdirSync(project.path("work/node_modules/.bin"), { recursive: true });
  symlinkSync(project.path("work/p/hello.ts"), project.path("work/node_modules/.bin/tool"));
  await project.here("prefork", "allow");

  const unknown = { add: undefined, hello: undefined, other: undefined, tool: undefined };
  expect(await project.states()).toEqual({ ...unknown, none: undefined });
  const alone = await project.here("prefork", "commands");
  expect(alone.stderr).toBe("");
  expect(alone.stdout).toMatch(/^(\S.* {2}-\n){5}$/);
  expect(existsSync(project.socketPath)).toBe(false);

  await project.serveWarm();
  const cold = { state: "cold", reason: "not run yet" };
  const rest = {
    add: { state: "warm" },
    none: { state: "missing", reason: "not found in any node_modules/.bin" },
  };
  expect(await project.states()).toEqual({ ...rest, hello: cold, other: cold, tool: cold });
  await project.here("pfc", "-w", "hello");
  await until("its image is being made, or is made already", async () => {
    const { hello: image } = await project.states();
    return isState(image, "being made") || isState(image, "warm");
  });
  await project.runUntilWarm("pfc", "-w", "hello");
  const warm = { state: "warm" };
  // The same script under other names, or with another value of its variable, has images of its own.
  expect(await project.states()).toEqual({ ...rest, hello: warm, other: cold, tool: cold });
  expect(await project.states({ KIND: "b" })).toMatchObject({ hello: cold });

  await project.here("pfc", "-w", "tool");
  await until("the tool is warm", async () => isState((await project.states())["tool"], "warm"));
  const { stdout } = await project.here("prefork", "commands");
  expect(stdout).toMatch(/^add .* warm\nhello .* warm\nother .* cold: not run yet\ntool .* warm\n/);
  expect(stdout).toEndWith("  missing: not found in any node_modules/.bin\n");

  // What is at another place is not asked for.
  const elsewhere = await project.here(
    "prefork",
    "commands",
    "--socket",
    project.path("none.sock"),
  );
  expect([elsewhere.stdout, elsewhere.stderr]).toEqual([alone.stdout, ""]);
});

test("an image that cannot be forked is told of, and everything runs cold", async () => {
  // A warm-up that leaves a thread behind.
  const toml = `${hello}preload = false\nwarmup = "./threads.ts"\n`;
  await using project = new Project(toml, greeting);
  project.write(
    "work/p/threads.ts",
    'import fs from "node:fs";\nawait (await fs.promises.open("/proc/self/stat")).close();\n',
  );
  await project.serve();
  await project.here("prefork", "allow");
  const told = await until("its images have failed", async () => {
    expect(await project.here("pfc", "-w", "hello")).toEqual(ended({ stdout: "from here\n" }));
    const [one] = await project.why();
    return one?.quarantined !== undefined && one;
  });
  expect(told.warm).toBe(0);
  expect(told.quarantined).toContain("starts a thread");
  expect((await project.here("prefork", "why", "hello")).stdout).toContain("runs cold until");
  expect(await project.states()).toMatchObject({
    hello: { state: "quarantined", reason: told.quarantined },
  });
  expect((await project.here("prefork", "commands")).stdout).toEndWith(
    `  quarantined: ${told.quarantined}\n`,
  );

  // A change of the script is a new chance; that of another script alone is not.
  project.write("work/p/hello.ts", `${greeting}// changed\n`);
  expect(await project.here("pfc", "-w", "hello")).toEqual(ended({ stdout: "from here\n" }));
  expect((await project.why())[0]?.reason).toBe("it has no image yet");
});

test("an image reads files without threads, also where a function was kept, and its jobs do as ever", async () => {
  const toml = `[commands.hello]\nscript = "hello.ts"\nwarmup = "./warm.ts"\n`;
  await using project = new Project(
    toml,
    `import fs from "node:fs";
     import { kept, loaded } from "./loaded.ts";
     const answers = await Promise.all([
       kept(new URL("./data.txt", import.meta.url), "utf8"),
       new Promise((resolve) => fs.readFile("nothing", (error) => resolve(error.code))),
       fs.promises.stat("nothing").catch(({ code }) => code),
     ]);
     console.log(loaded, ...answers);
    `,
  );
  project.write(
    "work/p/loaded.ts",
    `import { readFile } from "node:fs/promises";
     export const kept = readFile;
     export const loaded = await readFile(new URL("./data.txt", import.meta.url), "utf8");
    `,
  );
  project.write(
    "work/p/warm.ts",
    `import fs from "node:fs";
     const file = new URL("./data.txt", import.meta.url);
     await fs.promises.access(file);
     await new Promise((resolve, reject) =>
       fs.stat(file, (error, { size }) => (error ?? size !== 3 ? reject(error) : resolve(size))));
     await fs.promises.readFile("nothing").then(() => process.exit(1), () => {});
    `,
  );
  project.write("work/p/data.txt", "one");
  await project.serveWarm();
  await project.here("prefork", "allow");
  const said = (word: string): Ended => ended({ stdout: `${word} ${word} ENOENT ENOENT\n` });
  expect(await project.runUntilWarm("pfc", "-w", "hello")).toEqual(said("one"));
  // What was read that way is an input as any other.
  project.write("work/p/data.txt", "two");
  expect(await project.here("pfc", "-w", "hello")).toEqual(said("two"));
});

test("what the user wants preloaded has an image before the first run", async () => {
  await using project = new Project("", "");
  const script = project.write(
    "work/tool/tool.ts",
    "const { word } = require('./library.cjs');\nconsole.log(word, process.argv[2]);\n",
  );
  project.write("work/tool/library.cjs", "exports.word = 'hello';\n");
  const tool = `[commands.tool]\nscript = ${JSON.stringify(script)}\nargs = ["there"]\n`;
  const lazy = `[commands.lazy]\nscript = ${JSON.stringify(script)}\n`;
  project.write("config/prefork/config.toml", `${tool}preload = true\n\n${lazy}`);
  await project.serve();
  const [told] = await until("there is an image", async () => {
    const all = await project.why();
    return all[0]?.variants[0]?.spares === 1 && all;
  });
  expect(told).toMatchObject({ name: "tool", warm: 0, cold: 0, variants: [{ modules: 0 }] });
  expect(await project.why()).toHaveLength(1);

  // Its streams are those of the daemon, whose standard error is a file.
  const errors = openSync(project.path("errors"), "w");
  const run = async (): Promise<Ended> =>
    await project.start(["pfc", "-w", "tool"], { stderr: errors }).ended;
  expect(await run()).toEqual(ended({ stdout: "hello there\n" }));
  // It has told what it loads.
  await until("the image is made anew", async () => {
    const variant = (await project.why())[0]?.variants[0];
    return variant?.modules === 1 && variant.spares === 1;
  });
  expect(await run()).toEqual(ended({ stdout: "hello there\n" }));
  closeSync(errors);
  expect((await project.why())[0]).toMatchObject({ warm: 2, cold: 0 });
  expect(project.read("errors")).toBe("");
});

test("what is not there is told", async () => {
  await using box = new Sandbox();
  await box.serve();
  const missing = await box.pfc("-w", "--warm", "./nothing.ts");
  expect(missing).toEqual(ended({ end: 127, stderr: "pfc: ./nothing.ts: no such file\n" }));
  const directory = await box.pfc("-w", "--warm", "/tmp");
  expect(directory).toEqual(ended({ end: 127, stderr: "pfc: /tmp: is no regular file\n" }));
  const tool = await box.pfc("-w", "--warm", "no-such-tool");
  const stderr = "pfc: no-such-tool: not found in any node_modules/.bin\n";
  expect(tool).toEqual(ended({ end: 127, stderr }));
  const unknown = await box.prefork("why", "something");
  expect(unknown.end).toBe(1);
  expect(unknown.stderr).toBe(
    "prefork: no script named 'something' has been run by this daemon (run one with 'prefork run --warm')\n",
  );
});

test("why knows a script by the word it was run by, and tells a note once", async () => {
  await using box = new Sandbox();
  box.write("work/deep/draws.ts", "for (let i = 0; i < 3; i++) Math.random();\n");
  box.write("work/deep/tool.ts", 'import "./draws.ts";\n');
  await box.serve();
  const run = async (): Promise<Ended> => await box.bash("cd deep && pfc -w --warm ./tool.ts");
  expect(await runUntilWarm(box, run)).toMatchObject({ isWarm: true });
  const told = await box.bash("cd deep && prefork why ./tool.ts");
  expect(told).toMatchObject({ end: 0, stderr: "" });
  expect(told.stdout).toContain("/deep/tool.ts\n");
  expect(told.stdout.match(/note: .*draws\.ts has drawn a random number/g)).toHaveLength(1);
});

test("how a warm-up wanted the process to end, and what it listens for, is no job's business", async () => {
  const toml = `[commands.hello]\nscript = "hello.ts"\nwarmup = "./warm.ts"\n`;
  await using project = new Project(
    toml,
    `import "./loaded.ts";
     process.on("exit", (code) => console.log("job", code));
     console.log(process.listenerCount("exit"), process.listenerCount("SIGUSR2"));
    `,
  );
  // What a module does while it is loaded, it does in each job.
  project.write("work/p/loaded.ts", 'process.on("exit", () => console.log("loaded"));\n');
  project.write(
    "work/p/warm.ts",
    `import "./loaded.ts";
     process.exitCode = 3;
     process.on("exit", () => console.log("warm-up"));
     process.once("SIGUSR2", () => {});
    `,
  );
  await project.serveWarm();
  await project.here("prefork", "allow");
  expect(await project.runUntilWarm("pfc", "-w", "hello")).toEqual(
    ended({ stdout: "2 0\nloaded\njob 0\n" }),
  );
});

test.each([
  ["an interval", "setInterval(() => {}, 10);", "leaves a timer behind"],
  [
    "one that comes late",
    'setTimeout(() => console.log("late"), 60_000);',
    "leaves a timer behind",
  ],
  [
    "one of node:timers",
    'import { setTimeout } from "node:timers"; setTimeout(() => {}, 60_000);',
    "leaves a timer behind",
  ],
  ["one that is over", "await new Promise((resolve) => setImmediate(resolve));", undefined],
  ["one that was called off", "clearTimeout(setTimeout(() => {}, 60_000));", undefined],
  ["one that nobody waits for", "setTimeout(() => {}, 60_000).unref();", undefined],
])("a warm-up with a timer: %s", async (_, warmup, flaw) => {
  const toml = `[commands.hello]\nscript = "hello.ts"\nwarmup = "./warm.ts"\n`;
  await using project = new Project(toml, 'console.log("hello");');
  project.write("work/p/warm.ts", `${warmup}\nexport {};\n`);
  await project.serveWarm();
  await project.here("prefork", "allow");
  const told = await until("it runs warm, or its images have failed", async () => {
    expect(await project.here("pfc", "-w", "hello")).toEqual(ended({ stdout: "hello\n" }));
    const [one] = await project.why();
    return one && (one.warm > 0 || one.quarantined !== undefined) && one;
  });
  if (flaw === undefined) expect(told.quarantined).toBeUndefined();
  else expect(told.quarantined).toContain(flaw);
});

test("what is not there is told without a word about our own modules", async () => {
  const toml = `[commands.hello]\nscript = "hello.ts"\nwarmup = "./nothing.ts"\n`;
  await using project = new Project(toml, 'console.log("hello");');
  await project.serveWarm();
  await project.here("prefork", "allow");
  const told = await until("its images have failed", async () => {
    await project.here("pfc", "-w", "hello");
    const [one] = await project.why();
    return one?.quarantined;
  });
  expect(told).toContain("nothing.ts");
  expect(told).not.toContain("bunfs");
});
