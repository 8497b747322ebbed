/**
 * Scripts that `prefork run --warm` runs, and the same ones run by Bun directly: our binary is Bun
 * itself when `BUN_BE_BUN` is set. What of the daemon's status these tests rely on is read here and
 * nowhere else.
 */
import { cpSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { Ended, Running, Sandbox, StartOptions, Status } from "./sandbox.ts";
import { binary } from "./sandbox.ts";
import { until } from "./wait.ts";

const root = join(import.meta.dir, "../..");

/** The scripts and the project to be linted and formatted. */
export const fixtures: string = join(root, "tests/fixtures/warm");

/**
 * What `prefork status --json` says of each image under `images`, as far as it is used here: one
 * entry for each image that there is or has been.
 */
interface ImageStatus {
  /** How many jobs were forked out of it. A job that ran cold, for whatever reason, does not count. */
  readonly warm: number;
  /** Something with "starting", "building" or "preparing" in it while it cannot serve yet. */
  readonly state: string;
  /** Children that wait for a job. */
  readonly spares: number;
}

const unsettled = /start|build|prepar|load|wait/;

async function imagesOf(box: Sandbox): Promise<readonly ImageStatus[]> {
  const { images } = (await box.status()) as Status & { images?: readonly ImageStatus[] };
  if (images === undefined) throw new Error("the status has no `images`: see ImageStatus");
  return images;
}

/**
 * How many jobs have been served warm since the daemon started. It must never shrink, also when an
 * image is dropped: tests take differences.
 */
export async function warmRuns(box: Sandbox): Promise<number> {
  const images = await imagesOf(box);
  return images.reduce((total, { warm }) => total + warm, 0);
}

/** Waits until no image is on its way, no job runs, and each image that can serve has a spare. */
export async function untilSettled(box: Sandbox): Promise<void> {
  await until(
    "the images are ready",
    async () => {
      const images = await imagesOf(box);
      const { running } = await box.status();
      return (
        running === 0 &&
        images.every(({ state, spares }) =>
          state === "ready" ? spares > 0 : !unsettled.test(state),
        )
      );
    },
    60_000,
  );
}

/** The words that run a script warm. */
export function warmCommand(box: Sandbox, script: string, args: readonly string[]): string[] {
  return [join(box.bin, "prefork"), "run", "-w", "--warm", script, ...args];
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
export async function runUntilWarm(
  box: Sandbox,
  run: () => Promise<Ended>,
): Promise<{ runs: Ended[]; isWarm: boolean }> {
  const runs: Ended[] = [];
  let before = await warmRuns(box);
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    runs.push(await run());
    const after = await warmRuns(box);
    if (after > before) return { runs, isWarm: true };
    before = after;
    await untilSettled(box);
  }
  return { runs, isWarm: false };
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
