/** What BusyBox's tests print, and what two runs of the same tests say about each other. */

export const outcomes = ["PASS", "FAIL", "SKIPPED", "UNTESTED"] as const;
export type Outcome = (typeof outcomes)[number];

/** By the name of the test. */
export type Results = ReadonlyMap<string, Outcome>;

/**
 * Reads what `runtest` prints (`PASS: name`), and `run-all` of the shell's tests (`name: ok`).
 * The second test of a name is called "name (2)".
 */
export function parseResults(output: string): Results {
  const results = new Map<string, Outcome>();
  for (const line of output.split("\n")) {
    const [, outcome, name] = /^(PASS|FAIL|SKIPPED|UNTESTED): (.*)$/.exec(line) ?? [];
    const [, script, word] = /^(\S+\/\S+): ?(ok|fail)$/.exec(line) ?? [];
    if (outcome !== undefined && name !== undefined) {
      results.set(unused(results, name), outcome as Outcome);
    } else if (script !== undefined) {
      results.set(unused(results, script), word === "ok" ? "PASS" : "FAIL");
    }
  }
  return results;
}

function unused(results: Results, name: string): string {
  if (!results.has(name)) return name;
  let number = 2;
  while (results.has(`${name} (${number})`)) number++;
  return `${name} (${number})`;
}

/** The tests that pass directly and do not through: they fail, or leave no result at all. */
export function findSuspects(direct: Results, through: Results): string[] {
  return [...direct.keys()].filter((name) => {
    return direct.get(name) === "PASS" && through.get(name) !== "PASS";
  });
}

/** The tests that pass through and not directly: no harm, but a difference all the same. */
export function findReverse(direct: Results, through: Results): string[] {
  return findSuspects(through, direct);
}

/** Of what a verbose run printed: the tests that failed. `runtest` puts a line between all tests. */
export function failedParts(output: string): string {
  const [line, isFailed] = [/^={22}\n/m, /^FAIL: |^(---|\+\+\+) |: ?fail$/m];
  return output
    .split(line)
    .filter((part) => isFailed.test(part))
    .join("\n");
}

/** How often a test passed, of the runs that were made of it. */
export interface Tries {
  readonly name: string;
  readonly direct: number;
  readonly through: number;
  readonly runs: number;
  /** Whether it passes where the wrapper script starts BusyBox without prefork. */
  readonly withoutPrefork: boolean;
}

/**
 * - "regression": prefork is to blame.
 * - "unsteady": it does not always pass directly either, or it has failed through only once.
 * - "wrapper": it fails as well when the script that stands in for BusyBox does without prefork.
 */
export type Verdict = "regression" | "unsteady" | "wrapper";

/** Strict: a test that always passes directly has to pass through in all runs but the first. */
export function judge({ direct, through, runs, withoutPrefork }: Tries): Verdict {
  if (!withoutPrefork) return "wrapper";
  return direct === runs && through < runs - 1 ? "regression" : "unsteady";
}

export function count(results: Results, outcome: Outcome): number {
  return [...results.values()].filter((each) => each === outcome).length;
}
