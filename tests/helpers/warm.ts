/**
 * Scripts that `prefork run --warm` runs, and the same ones run by Bun directly: our binary is Bun
 * itself when `BUN_BE_BUN` is set. What of the daemon's status these tests rely on is read here and
 * nowhere else.
 */
import { cpSync, mkdirSync, symlinkSync } from "node:fs";
import { basename, join } from "node:path";
import type { Running, Sandbox, StartOptions, Status } from "./sandbox.ts";
import { binary } from "./sandbox.ts";
import { until } from "./wait.ts";

const root = join(import.meta.dir, "../..");

/** The scripts and the project to be linted and formatted. */
export const fixtures: string = join(root, "tests/fixtures/warm");

/** What `prefork status --json` says of each script under `images`, as far as it is used here. */
interface ScriptStatus {
  readonly script: string;
  /** How many jobs were forked out of an image of it, and how many were not. Neither ever shrinks. */
  readonly warm: number;
  readonly cold: number;
  /** Why the last one that ran cold did. */
  readonly reason?: string;
  /** Its images, one for each kind of circumstances. */
  readonly variants: readonly {
    readonly state: string;
    readonly pid: number;
    readonly spares: number;
    readonly sparesKept: number;
    /** How many modules are loaded ahead. */
    readonly modules: number;
    /** The modules that each job loads by itself. */
    readonly excluded: readonly { readonly module: string }[];
  }[];
}

/** What the status says of scripts. */
export async function scriptsOf(box: Sandbox): Promise<readonly ScriptStatus[]> {
  const { images } = (await box.status()) as Status & { images?: readonly ScriptStatus[] };
  if (images === undefined) throw new Error("the status has no `images`: see ScriptStatus");
  return images;
}

/** How many jobs have been served warm since the daemon started. */
export async function warmRuns(box: Sandbox): Promise<number> {
  const scripts = await scriptsOf(box);
  return scripts.reduce((total, { warm }) => total + warm, 0);
}

/** Why the last cold runs were cold, a line for each script. */
export async function whyCold(box: Sandbox): Promise<string> {
  const scripts = await scriptsOf(box);
  return scripts.map(({ script, reason }) => `${script}: ${reason}\n`).join("");
}

/** The last part of the name of each module that was not loaded ahead, in any image. */
export async function modulesNotAhead(box: Sandbox): Promise<string[]> {
  const scripts = await scriptsOf(box);
  const excluded = scripts.flatMap(({ variants }) => variants.flatMap((image) => image.excluded));
  return excluded.map(({ module }) => basename(module));
}

/** Waits until an image has a spare, whatever runs. */
export async function untilSpare(box: Sandbox): Promise<void> {
  await until("a spare waits", async () => {
    const scripts = await scriptsOf(box);
    return scripts.some(({ variants }) => variants.some(({ spares }) => spares > 0));
  });
}

/** Waits until no image is being made, no job runs, and each image has a spare. */
export async function untilSettled(box: Sandbox): Promise<void> {
  await until(
    "the images are ready",
    async () => {
      const scripts = await scriptsOf(box);
      const { running } = await box.status();
      const variants = scripts.flatMap((script) => script.variants);
      return (
        running === 0 &&
        variants.every(({ state, spares, sparesKept }) => state === "ready" && spares >= sparesKept)
      );
    },
    60_000,
  );
}

/** The words that run a configured command. */
export function configuredCommand(box: Sandbox, name: string): string[] {
  return [join(box.bin, "prefork"), "run", "-w", "--mode", "runtime", name];
}

/** The words that run a script warm. */
export function warmCommand(box: Sandbox, script: string, args: readonly string[]): string[] {
  return [join(box.bin, "prefork"), "run", "-w", "--mode", "runtime", "--warm", script, ...args];
}

/** The words that run it without us. The name is what `process.argv0` is to be. */
export function directCommand(script: string, args: readonly string[]): string[] {
  return ["bun", script, ...args];
}

/** What makes our binary a plain Bun. */
export const directEnv: Readonly<Record<string, string>> = { BUN_BE_BUN: "1" };

export function startDirect(
  box: Sandbox,
  script: string,
  args: readonly string[],
  options: StartOptions = {},
): Running {
  const env = { ...options.env, ...directEnv };
  return box.start(directCommand(script, args), { ...options, env });
}

export function startWarm(
  box: Sandbox,
  script: string,
  args: readonly string[],
  options: StartOptions = {},
): Running {
  return box.start(warmCommand(box, script, args), options);
}

/** So often is a script run until a run is warm: an image's variant is made after the second miss. */
const attemptsMax = 8;

/** Runs a script until a run was warm. @returns each run, with whether it was warm. */
export async function runUntilWarm<Result>(
  box: Sandbox,
  run: () => Promise<Result>,
): Promise<{ runs: Result[]; isWarm: boolean; reason: string }> {
  const runs: Result[] = [];
  let before = await warmRuns(box);
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    runs.push(await run());
    const after = await warmRuns(box);
    if (after > before) return { runs, isWarm: true, reason: "" };
    before = after;
    await untilSettled(box);
  }
  return { runs, isWarm: false, reason: await whyCold(box) };
}

/** Adds our binary under the name `bun`, and the packages above every directory of the sandbox. */
export function equip(box: Sandbox): void {
  symlinkSync(binary, join(box.bin, "bun"));
  symlinkSync(join(root, "node_modules"), box.path("node_modules"));
}

/** A copy of the scripts. @returns the directory, which has a space in its name. */
export function copyScripts(box: Sandbox): string {
  const directory = box.path("the scripts");
  cpSync(fixtures, directory, { recursive: true });
  return directory;
}

/** A copy of the project, with the packages beside it. */
export function copyProject(directory: string): void {
  mkdirSync(directory, { recursive: true });
  cpSync(join(fixtures, "project"), directory, { recursive: true });
  symlinkSync(join(root, "node_modules"), join(directory, "node_modules"));
}
