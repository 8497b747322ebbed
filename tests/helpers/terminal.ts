/**
 * A terminal with somebody at it: programs run in it as they do under a terminal emulator, and the
 * test types, looks at what is shown, and drags the window's corner.
 */
import { readlinkSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import { descendantsOf, isGone, processStat, signalProcess } from "./process.ts";
import { programs } from "./programs.ts";
import type { Running, Sandbox } from "./sandbox.ts";
import { until } from "./wait.ts";

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

export interface TerminalOptions extends Partial<Size> {
  readonly env?: Readonly<Record<string, string>>;
}

/** What control keys send. */
export const keys = {
  interrupt: "\x03",
  endOfFile: "\x04",
  quit: "\x1c",
  suspend: "\x1a",
  escape: "\x1b",
} as const;

export class Terminal implements AsyncDisposable {
  /** The program it was opened for: leader of a session whose controlling terminal this is. */
  readonly process: Running;
  /** Its device, such as /dev/pts/7. */
  readonly path: string;
  readonly #pty: Bun.Terminal;
  #shown = "";
  #readTo = 0;
  #isClosed = false;

  constructor(box: Sandbox, command: readonly string[], options: TerminalOptions = {}) {
    const { columns = 80, rows = 24, env } = options;
    this.process = box.start(command, {
      env: { TERM: "xterm", ...env },
      terminal: {
        cols: columns,
        rows,
        data: (_, bytes) => {
          this.#shown += Buffer.from(bytes).toString("latin1");
        },
        exit: () => {
          this.#isClosed = true;
        },
      },
    });
    this.#pty = this.process.terminal;
    this.path = readlinkSync(`/proc/${this.process.pid}/fd/0`);
  }

  /** All that programs have written to it so far, latin1. */
  get shown(): string {
    return this.#shown;
  }

  /** What was shown since the last match of `until`. */
  get unread(): string {
    return this.#shown.slice(this.#readTo);
  }

  /** Passes over what is shown up to now. */
  skip(): void {
    this.#readTo = this.#shown.length;
  }

  type(text: string): void {
    this.#pty.write(text);
  }

  /**
   * Waits until `pattern` is shown after what the last call has matched.
   * @returns the match; `input` in it is what was not yet read.
   * @throws Error with what was seen instead.
   */
  async until(pattern: string | RegExp, timeoutMs?: number): Promise<RegExpExecArray> {
    const expression = typeof pattern === "string" ? new RegExp(RegExp.escape(pattern)) : pattern;
    try {
      return await until(
        `the terminal shows ${pattern}`,
        () => {
          const match = expression.exec(this.unread);
          if (match) this.#readTo += match.index + match[0].length;
          else if (this.#isClosed) throw new Error(`closed before it showed ${pattern}`);
          return match ?? undefined;
        },
        timeoutMs,
      );
    } catch (error) {
      const reason = error instanceof Error ? error.message : error;
      throw new Error(`${reason}; it showed ${JSON.stringify(this.unread)}`);
    }
  }

  /** Changes its size, as a window does: the foreground process group gets SIGWINCH. */
  resize({ columns, rows }: Size): void {
    this.#pty.resize(columns, rows);
  }

  /** Its settings and size as stty(1) names them, looked at from outside. */
  settings(): string {
    const { exitCode, stdout, stderr } = Bun.spawnSync(["stty", "-a", "-F", this.path]);
    if (exitCode !== 0) throw new Error(`stty: ${stderr.toString()}`);
    return stdout.toString();
  }

  /** The process group that has the use of it. */
  get foregroundGroup(): number | undefined {
    return processStat(this.process.pid)?.foreground;
  }

  /** Hangs up, as a window that is closed. */
  close(): void {
    this.#pty.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const pids = [this.process.pid, ...descendantsOf(this.process.pid).map(({ pid }) => pid)];
    for (const pid of pids) signalProcess(pid, "SIGKILL");
    for (const pid of pids) await until(`${pid} is gone`, () => isGone(pid));
    this.close();
  }
}

/** What a command line has shown, without control sequences and its own echo, and its `$?`. */
export interface Answer {
  readonly text: string;
  readonly status: number;
}

/** The shells that are tried, each started so that its prompt is `[STATUS]> `. */
export const shells = {
  bash: { command: ["bash", "--norc", "--noprofile", "-i"], prompt: "[$?]> " },
  dash: { command: ["dash", "-i"], prompt: "[$?]> " },
  zsh: { command: ["zsh", "-f", "-i", "+o", "PROMPT_SP"], prompt: "[%?]> " },
} as const;

export type ShellName = keyof typeof shells;

/** Those of them that are there. */
export const shellNames: readonly ShellName[] = programs.zsh
  ? ["bash", "dash", "zsh"]
  : ["bash", "dash"];

const prompt = /\[(\d+)\]> /;

/** An interactive shell in a terminal. */
export class Shell extends Terminal {
  private constructor(box: Sandbox, name: ShellName, options: TerminalOptions) {
    const { command, prompt: PS1 } = shells[name];
    super(box, command, { ...options, env: { PS1, ...options.env } });
  }

  /** Starts it and waits for its first prompt. */
  static async open(box: Sandbox, name: ShellName, options: TerminalOptions = {}): Promise<Shell> {
    const shell = new Shell(box, name, options);
    await shell.prompt();
    return shell;
  }

  /** Types a command line and Ctrl-J, which is Enter in raw mode, too. */
  enter(line: string): void {
    this.skip();
    this.type(`${line}\n`);
  }

  /** Waits for the prompt. */
  async prompt(timeoutMs?: number): Promise<Answer> {
    const { input, index, 1: status } = await this.until(prompt, timeoutMs);
    return { text: plain(input.slice(0, index)), status: Number(status) };
  }

  /** Enters a command line and waits for the prompt behind it. */
  async run(line: string, timeoutMs?: number): Promise<Answer> {
    this.enter(line);
    const { text, status } = await this.prompt(timeoutMs);
    return { text: text.startsWith(`${line}\n`) ? text.slice(line.length + 1) : text, status };
  }
}

/** A text without control sequences and what backspaces take away, and with plain line ends. */
export function plain(shown: string): string {
  return stripVTControlCharacters(shown)
    .replaceAll(/.[\b]/g, "")
    .replaceAll(/\r+\n/g, "\n")
    .replaceAll("\r", "");
}
