/**
 * Explorations that need a process of their own, since they block signals and become the parent of
 * others' children. They run from a bundle, in the one-thread runtime: modules loaded one by one
 * would start helper threads, and those would take the signals.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { binary } from "../helpers/sandbox.ts";

const runtimeSettings: Readonly<Record<string, string>> = {
  BUN_JSC_useConcurrentGC: "0",
  BUN_JSC_numberOfGCMarkers: "1",
  BUN_JSC_useConcurrentJIT: "0",
  BUN_JSC_useWarmUpMarkedBlocks: "0",
};

/** Explorations at once: they wait for some of their time. More of them make the longest one longer still. */
const explorationsMax: number = navigator.hardwareConcurrency + 1;

const fixtures = ["client", "daemon", "few-descriptors", "own-process"] as const;
export type Fixture = (typeof fixtures)[number];

/** What a fixture prints. */
interface Report {
  readonly tried: number;
  readonly problems: readonly string[];
}

/** The fixtures in a directory of their own. */
export class Bundles implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), "prefork-bundles-"));
  #built: Promise<unknown> | undefined;
  /** Explorations that wait for one of the others to end. */
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  path(fixture: Fixture): string {
    return join(this.#directory, `${fixture}.js`);
  }

  /** Runs a fixture when it is its turn. @returns its problems; one is that it met few faults. */
  async explore(fixture: Fixture, ...words: string[]): Promise<readonly string[]> {
    if (this.#running < explorationsMax) this.#running += 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await this.#explore(fixture, words);
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }

  async #explore(fixture: Fixture, words: readonly string[]): Promise<readonly string[]> {
    this.#built ??= Bun.build({
      entrypoints: fixtures.map((name) => join(import.meta.dir, "fixtures", `${name}.ts`)),
      target: "bun",
      outdir: this.#directory,
    });
    await this.#built;
    await using run = Bun.spawn([process.execPath, this.path(fixture), ...words], {
      // In the bundle nobody could tell where the binary is.
      env: { ...process.env, ...runtimeSettings, PREFORK_BIN: binary },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "ignore", // the daemon's log
    });
    const output = await run.stdout.text();
    const status = await run.exited;
    if (status !== 0) return [`${fixture} ended with ${run.signalCode ?? status}: ${output}`];
    const { tried, problems } = JSON.parse(output) as Report;
    return tried < 3 ? [...problems, `only ${tried} faults were met`] : problems;
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true });
  }
}
