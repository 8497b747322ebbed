/**
 * `bun run test:busybox [UNIT…]`: runs BusyBox's own tests directly, and again with every call of
 * BusyBox going through `prefork run --wait`. No test may pass directly and fail through. A unit is
 * an applet (`sed`) or a directory of its shell's tests (`ash-vars`); all of them without a word.
 * What failing tests printed is left in dist/busybox.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { interruptible } from "../helpers/interruption.ts";
import { Comparer, type Comparison, complaintsOf, describe, runsOfSuspect } from "./compare.ts";
import { fetchSuite } from "./fetch.ts";
import { count, findReverse, outcomes, type Verdict } from "./results.ts";
import { findUnits, leftOut, type Unit } from "./side.ts";

const reports = join(import.meta.dir, "../../dist/busybox");

await interruptible(async (interrupted) => {
  const suite = await fetchSuite();
  const units = choose(await findUnits(suite), process.argv.slice(2));
  say(`BusyBox ${suite.version}: ${units.length} units, each directly and through prefork\n`);
  rmSync(reports, { recursive: true, force: true });
  await using comparer = await Comparer.open(suite);
  const comparisons: Comparison[] = [];
  say(row("unit", "tests", "direct", "through", "direct s", "through s"));
  for (const unit of units) {
    interrupted.throwIfAborted();
    const comparison = await comparer.compare(unit);
    comparisons.push(comparison);
    keepOutputs(comparison);
    say(rowOf(comparison));
  }
  const jobs = await comparer.jobCount();
  return summarize(comparisons, jobs);
});

function choose(all: readonly Unit[], words: readonly string[]): readonly Unit[] {
  if (words.length === 0) return all;
  return words.map((word) => {
    const unit = all.find(({ name }) => name === word);
    if (unit === undefined) {
      const names = all.map(({ name }) => name).join(" ");
      throw new Error(`there are no tests of ${word}; there are: ${names}`);
    }
    return unit;
  });
}

function keepOutputs({ unit, outputs }: Comparison): void {
  if (outputs === undefined) return;
  mkdirSync(reports, { recursive: true });
  writeFileSync(join(reports, `${unit.name}.direct.txt`), outputs.direct);
  writeFileSync(join(reports, `${unit.name}.through.txt`), outputs.through);
}

/** @returns the status: 1 when there is anything to complain about. */
function summarize(comparisons: readonly Comparison[], jobs: number): number {
  say("");
  say(row("", "tests", "direct", "through"));
  for (const outcome of outcomes) {
    const total = (side: "direct" | "through"): number =>
      comparisons.reduce((sum, comparison) => sum + count(comparison[side], outcome), 0);
    say(row("", outcome, total("direct"), total("through")));
  }
  say(`\n${jobs} commands went through prefork`);
  for (const [file, reason] of leftOut) say(`left out: ${file}: ${reason}`);
  const found = (verdict: Verdict): string[] =>
    comparisons.flatMap(({ unit, findings }) =>
      findings
        .filter((finding) => finding.verdict === verdict)
        .map((finding) => `${unit.name}: ${describe(finding)}`),
    );
  list(
    "need BusyBox to be a program: they fail with the stand-in script without prefork, too",
    found("wrapper"),
  );
  list(`unsteady: no clear difference in ${runsOfSuspect} runs`, found("unsteady"));
  const reverse = comparisons.flatMap(({ unit, direct, through }) =>
    findReverse(direct, through).map((name) => `${unit.name}: ${name}`),
  );
  list("pass through prefork and not directly, in the first run", reverse);
  const complaints = comparisons.flatMap(complaintsOf);
  list("REGRESSIONS: they pass directly and fail through prefork", complaints);
  if (complaints.length > 0) say(`\nwhat they printed is in ${reports}`);
  say(`\n${complaints.length} regressions`);
  return complaints.length === 0 ? 0 : 1;
}

function list(title: string, items: readonly string[]): void {
  if (items.length === 0) return;
  say(`\n${items.length} ${title}:`);
  for (const item of items) say(`  ${item}`);
}

function rowOf({ unit, direct, through, directMs, throughMs, findings }: Comparison): string {
  const names = new Set([...direct.keys(), ...through.keys()]);
  const passes = [direct, through].map((results) => count(results, "PASS"));
  const times = [directMs, throughMs].map((timeMs) => (timeMs / 1000).toFixed(1));
  const verdicts = [...new Set(findings.map(({ verdict }) => verdict))];
  return `${row(unit.name, names.size, ...passes, ...times)}  ${verdicts.join(" ")}`.trimEnd();
}

function row(name: string, ...cells: readonly (string | number)[]): string {
  return name.padEnd(20) + cells.map((cell) => String(cell).padStart(10)).join("");
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
