/**
 * `bun run test [WORD…]`: installs, builds, runs the test files whose path contains a WORD (all of
 * them without one), and prints as its last line how many tests passed and failed. `bun run test:long`
 * runs those that have a long form in that form, and all tests of the client for the one in Bun. Each folder of
 * tests/ is a group with a `bun test` of its own, so that a crash costs one group; the end-to-end
 * tests come last. It imports no package: a fresh clone has none.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { interruptible, runInterruptible } from "./helpers/interruption.ts";

/** For one test, unless it sets its own: a slow machine is no failure, and a hang ends some time. */
const testTimeoutMs = 30_000;
/** For one group: a test that blocks its thread is ended by nothing else. */
const groupTimeoutMs = 20 * 60_000;

/** The long forms: which files have one, what asks for it, and the time they take together. */
const long = {
  words: [
    "faults/client",
    "faults/daemon",
    "faults/starter",
    "warm/equality",
    "warm/forks",
    "e2e/hostile-daemon",
  ],
  env: {
    PREFORK_CASES: "200",
    PREFORK_FORKS: "10000",
    PREFORK_FAULTS: "all",
    PREFORK_REPLIES: "10000",
  },
  groupTimeoutMs: 3 * 60 * 60_000,
} as const;

/** Files that are run once more for the client in Bun, where the binary has another one: what differs most, and in the long form all. */
const forBothClients = {
  words: [
    "tests/terminal/control-",
    "tests/terminal/settings",
    "tests/differential/",
    "tests/e2e/run-",
  ],
  allWords: ["tests/terminal/", "tests/differential/", "tests/e2e/"],
  env: { PREFORK_CLIENT: "bun" },
} as const;

const root = dirname(import.meta.dir);
const lastGroup = "e2e";

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

const oneFailed: Tally = { passed: 0, failed: 1, skipped: 0 };

await interruptible(async (interrupted) => {
  const tally: Tally = { passed: 0, failed: 0, skipped: 0 };
  const count = (part: Tally): void => {
    tally.passed += part.passed;
    tally.failed += part.failed;
    tally.skipped += part.skipped;
  };
  const isLong = process.argv[2] === "--long";
  if (isLong) Object.assign(process.env, long.env);
  const limitMs = isLong ? long.groupTimeoutMs : groupTimeoutMs;
  const groups = findGroups(isLong ? long.words : process.argv.slice(2));
  if (groups.size === 0) {
    say("no test file has such a path");
    count(oneFailed);
  } else if ((await runBun(["build.ts"], interrupted)) !== 0) {
    say("the build failed: no test was run");
    count(oneFailed);
  } else {
    const { clientKinds } = await import("./helpers/client-kinds.ts"); // which needs the binary
    const { words, allWords, env } = forBothClients;
    const both = findGroups(isLong ? allWords : words);
    const names = isLong ? new Set([...groups.keys(), ...both.keys()]) : groups.keys();
    for (const name of names) {
      const files = groups.get(name) ?? [];
      if (files.length > 0) {
        process.stdout.write(`\n# tests/${name}\n`);
        count(await runGroup(files, { limitMs, interrupted }));
      }
      const again = (both.get(name) ?? []).filter((file) => isLong || files.includes(file));
      if (clientKinds.length < 2 || again.length === 0) continue;
      process.stdout.write(`\n# tests/${name}, for the client in Bun\n`);
      count(await runGroup(again, { limitMs, interrupted, env }));
    }
  }
  const skipped = tally.skipped > 0 ? `, ${tally.skipped} skipped` : "";
  process.stdout.write(`\n${tally.passed} passed, ${tally.failed} failed${skipped}\n`);
  return tally.failed === 0 ? 0 : 1;
});

/** The test files by folder, in the order in which they are to run. */
function findGroups(wanted: readonly string[]): Map<string, string[]> {
  const files = [...new Bun.Glob("tests/*/**/*.test.ts").scanSync(root)].sort();
  const chosen =
    wanted.length === 0
      ? files
      : files.filter((file) => wanted.some((word) => file.includes(word)));
  const groups = Map.groupBy(chosen, (file) => file.split("/")[1] ?? "");
  const end = groups.get(lastGroup);
  if (end && groups.delete(lastGroup)) groups.set(lastGroup, end);
  return groups;
}

interface GroupOptions {
  readonly limitMs: number;
  readonly interrupted: AbortSignal;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs the files of one group. A crash, and a file without a result, count as a failed test. */
async function runGroup(
  files: readonly string[],
  { limitMs, interrupted, env }: GroupOptions,
): Promise<Tally> {
  const directory = mkdtempSync(join(tmpdir(), "prefork-tests-"));
  try {
    const report = join(directory, "junit.xml");
    const status = await runBun(
      [
        "test",
        `--timeout=${testTimeoutMs}`,
        "--reporter=junit",
        `--reporter-outfile=${report}`,
        ...files.map((file) => `./${file}`),
      ],
      AbortSignal.any([interrupted, AbortSignal.timeout(limitMs)]),
      env,
    );
    const tally = readReport(existsSync(report) ? readFileSync(report, "utf8") : "", files);
    if (status === 0 || tally.failed > 0) return tally;
    say(`bun test ended with status ${status}`);
    return { ...tally, failed: 1 };
  } catch (error) {
    interrupted.throwIfAborted();
    say(`bun test was killed: ${error instanceof Error ? error.message : error}`);
    return oneFailed;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Reads the totals out of bun test's JUnit report. */
function readReport(xml: string, files: readonly string[]): Tally {
  const totals = /<testsuites [^>]*>/.exec(xml)?.[0] ?? "";
  const total = (name: string): number =>
    Number(new RegExp(` ${name}="(\\d+)"`).exec(totals)?.[1] ?? 0);
  // A file that could not be loaded, or that holds no test, does not occur in the report.
  const missing = files.filter((file) => !xml.includes(` file="${file}"`));
  for (const file of missing) say(`${file}: no test of it was run`);
  const [failures, skipped] = [total("failures"), total("skipped")];
  const passed = total("tests") - failures - skipped;
  return { passed, failed: failures + missing.length, skipped };
}

/** Runs the Bun that runs us. @returns its status. */
async function runBun(
  words: readonly string[],
  interrupted: AbortSignal,
  env: Readonly<Record<string, string>> = {},
): Promise<number> {
  const { status } = await runInterruptible([process.execPath, ...words], interrupted, {
    cwd: root,
    env: { ...process.env, ...env },
    stdout: "inherit",
    stderr: "inherit",
  });
  return status;
}

function say(text: string): void {
  process.stderr.write(`tests/run.ts: ${text}\n`);
}
