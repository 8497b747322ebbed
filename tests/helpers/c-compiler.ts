/** What a C compiler says about the system's headers: the truth that our own tables must match. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The machine's own compiler, or undefined: tests that need one are skipped then. */
export const nativeCompiler: string | undefined = Bun.which("cc") ?? undefined;

const headers = [
  "dirent.h",
  "fcntl.h",
  "limits.h",
  "poll.h",
  "sched.h",
  "signal.h",
  "spawn.h",
  "stddef.h",
  "stdio.h",
  "errno.h",
  "sys/epoll.h",
  "sys/file.h",
  "sys/inotify.h",
  "sys/ioctl.h",
  "sys/mman.h",
  "asm/mman.h", // what libc does not know yet
  "sys/prctl.h",
  "sys/resource.h",
  "sys/signalfd.h",
  "sys/socket.h",
  "sys/stat.h",
  "sys/syscall.h",
  "sys/time.h",
  "sys/timerfd.h",
  "sys/uio.h",
  "sys/un.h",
  "sys/wait.h",
  "unistd.h",
  "linux/close_range.h",
  "linux/ioprio.h",
  "asm/termbits.h", // the kernel's struct termios: <termios.h> has another one of that name
];

/** struct sched_attr comes with another definition of a structure that libc has. */
const schedulingHeader = `#define sched_param kernel_sched_param
#include <linux/sched/types.h>
#undef sched_param
`;

const prologue = [
  "#define _GNU_SOURCE\n",
  ...headers.map((name) => `#include <${name}>\n`),
  schedulingHeader,
].join("");

/** Runs `use` with a directory of its own, which is removed afterwards. */
function inTemporaryDirectory<Result>(use: (directory: string) => Result): Result {
  const directory = mkdtempSync(join(tmpdir(), "prefork-c-"));
  try {
    return use(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function compile(compiler: string, args: readonly string[]): string {
  const { exitCode, stderr } = Bun.spawnSync([compiler, "-std=gnu11", ...args]);
  const complaints = stderr.toString();
  return exitCode === 0 ? "" : complaints || `${compiler} ended with ${exitCode}`;
}

/**
 * Makes a program of one source file, without a warning.
 * @throws Error with the compiler's complaints.
 */
export function buildProgram(compiler: string, source: string, output: string): void {
  const warnings = ["-Wall", "-Wextra", "-Werror"];
  const complaints = compile(compiler, ["-O1", ...warnings, source, "-o", output]);
  if (complaints !== "") throw new Error(complaints);
}

/**
 * Compiles and runs `body` as a C program behind all headers, and returns what it prints.
 * @throws Error with the compiler's complaints, such as a name the headers do not have.
 */
export function runC(compiler: string, body: string): string {
  return inTemporaryDirectory((directory) => {
    const source = join(directory, "main.c");
    const program = join(directory, "main");
    writeFileSync(source, `${prologue}${body}`);
    const complaints = compile(compiler, [source, "-o", program]);
    if (complaints !== "") throw new Error(complaints);
    return Bun.spawnSync([program]).stdout.toString();
  });
}

/** The values of C expressions, in their order. */
export function evaluate(compiler: string, expressions: readonly string[]): number[] {
  const prints = expressions.map((text) => `  printf("%lld\\n", (long long)(${text}));\n`);
  const output = runC(compiler, `int main(void) {\n${prints.join("")}  return 0;\n}\n`);
  return output.trimEnd().split("\n").map(Number);
}

/**
 * Compiles, without running, that each C expression has its value: for a machine other than this.
 * @returns the compiler's complaints, one for each expression that has another value; else "".
 */
export function complaintsAbout(compiler: string, expected: ReadonlyMap<string, number>): string {
  const claims = [...expected].map(
    ([text, value]) => `_Static_assert((long long)(${text}) == ${value}, "is not ${value}");\n`,
  );
  return inTemporaryDirectory((directory) => {
    const source = join(directory, "claims.c");
    writeFileSync(source, `${prologue}${claims.join("")}`);
    return compile(compiler, ["-fsyntax-only", source]);
  });
}
