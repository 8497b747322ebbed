/** Runs the same tests directly and through prefork, and finds out what the differences mean. */
import type { Suite } from "./fetch.ts";
import { findSuspects, judge, type Results, type Tries, type Verdict } from "./results.ts";
import { Side, type Unit, type UnitRun } from "./side.ts";

/** A suspect is run so often in each way, the first run included. */
export const runsOfSuspect = 3;

export interface Finding extends Tries {
  readonly verdict: Verdict;
}

export interface Comparison {
  readonly unit: Unit;
  readonly direct: Results;
  readonly through: Results;
  readonly directMs: number;
  readonly throughMs: number;
  /** The tests that passed directly and not through. */
  readonly findings: readonly Finding[];
  /** What went wrong with the unit as a whole; counts as a regression. */
  readonly troubles: readonly string[];
  /** What the last runs printed, when there are findings. */
  readonly outputs: { readonly direct: string; readonly through: string } | undefined;
}

export class Comparer implements AsyncDisposable {
  readonly #direct: Side;
  readonly #through: Side;
  readonly #scriptAlone: Side;
  readonly #owned: AsyncDisposableStack;

  private constructor(sides: readonly [Side, Side, Side], owned: AsyncDisposableStack) {
    [this.#direct, this.#through, this.#scriptAlone] = sides;
    this.#owned = owned;
  }

  static async open(suite: Suite): Promise<Comparer> {
    await using owned = new AsyncDisposableStack();
    const direct = owned.use(await Side.open("directly", suite));
    const through = owned.use(await Side.open("through prefork", suite));
    const scriptAlone = owned.use(await Side.open("through the script alone", suite));
    return new Comparer([direct, through, scriptAlone], owned.move());
  }

  async jobCount(): Promise<number> {
    return await this.#through.jobCount();
  }

  async compare(unit: Unit): Promise<Comparison> {
    const [direct, directMs] = await timed(() => this.#direct.run(unit));
    const [through, throughMs] = await timed(() => this.#through.run(unit));
    const suspects = findSuspects(direct.results, through.results);
    const troubles = troublesOf([direct, through]);
    const common = { unit, direct: direct.results, through: through.results, directMs, throughMs };
    if (suspects.length === 0) return { ...common, findings: [], troubles, outputs: undefined };

    const directs = [direct];
    const throughs = [through];
    while (directs.length < runsOfSuspect) {
      directs.push(await this.#direct.run(unit, { isVerbose: true }));
      throughs.push(await this.#through.run(unit, { isVerbose: true }));
    }
    const scriptAlone = await this.#scriptAlone.run(unit);
    const findings = suspects.map((name) => {
      const tries: Tries = {
        name,
        direct: passesOf(name, directs),
        through: passesOf(name, throughs),
        runs: runsOfSuspect,
        withoutPrefork: scriptAlone.results.get(name) === "PASS",
      };
      return { ...tries, verdict: judge(tries) };
    });
    const outputs = {
      direct: directs.at(-1)?.output ?? "",
      through: throughs.at(-1)?.output ?? "",
    };
    return { ...common, findings, troubles: troublesOf([...directs, ...throughs]), outputs };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** What a comparison holds against prefork, in words. */
export function complaintsOf({ unit, findings, troubles }: Comparison): string[] {
  const regressions = findings
    .filter(({ verdict }) => verdict === "regression")
    .map((finding) => `${unit.name}: ${describe(finding)}`);
  return [...troubles.map((text) => `${unit.name}: ${text}`), ...regressions];
}

/** A test that was suspect, with how often it passed. */
export function describe({ name, direct, through, runs }: Finding): string {
  return `${name} (passed directly ${direct} of ${runs}, through ${through} of ${runs})`;
}

function passesOf(name: string, runs: readonly UnitRun[]): number {
  return runs.filter(({ results }) => results.get(name) === "PASS").length;
}

function troublesOf(runs: readonly UnitRun[]): string[] {
  return [...new Set(runs.flatMap(({ trouble }) => (trouble === undefined ? [] : [trouble])))];
}

async function timed<Value>(work: () => Promise<Value>): Promise<[value: Value, timeMs: number]> {
  const beginMs = performance.now();
  const value = await work();
  return [value, performance.now() - beginMs];
}
