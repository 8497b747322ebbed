/** Builds the C programs of the benchmark, where a C compiler is, and starts the reference's daemon. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Running, Sandbox } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";

const compiler = Bun.which("cc");

/** The client is to have nothing of libc, nor of its start. */
const freestanding = [
  "-ffreestanding",
  "-nostdlib",
  "-static",
  "-fno-stack-protector",
  // Else the loops of our own memcpy become calls of memcpy.
  "-fno-tree-loop-distribute-patterns",
  "-Wl,--build-id=none",
];

/** Where the programs are, which are removed with the sandbox. */
export interface BenchPrograms {
  readonly runner: string;
  readonly client: string;
  readonly daemon: string;
}

/** @returns the programs, or why there are none, in one line. */
export function buildPrograms(box: Sandbox): BenchPrograms | string {
  if (compiler === null) return "no C compiler (cc)";
  const programs = {
    runner: box.path("bench-runner"),
    client: box.path("reference-client"),
    daemon: box.path("reference-daemon"),
  };
  const complaint =
    build("runner.c", programs.runner) ??
    build("reference/daemon.c", programs.daemon) ??
    build("reference/client.c", programs.client, freestanding);
  return complaint ?? programs;
}

/** @returns the compiler's first complaint, if any. */
function build(source: string, output: string, flags: readonly string[] = []): string | undefined {
  const words = ["-O2", "-std=gnu11", "-Wall", "-Wextra", ...flags];
  const { exitCode, stderr } = Bun.spawnSync(
    [compiler ?? "cc", ...words, join(import.meta.dir, source), "-o", output],
    { stdin: "ignore" },
  );
  if (exitCode === 0) return undefined;
  return `${source} cannot be built: ${stderr.toString().split("\n")[0]}`;
}

/** Its sandbox ends it. `enter` may put it where its time is counted. */
export async function startReference(
  box: Sandbox,
  { daemon }: BenchPrograms,
  enter: <Result>(start: () => Result) => Result,
): Promise<Running> {
  const socket = join(box.runtime, "reference.sock");
  const running = enter(() => box.start([daemon, socket]));
  await until("the reference's daemon listens", () => existsSync(socket));
  return running;
}
