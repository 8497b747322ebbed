/** Scripts that clean up after themselves also when they are interrupted. */
import { signalProcess } from "./process.ts";

const signals = ["SIGHUP", "SIGINT", "SIGTERM"] as const;

/**
 * Runs `work` and ends the process with the status it gives, or 1 when it throws. A signal that
 * asks us to end aborts `interrupted` instead; `work` is then to clean up and throw, and the process
 * ends by that signal.
 */
export async function interruptible(
  work: (interrupted: AbortSignal) => Promise<number>,
): Promise<never> {
  const controller = new AbortController();
  let caught: NodeJS.Signals | undefined;
  for (const name of signals) {
    process.on(name, () => {
      caught ??= name;
      controller.abort(new Error(`interrupted by ${name}`));
    });
  }
  let status = 1;
  try {
    status = await work(controller.signal);
  } catch (error) {
    complain(error);
  }
  if (caught !== undefined) {
    process.removeAllListeners(caught);
    process.kill(process.pid, caught);
  }
  process.exit(status);
}

/** Says on stderr what went wrong, also while cleaning up after it. */
export function complain(error: unknown): void {
  if (error instanceof SuppressedError) {
    complain(error.suppressed);
    complain(error.error);
  } else {
    process.stderr.write(`error: ${error instanceof Error ? error.message : error}\n`);
  }
}

/**
 * Runs a command to its end, and to that of its output. On `interrupted` its process group is killed,
 * and nothing more is waited for: what it left in a daemon may hold its output open.
 */
export async function runInterruptible(
  command: readonly string[],
  interrupted: AbortSignal,
  options: Bun.SpawnOptions.SpawnOptions<"ignore", "pipe" | "inherit", "pipe" | "inherit">,
): Promise<{ status: number; stdout: string; stderr: string }> {
  interrupted.throwIfAborted();
  // A group of its own: Ctrl-C reaches us alone, and we end the command when it suits us.
  const child = Bun.spawn([...command], { stdin: "ignore", ...options, detached: true });
  const { promise: killed, reject } = Promise.withResolvers<never>();
  const kill = (): void => {
    signalProcess(-child.pid, "SIGKILL");
    reject(interrupted.reason);
  };
  interrupted.addEventListener("abort", kill);
  try {
    const ended = Promise.all([child.exited, textOf(child.stdout), textOf(child.stderr)]);
    const [status, stdout, stderr] = await Promise.race([ended, killed]);
    return { status, stdout, stderr };
  } finally {
    interrupted.removeEventListener("abort", kill);
  }
}

async function textOf(stream: Bun.Subprocess["stdout"]): Promise<string> {
  return stream instanceof ReadableStream ? await new Response(stream).text() : "";
}
