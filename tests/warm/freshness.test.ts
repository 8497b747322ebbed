/**
 * An image is never older than the files it was made of: a script that is run right after an edit
 * does what it says now. And no two jobs of an image draw the same random value.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { setting } from "../helpers/property.ts";
import { type Ended, ended, Sandbox } from "../helpers/sandbox.ts";
import { concurrently } from "../helpers/wait.ts";
import { copyScripts, equip, runUntilWarm, startWarm, warmRuns } from "../helpers/warm.ts";

setDefaultTimeout(300_000);

const seed = setting("PREFORK_SEED") ?? 20_251_127;
const editCount = 20;

/** What the script prints follows from these; each word is three letters, so that sizes stay. */
interface State {
  own: string;
  dependency: string;
  shadowed: string;
  /** The file that is found before the shadowed one, if it is there. */
  shadow: string | undefined;
  packaged: { main: "one.js" | "two.js"; one: string; two: string };
}

const editKinds = [
  "the script",
  "a dependency",
  "a dependency, with its old time",
  "a dependency, replaced",
  "a file that shadows",
  "the main of a package",
  "a file of a package",
] as const;
type EditKind = (typeof editKinds)[number];

class Project {
  readonly #directory: string;
  readonly #state: State = {
    own: "aaa",
    dependency: "bbb",
    shadowed: "ccc",
    shadow: undefined,
    packaged: { main: "one.js", one: "ddd", two: "eee" },
  };

  constructor(directory: string) {
    this.#directory = directory;
    this.#writeScript();
    this.#write("dependency.ts", `export const word = "${this.#state.dependency}";\n`);
    this.#write("found/index.ts", `export const word = "${this.#state.shadowed}";\n`);
    this.#writePackage();
    for (const name of ["one", "two"] as const) this.#writePackaged(name);
  }

  get script(): string {
    return join(this.#directory, "script.ts");
  }

  /** What the script is to print as it is now. */
  get expected(): string {
    const { own, dependency, shadowed, shadow, packaged } = this.#state;
    const word = packaged.main === "one.js" ? packaged.one : packaged.two;
    return `${own} ${dependency} ${shadow ?? shadowed} ${word}\n`;
  }

  edit(kind: EditKind, word: string): void {
    const state = this.#state;
    const dependency = join(this.#directory, "dependency.ts");
    const text = `export const word = "${word}";\n`;
    switch (kind) {
      case "the script":
        state.own = word;
        this.#writeScript();
        break;
      case "a dependency":
        state.dependency = word;
        writeFileSync(dependency, text);
        break;
      case "a dependency, with its old time": {
        state.dependency = word;
        const { atime, mtime } = statSync(dependency);
        writeFileSync(dependency, text);
        utimesSync(dependency, atime, mtime);
        break;
      }
      case "a dependency, replaced": {
        state.dependency = word;
        const { atime, mtime } = statSync(dependency);
        writeFileSync(`${dependency}.new`, text);
        utimesSync(`${dependency}.new`, atime, mtime);
        renameSync(`${dependency}.new`, dependency);
        break;
      }
      case "a file that shadows":
        state.shadow = state.shadow === undefined ? word : undefined;
        if (state.shadow) this.#write("found.ts", text);
        else rmSync(join(this.#directory, "found.ts"));
        break;
      case "the main of a package":
        state.packaged.main = state.packaged.main === "one.js" ? "two.js" : "one.js";
        this.#writePackage();
        break;
      case "a file of a package": {
        const name = state.packaged.main === "one.js" ? "one" : "two";
        state.packaged[name] = word;
        this.#writePackaged(name);
        break;
      }
      default:
        kind satisfies never;
    }
  }

  #writeScript(): void {
    this.#write(
      "script.ts",
      `import { word as dependency } from "./dependency.ts";
import { word as found } from "./found";
import packaged from "packaged";
process.stdout.write(\`${this.#state.own} \${dependency} \${found} \${packaged.word}\\n\`);
`,
    );
  }

  #writePackage(): void {
    const { main } = this.#state.packaged;
    const json = JSON.stringify({ name: "packaged", version: "1.0.0", main });
    this.#write("node_modules/packaged/package.json", json);
  }

  #writePackaged(name: "one" | "two"): void {
    const text = `module.exports = { word: "${this.#state.packaged[name]}" };\n`;
    this.#write(`node_modules/packaged/${name}.js`, text);
  }

  #write(name: string, text: string): void {
    const path = join(this.#directory, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}

test(`each of ${editCount} edits is seen by a run that follows at once`, async () => {
  await using box = new Sandbox();
  equip(box);
  const project = new Project(join(box.work, "project"));
  await box.serve();
  const edits = fc.sample(
    fc.tuple(fc.constantFrom(...editKinds), fc.stringMatching(/^[a-z]{3}$/)),
    { seed, numRuns: editCount },
  );
  // Each kind at least once, whatever was drawn.
  for (const [index, kind] of editKinds.entries()) {
    const drawn = edits[index];
    if (drawn) drawn[0] = kind;
  }
  const run = async (): Promise<Ended> => await startWarm(box, project.script, []).ended;
  const wrong: string[] = [];
  let warmCount = 0;
  for (const [index, edit] of [undefined, ...edits].entries()) {
    if (edit) project.edit(...edit);
    const { runs, isWarm } = await runUntilWarm(box, run);
    if (isWarm) warmCount += 1;
    for (const [number, one] of runs.entries()) {
      if (Bun.deepEquals(one, ended({ stdout: project.expected }))) continue;
      const what = edit ? `edit ${index}: ${edit.join(" to ")}` : "before any edit";
      wrong.push(`${what}, run ${number + 1}: ${JSON.stringify(one)}, not ${project.expected}`);
    }
  }
  expect(wrong).toEqual([]);
  expect(warmCount).toBe(editCount + 1);
});

/** Ways to get at the runtime's functions, for a module that uses them while it is loaded. */
const waysOfTaking = {
  "by name": `import { readFileSync } from "node:fs"; import { resolve } from "node:path"; import { env } from "node:process";`,
  "as a namespace": `import * as fs from "fs"; import * as path from "path"; import * as own from "process";
    const { readFileSync } = fs, { resolve } = path, { env } = own;`,
  "by default": `import fs from "node:fs"; import path from "node:path"; import own from "node:process";
    const { readFileSync } = fs, { resolve } = path, { env } = own;`,
  "by require": `const { readFileSync } = require("fs"), { resolve } = require("path"), { env } = require("process");`,
  "by promise": `import { readFile } from "node:fs/promises"; import { relative } from "node:path/posix"; import own from "node:process";
    const text = await readFile(file, "utf8");
    const readFileSync = () => text, resolve = () => relative("/", "here"), env = { ...own.env };`,
} as const;

test.each(Object.keys(waysOfTaking) as (keyof typeof waysOfTaking)[])(
  "what a module reads with functions that it has taken %s is seen",
  async (way) => {
    await using box = new Sandbox();
    equip(box);
    mkdirSync(join(box.work, "elsewhere"));
    box.write(
      "work/reading.ts",
      `const file = new URL("./data.txt", import.meta.url);
       ${waysOfTaking[way]}
       export const read = [readFileSync(file, "utf8"), resolve("here"), env.WORD];`,
    );
    box.write("work/script.ts", 'import { read } from "./reading.ts"; console.log(...read);');
    const run = async (data: string, place: "" | "elsewhere", word: string): Promise<void> => {
      if (box.read("work/data.txt") !== data) box.write("work/data.txt", data);
      const cwd = join(box.work, place);
      const here = way === "by promise" ? join(cwd, "here").slice(1) : join(cwd, "here");
      const options = { cwd, env: { ...box.env, WORD: word } };
      const result = await startWarm(box, join(box.work, "script.ts"), [], options).ended;
      expect(result).toEqual(ended({ stdout: `${data} ${here} ${word}\n` }));
    };
    box.write("work/data.txt", "aaa");
    await box.serve();
    const { isWarm } = await runUntilWarm(box, async () => await run("aaa", "", "one"));
    expect(isWarm).toBe(true);
    await run("aaa", "", "two");
    await run("aaa", "elsewhere", "one");
    await run("bbb", "", "one");
  },
);

test("64 jobs share no random value", async () => {
  await using box = new Sandbox();
  equip(box);
  const script = join(copyScripts(box), "random.ts");
  await box.serve();
  const outputs: string[] = [];
  const run = async (): Promise<Ended> => {
    const result = await startWarm(box, script, []).ended;
    expect(result).toEqual(ended({ stdout: result.stdout }));
    outputs.push(result.stdout);
    return result;
  };
  const { isWarm } = await runUntilWarm(box, run);
  expect(isWarm).toBe(true);
  const before = await warmRuns(box);
  await concurrently(Array.from({ length: 32 }), 1, run);
  await concurrently(Array.from({ length: 32 }), 8, run);
  // With one spare some of those that come at once may run cold.
  expect((await warmRuns(box)) - before).toBeGreaterThanOrEqual(32);

  const values = outputs.flatMap((output) => Object.values(JSON.parse(output)));
  const perJob = Object.keys(JSON.parse(outputs[0] ?? "")).length;
  expect(values).toHaveLength(outputs.length * perJob);
  expect(new Set(values).size).toBe(values.length);
});
