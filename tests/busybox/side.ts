/**
 * One way to run BusyBox's tests: directly, through prefork, or through the same stand-in script
 * without prefork. Each unit of tests runs in a fresh copy of the suite.
 */
import {
  appendFileSync,
  chmodSync,
  closeSync,
  existsSync,
  globSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { descendantsOf, isGone, signalProcess } from "../helpers/process.ts";
import { type Daemon, quoted, Sandbox } from "../helpers/sandbox.ts";
import type { Suite } from "./fetch.ts";
import { parseResults, type Results } from "./results.ts";

/** What BusyBox is in the copy: the program, or a script in its place that runs it so. */
export type Way = "directly" | "through prefork" | "through the script alone";

/** The tests of one applet, or one directory of those of its shell. */
export interface Unit {
  readonly name: string;
  readonly isOfShell: boolean;
}

export interface UnitRun {
  readonly results: Results;
  /** All that was printed, with the differences found by the tests that failed. */
  readonly output: string;
  /** What went wrong besides tests that failed. */
  readonly trouble: string | undefined;
}

/** For one unit; the slowest needs a quarter of a minute. */
const unitTimeoutMs = 5 * 60_000;

const race = "a race: its subshell starts before or after the signal, directly as well as through";

/** Tests of the shell that no run of either way has, by file, with the reason. */
export const leftOut: ReadonlyMap<string, string> = new Map([
  ["ash-signals/subshell.tests", "kills its parent, which through prefork is the daemon"],
  ["ash-misc/exitcode_trap2.tests", race],
  ["ash-misc/exitcode_trap6.tests", race],
]);

/** As the distribution sets it when it builds the package and runs these tests. */
const suiteEnvironment: Readonly<Record<string, string>> = {
  ECHO: "/bin/echo",
  LANG: "C.UTF-8",
  LC_ALL: "C.UTF-8",
  SHELL: "/bin/sh",
  SKIP_INTERNET_TESTS: "y",
  SKIP_KNOWN_BUGS: "y",
};

/** Runs "$@" with nothing open but 0, 1 and 2: some of the tests look. */
const cleanStart = `
for fd in /proc/self/fd/*; do
  if ((\${fd##*/} > 2)); then eval "exec \${fd##*/}>&-"; fi
done
exec "$@"`;

/** All units, in the order of their names; those of the shell come last. */
export async function findUnits(suite: Suite): Promise<Unit[]> {
  const applets = (await Bun.$`${suite.busybox} --list`.text()).trim().split("\n");
  const ofApplets = [...new Set(["busybox", ...applets])].sort().filter((name) => {
    const place = join(suite.directory, "testsuite", name);
    return existsSync(place) || existsSync(`${place}.tests`);
  });
  const ofShell = globSync("ash-*", { cwd: join(suite.directory, "ash_test") }).sort();
  return [
    ...ofApplets.map((name) => ({ name, isOfShell: false })),
    ...ofShell.map((name) => ({ name, isOfShell: true })),
  ];
}

export class Side implements AsyncDisposable {
  readonly way: Way;
  readonly #suite: Suite;
  readonly #box = new Sandbox();
  #daemon: Daemon | undefined;
  #copyCount = 0;

  private constructor(way: Way, suite: Suite) {
    this.way = way;
    this.#suite = suite;
  }

  static async open(way: Way, suite: Suite): Promise<Side> {
    const side = new Side(way, suite);
    try {
      await side.#makeWay();
    } catch (error) {
      await side[Symbol.asyncDispose]();
      throw error;
    }
    return side;
  }

  /** How many commands the daemon has run; those of daemons that ended are not counted. */
  async jobCount(): Promise<number> {
    const { done, failed } = await this.#box.status();
    return done + failed;
  }

  /** Runs a unit's tests in a copy of their own; `isVerbose` shows what failing tests found. */
  async run(unit: Unit, { isVerbose = false } = {}): Promise<UnitRun> {
    const copy = this.#box.path(`copy-${++this.#copyCount}`);
    const outputPath = `${copy}.out`;
    try {
      const directory = await this.#copy(copy, unit);
      const script = unit.isOfShell ? "./run-all" : "./runtest";
      const words = isVerbose && !unit.isOfShell ? ["-v", unit.name] : [unit.name];
      const trouble = await this.#runToEnd([script, ...words], {
        cwd: directory,
        bin: join(copy, "bin"),
        outputPath,
      });
      for (const path of globSync(join(directory, "*.fail")).sort()) {
        appendFileSync(outputPath, readFileSync(path));
      }
      const output = readFileSync(outputPath, "utf8");
      return { results: parseResults(output), output, trouble };
    } finally {
      rmSync(copy, { recursive: true, force: true });
      rmSync(outputPath, { force: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#box[Symbol.asyncDispose]();
  }

  /** Makes what a script in BusyBox's place needs. */
  async #makeWay(): Promise<void> {
    if (this.way === "directly") return;
    mkdirSync(this.#box.path("applets"));
    symlinkSync(this.#suite.busybox, this.#box.path("applets", "busybox"));
    if (this.way === "through prefork") this.#daemon = await this.#box.serve();
  }

  /**
   * Starts the applet it is called by as the program of that name in a directory of links, so that
   * argv[0] ends as it should. It takes nothing from the environment: tests empty it.
   */
  #standIn(): string {
    const links = this.#box.path("applets");
    const pfc = [join(this.#box.bin, "pfc"), "--socket", this.#box.socketPath, "--wait"];
    const prefix = this.way === "through prefork" ? `${pfc.map(quoted).join(" ")} ` : "";
    return `#!/bin/sh
applet=${quoted(links)}/"\${0##*/}"
[ -e "$applet" ] || /bin/ln -s busybox "$applet" 2>/dev/null
exec ${prefix}"$applet" "$@"
`;
  }

  /** The tree that the scripts expect, and where in it the tests of the unit are. */
  async #copy(copy: string, { isOfShell }: Unit): Promise<string> {
    const { directory: from, busybox } = this.#suite;
    const tests = isOfShell ? join(copy, "shell", "ash_test") : join(copy, "testsuite");
    const source = join(from, isOfShell ? "ash_test" : "testsuite");
    mkdirSync(join(tests, ".."), { recursive: true });
    await Bun.$`cp -a ${source} ${tests}`;
    // The program beside the tests is the real one in each way: one test copies it into a chroot.
    const config = join(copy, ".config");
    await Bun.$`cp ${join(from, "config")} ${config}`;
    symlinkSync(busybox, join(copy, "busybox"));
    const bin = join(copy, "bin");
    mkdirSync(bin);
    symlinkSync(config, join(bin, ".config"));
    const program = join(bin, "busybox");
    if (this.way === "directly") {
      symlinkSync(busybox, program);
    } else {
      writeFileSync(program, this.#standIn());
      chmodSync(program, 0o755);
    }
    if (isOfShell) {
      for (const name of ["recho", "zecho"]) {
        await Bun.$`cp ${join(import.meta.dir, "fixtures", name)} ${join(tests, name)}`;
      }
      symlinkSync(Bun.which("printenv") ?? "/usr/bin/printenv", join(tests, "printenv"));
      symlinkSync(program, join(tests, "ash"));
      for (const file of leftOut.keys()) rmSync(join(tests, file), { force: true });
    }
    return tests;
  }

  /** @returns what went wrong, if anything. */
  async #runToEnd(
    command: readonly string[],
    { cwd, bin, outputPath }: { cwd: string; bin: string; outputPath: string },
  ): Promise<string | undefined> {
    const output = openSync(outputPath, "a");
    const env = { ...suiteEnvironment, bindir: bin };
    // A session of its own: no terminal in either way, and a group that can be ended.
    const process = this.#box.start(
      ["setsid", "--wait", "bash", "-c", cleanStart, "bash", ...command],
      { cwd, env, stdout: output, stderr: output },
    );
    closeSync(output);
    const timer = Promise.withResolvers<"late">();
    const timeout = setTimeout(() => timer.resolve("late"), unitTimeoutMs);
    const first = await Promise.race([process.exited, timer.promise]);
    clearTimeout(timeout);
    if (first === "late") {
      for (const { pid } of [process, ...descendantsOf(process.pid)]) signalProcess(pid, "SIGKILL");
      await process.exited;
    }
    if (this.#daemon !== undefined && isGone(this.#daemon.pid)) {
      const log = this.#daemon.log();
      this.#daemon = await this.#box.serve();
      return `the daemon has ended: ${log}`;
    }
    return first === "late" ? `not at its end after ${unitTimeoutMs / 1000} s` : undefined;
  }
}
