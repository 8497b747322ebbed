/** The process that starts what is compared: launch.pl, which runs case after case. */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { clientChoice, type Sandbox } from "../helpers/sandbox.ts";
import type { Context } from "./context.ts";
import { type Observation, parseAnswer } from "./observation.ts";
import { encodeRequest, type Places, type Prefix } from "./request.ts";

/** After so long a program is taken to hang, and killed, unless said otherwise. */
const hangTimeoutS = 20;

/** Numbers of system calls, which Perl does not know by name. See syscalls(2). */
// biome-ignore format: a table
const systemCalls: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  x64: {
    read: 0, write: 1, rt_sigaction: 13, rt_sigprocmask: 14, ioctl: 16, socket: 41, socketpair: 53,
    execve: 59, kill: 62, fcntl: 72, timerfd_create: 283, inotify_init1: 294, prlimit64: 302,
    kcmp: 312, memfd_create: 319, pidfd_open: 434, close_range: 436,
  },
  arm64: {
    read: 63, write: 64, rt_sigaction: 134, rt_sigprocmask: 135, ioctl: 29, socket: 198,
    socketpair: 199, execve: 221, kill: 129, fcntl: 25, timerfd_create: 85, inotify_init1: 26,
    prlimit64: 261, kcmp: 272, memfd_create: 279, pidfd_open: 434, close_range: 436,
  },
};

/** The same command by itself. It is looked up and executed by a program that is not ours. */
export const directly: Prefix = ["/usr/bin/nice", "-n", "0", "--"];

export interface LauncherOptions {
  /** What is run in the place of the sandbox's pfc. */
  readonly client?: string;
  readonly hangTimeoutS?: number;
}

/** Both runs of one context. */
export interface Pair {
  readonly direct: Observation;
  readonly viaClient: Observation;
}

/** Runs contexts one after the other, each in a fresh directory. */
export class Launcher implements AsyncDisposable {
  readonly #process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #answers: AsyncIterator<Uint8Array, unknown>;
  readonly #places: Places;
  readonly #client: Prefix;
  #pending = "";

  /** Runs through the client of the sandbox, whose daemon listens at its socket. */
  constructor(box: Sandbox, options: LauncherOptions = {}) {
    const perl = Bun.which("perl");
    if (perl === null) throw new Error("there is no perl");
    this.#places = { case: box.path("case"), observer: box.path("observe") };
    const client = options.client ?? join(box.bin, "pfc");
    this.#client = [client, "--wait", "--socket", box.socketPath, "--"];
    const prologue = perlPrologue({
      CASE: this.#places.case,
      PLAN: box.path("plan"),
      REPORT: box.path("report"),
      TIMEOUT: String(options.hangTimeoutS ?? hangTimeoutS),
    });
    const install = (name: string, path: string): void => {
      const body = readFileSync(join(import.meta.dir, name), "latin1");
      writeFileSync(path, `#!${perl}\n${prologue}${body}`, "latin1");
      chmodSync(path, 0o755);
    };
    install("observe.pl", this.#places.observer);
    install("launch.pl", box.path("launch"));
    this.#process = Bun.spawn([box.path("launch")], {
      cwd: "/",
      env: box.env,
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    this.#answers = this.#process.stdout[Symbol.asyncIterator]();
  }

  /** Runs the context directly, then through the client. */
  async runBoth(context: Context): Promise<Pair> {
    const chosen = Object.entries(clientChoice).map(([name, value]) => `${name}=${value}`);
    const both = { ...context, environment: [...context.environment, ...chosen] };
    const direct = await this.#run(both, directly);
    return { direct, viaClient: await this.#run(both, this.#client) };
  }

  async #run(context: Context, prefix: Prefix): Promise<Observation> {
    this.#process.stdin.write(encodeRequest(context, prefix, this.#places));
    await this.#process.stdin.flush();
    const lines: string[] = [];
    for (;;) {
      const line = await this.#nextLine();
      if (line === "done") return parseAnswer(lines);
      lines.push(line);
    }
  }

  async #nextLine(): Promise<string> {
    const parts = [this.#pending];
    for (;;) {
      const last = parts.at(-1) ?? "";
      const end = last.indexOf("\n");
      if (end >= 0) {
        parts[parts.length - 1] = last.slice(0, end);
        this.#pending = last.slice(end + 1);
        return parts.join("");
      }
      const { done, value } = await this.#answers.next();
      if (done) throw new Error("launch.pl has ended");
      parts.push(Buffer.from(value).toString("latin1"));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stdin.end();
    await this.#process.exited;
  }
}

/** What both scripts need to know, as Perl. */
function perlPrologue(texts: Readonly<Record<string, string>>): string {
  const numbers = systemCalls[process.arch];
  if (!numbers) throw new Error(`the system calls of ${process.arch} are not known here`);
  const quoted = (text: string): string => `'${text.replace(/[\\']/g, "\\$&")}'`;
  const variables = Object.entries(texts).map(([name, text]) => `$${name} = ${quoted(text)};\n`);
  const table = Object.entries(numbers).map(([name, number]) => `${name} => ${number}`);
  return `${variables.join("")}%NR = (${table.join(", ")});\n`;
}
