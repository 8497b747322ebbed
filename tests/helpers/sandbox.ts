/**
 * A private world for one test: directories, environment, daemons, clients. Leaving it ends every
 * process that was started in it and removes the directory.
 */
import {
  accessSync,
  chmodSync,
  closeSync,
  constants as fileModes,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { descendantsOf, isGone, processStat, signalProcess } from "./process.ts";
import { until } from "./wait.ts";

/** The binary under test. */
export const binary: string = realBinary();

function realBinary(): string {
  const path = process.env["PREFORK_BIN"] ?? join(import.meta.dir, "../../dist/prefork");
  try {
    accessSync(path, fileModes.X_OK);
  } catch {
    throw new Error(`there is no binary at ${path}: build it first, or set PREFORK_BIN`);
  }
  return realpathSync(path);
}

/**
 * Which client the tests are run for: `PREFORK_CLIENT=bun` in the environment of the tests is in that
 * of everything they start, and has a binary with a head leave the client's work to Bun.
 */
export const clientVariable = "PREFORK_CLIENT";
export const clientChoice: Readonly<Record<string, string>> = chosenClient();

function chosenClient(): Record<string, string> {
  const choice = process.env[clientVariable];
  return choice === undefined ? {} : { [clientVariable]: choice };
}

/** How a process ended: its exit status, or the name of the signal that killed it. */
export type End = number | NodeJS.Signals;

/** All that can be seen of a process that has ended. Texts are latin1: one byte a character. */
export interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  readonly end: End;
}

/** What is expected of a process: nothing on stdout and stderr, and 0, unless said otherwise. */
export function ended(expected: Partial<Ended> = {}): Ended {
  return { stdout: "", stderr: "", end: 0, ...expected };
}

/** A shell's way to write any text as one word. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

export interface StartOptions {
  /** Added to the sandbox's environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** What the process reads; nothing when left out. "pipe" leaves it open: see `Running.input`. */
  readonly stdin?: string | "pipe" | number;
  /** Where its stdout and stderr go instead of into the result: descriptors of the test. */
  readonly stdout?: number;
  readonly stderr?: number;
  /** A new terminal is its stdin, stdout and stderr, and its session's; see `Running.terminal`. */
  readonly terminal?: Bun.TerminalOptions;
}

/** What `prefork status --json` prints. */
export interface Status {
  readonly pid: number;
  readonly version: string;
  readonly uptimeMs: number;
  readonly socket: string;
  readonly mode: string;
  readonly state: string;
  readonly running: number;
  readonly done: number;
  readonly failed: number;
  readonly image: { state: string; pid: number; spares: number; served: number };
}

type Input = "ignore" | "pipe" | number | Uint8Array<ArrayBuffer>;
type SpawnOptions = Bun.SpawnOptions.SpawnOptions<Input, "pipe" | number, "pipe" | number>;

/** A process that was started. Its output can be looked at while it runs. */
export class Running {
  readonly pid: number;
  /** Ends when the process has ended and nobody holds its pipes any more. */
  readonly ended: Promise<Ended>;
  /** Ends when the process has ended, whoever holds its pipes. */
  readonly exited: Promise<End>;
  readonly #process: Bun.Subprocess;
  #stdout = "";
  #stderr = "";

  constructor(command: readonly string[], options: SpawnOptions) {
    this.#process = Bun.spawn([...command], options);
    this.pid = this.#process.pid;
    const { stdout, stderr } = this.#process;
    const collected = Promise.all([
      collect(stdout, (text) => {
        this.#stdout += text;
      }),
      collect(stderr, (text) => {
        this.#stderr += text;
      }),
    ]);
    this.exited = this.#process.exited.then(
      (code) => (this.#process.signalCode as NodeJS.Signals | null) ?? code,
    );
    this.ended = Promise.all([this.exited, collected]).then(([end]) => ({
      stdout: this.#stdout,
      stderr: this.#stderr,
      end,
    }));
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** The terminal that was asked for. */
  get terminal(): Bun.Terminal {
    return this.#process.terminal as Bun.Terminal;
  }

  /** Writes to the process's stdin, which was asked for as "pipe". */
  async write(text: string): Promise<void> {
    const sink = this.#process.stdin as Bun.FileSink;
    sink.write(text);
    await sink.flush();
  }

  async closeInput(): Promise<void> {
    await (this.#process.stdin as Bun.FileSink).end();
  }

  kill(signal: NodeJS.Signals): void {
    signalProcess(this.pid, signal);
  }
}

/** A daemon in the foreground, with its log in a file. */
export interface Daemon {
  readonly pid: number;
  readonly process: Running;
  readonly socketPath: string;
  readonly log: () => string;
}

export class Sandbox implements AsyncDisposable {
  /** All of it; removed at the end. */
  readonly directory: string;
  /** XDG_RUNTIME_DIR. */
  readonly runtime: string;
  /** The working directory. It is no project: the marker's search ends in none above it. */
  readonly work: string;
  /** Holds prefork, pfc and pfd, and is in PATH. */
  readonly bin: string;
  readonly env: Record<string, string>;
  readonly #running = new Set<Running>();
  readonly #daemons = new Set<number>();
  #logCount = 0;

  constructor() {
    // The real path: what /proc shows and what was asked for must be the same text.
    this.directory = mkdtempSync(join(realpathSync(tmpdir()), "pf-e2e-"));
    this.runtime = this.#makeDirectory("run");
    this.work = this.#makeDirectory("work");
    this.bin = this.#makeDirectory("bin");
    for (const name of ["prefork", "pfc", "pfd"]) symlinkSync(binary, join(this.bin, name));
    this.env = {
      PATH: `${this.bin}:/usr/local/bin:/usr/bin:/bin`,
      HOME: this.work,
      TMPDIR: this.#makeDirectory("tmp"),
      XDG_RUNTIME_DIR: this.runtime,
      ...clientChoice,
    };
  }

  /** The socket of the runtime mode. */
  get socketPath(): string {
    return join(this.runtime, "pfd.sock");
  }

  /** A path below the sandbox. */
  path(...names: string[]): string {
    return join(this.directory, ...names);
  }

  /** Writes a file below the sandbox, with the directories it needs. */
  write(name: string, text: string | Uint8Array, mode = 0o644): string {
    const path = this.path(name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  }

  read(name: string): string {
    return readFileSync(this.path(name), "latin1");
  }

  /** Starts any command in the sandbox. */
  start(command: readonly string[], options: StartOptions = {}): Running {
    const { terminal } = options;
    const running = new Running(command, {
      cwd: options.cwd ?? this.work,
      env: definedOnly({ ...this.env, ...options.env }),
      ...(terminal
        ? { terminal }
        : {
            stdin: inputOf(options.stdin),
            stdout: options.stdout ?? "pipe",
            stderr: options.stderr ?? "pipe",
          }),
    });
    this.#running.add(running);
    void running.exited.then(() => this.#running.delete(running));
    return running;
  }

  /** Runs any command and waits for its end. */
  async run(command: readonly string[], options?: StartOptions): Promise<Ended> {
    return await this.start(command, options).ended;
  }

  /** Runs a script in bash, which can name any byte and any descriptor. */
  async bash(script: string, options?: StartOptions): Promise<Ended> {
    return await this.run(["bash", "-c", script], options);
  }

  async pfc(...words: string[]): Promise<Ended> {
    return await this.run([join(this.bin, "pfc"), ...words]);
  }

  async prefork(...words: string[]): Promise<Ended> {
    return await this.run([join(this.bin, "prefork"), ...words]);
  }

  startPfc(words: readonly string[], options?: StartOptions): Running {
    return this.start([join(this.bin, "pfc"), ...words], options);
  }

  /** Starts a daemon in the foreground and waits until it listens. */
  async serve(words: readonly string[] = [], options: StartOptions = {}): Promise<Daemon> {
    const logPath = this.path(`daemon-${++this.#logCount}.log`);
    const logFile = openSync(logPath, "a");
    const process = this.start([join(this.bin, "pfd"), ...words], { ...options, stderr: logFile });
    closeSync(logFile);
    this.#daemons.add(process.pid);
    const log = (): string => readFileSync(logPath, "latin1");
    let isOver = false;
    void process.exited.then(() => {
      isOver = true;
    });
    const socketPath = await until("the daemon listens", () => {
      if (isOver) throw new Error(`the daemon has ended: ${log()}`);
      return / listening on (.*) \(pid \d+\)\n/.exec(log())?.[1];
    });
    return { pid: process.pid, process, socketPath, log };
  }

  /** The same, with an image of the built-in commands that waits. */
  async serveWarm(words: readonly string[] = [], options: StartOptions = {}): Promise<Daemon> {
    const daemon = await this.serve(words, options);
    await this.untilWarm();
    return daemon;
  }

  async untilWarm(): Promise<Status> {
    return await until("an image waits", async () => {
      const status = await this.status();
      return status.image.state === "ready" && status.image.spares > 0 && status;
    });
  }

  async status(...words: string[]): Promise<Status> {
    const { stdout, stderr } = await this.prefork("status", "--json", ...words);
    if (stdout === "") {
      const logs = this.#logs().map(([path, text]) => `${path}:\n${text}`);
      throw new Error(`no status: ${stderr}${logs.join("\n")}`);
    }
    const status = JSON.parse(stdout) as Status;
    this.#daemons.add(status.pid);
    return status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of this.#pidsInFiles()) this.#daemons.add(pid);
    const daemons = [...this.#daemons].filter((pid) => isPrefork(pid));
    const below = [...daemons, ...this.#runningPids()].flatMap((pid) => descendantsOf(pid));
    // Twice: the second one does not wait for jobs.
    for (const signal of ["SIGTERM", "SIGCONT", "SIGTERM"] as const) {
      for (const pid of daemons) signalProcess(pid, signal);
    }
    const stubborn: number[] = [];
    for (const pid of daemons) {
      await until(`the daemon ${pid} ends`, () => isGone(pid), 5000).catch(() => {
        stubborn.push(pid);
      });
    }
    const left = [...stubborn, ...this.#runningPids(), ...below.map(({ pid }) => pid)];
    for (const pid of left) signalProcess(pid, "SIGKILL");
    await Promise.all([...this.#running].map((running) => running.exited));
    const traces = this.#logs().filter(([, text]) => /^ +at /m.test(text));
    rmSync(this.directory, { recursive: true, force: true });
    if (stubborn.length > 0) throw new Error(`had to kill the daemon ${stubborn.join(", ")}`);
    for (const [name, text] of traces) throw new Error(`a stack trace in ${name}:\n${text}`);
  }

  #makeDirectory(name: string): string {
    const path = join(this.directory, name);
    mkdirSync(path, { mode: 0o700 });
    return path;
  }

  #runningPids(): number[] {
    return [...this.#running].map(({ pid }) => pid);
  }

  #pidsInFiles(): number[] {
    return filesEndingIn(this.directory, ".pid")
      .map((path) => Number(readFileSync(path, "latin1")))
      .filter((pid) => pid > 1);
  }

  #logs(): [path: string, text: string][] {
    return filesEndingIn(this.directory, ".log").map((path) => [
      path,
      readFileSync(path, "latin1"),
    ]);
  }
}

/** The plain files below `directory`, not far down: daemons leave theirs near the top. */
function filesEndingIn(directory: string, suffix: string, depth = 3): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return depth > 0 ? filesEndingIn(path, suffix, depth - 1) : [];
    return entry.isFile() && entry.name.endsWith(suffix) ? [path] : [];
  });
}

/** The number in a stale file may be anybody's by now: only what runs our binary is ours. */
function isPrefork(pid: number): boolean {
  if (processStat(pid) === undefined || isGone(pid)) return false;
  try {
    return readFileSync(`/proc/${pid}/comm`, "latin1").startsWith("pfd");
  } catch {
    return false;
  }
}

function inputOf(stdin: StartOptions["stdin"]): Input {
  if (stdin === undefined) return "ignore";
  if (stdin === "pipe" || typeof stdin === "number") return stdin;
  return new TextEncoder().encode(stdin);
}

function definedOnly(env: Record<string, string | undefined>): Record<string, string> {
  const defined: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) if (value !== undefined) defined[name] = value;
  return defined;
}

async function collect(
  stream: Bun.Subprocess["stdout"] | Bun.Subprocess["stderr"],
  take: (text: string) => void,
): Promise<void> {
  if (!(stream instanceof ReadableStream)) return;
  for await (const chunk of stream) take(Buffer.from(chunk).toString("latin1"));
}
