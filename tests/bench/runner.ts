/**
 * Runs the turns of the benchmark. A spawn out of Bun costs several times what is to be measured, so the work is done
 * by `runner.c`, and where there is no compiler by posix_spawn(3) through `bun:ffi`.
 */
import { allocate, cString, type Memory, pointerArray } from "../../ffi/memory.ts";
import { spawnFileActionsSize } from "../../ffi/structs.ts";
import { check, Descriptor, sys } from "../helpers/seqpacket.ts";

/** What a process inherits besides; put in place between fork and exec. */
export interface Conditions {
  readonly nice?: number;
  readonly ignoresPipe?: true;
  /** The soft and the hard limit of open files. */
  readonly filesMax?: number;
}

/** One command, to be run `runs` times, `width` at a time. */
export interface Turn extends Conditions {
  /** The first word is the program's path. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly runs: number;
  readonly width: number;
}

export interface TurnResult {
  readonly wholeNs: number;
  /** The last wait status that was not 0, else 0. */
  readonly failure: number;
  /** Of each run, from before the spawn to after the wait; none when they overlap. */
  readonly timesNs: readonly number[];
}

export interface Runner extends AsyncDisposable {
  readonly kind: "C" | "bun:ffi";
  readonly pid: number;
  run(turn: Turn): Promise<TurnResult>;
}

/** The tiny process of `runner.c`. */
export class NativeRunner implements Runner {
  readonly kind = "C";
  readonly #process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #answers: AsyncIterator<Uint8Array>;
  #text = "";

  constructor(program: string, directory: string) {
    this.#process = Bun.spawn([program, directory], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    this.#answers = this.#process.stdout[Symbol.asyncIterator]();
  }

  get pid(): number {
    return this.#process.pid;
  }

  async run(turn: Turn): Promise<TurnResult> {
    const { command, runs, width, nice = 0, ignoresPipe = false, filesMax = 0 } = turn;
    const env = entriesOf(turn);
    const strings = Buffer.from([...command, ...env].map((text) => `${text}\0`).join(""));
    const numbers = [runs, width, nice, Number(ignoresPipe), filesMax, command.length, env.length];
    this.#process.stdin.write(`${[...numbers, strings.length].join(" ")}\n`);
    this.#process.stdin.write(strings);
    await this.#process.stdin.flush();
    const [wholeNs = Number.NaN, failure = 0, ...timesNs] = (await this.#line())
      .split(" ")
      .map(Number);
    return { wholeNs, failure, timesNs };
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const { done, value } = await this.#answers.next();
      if (done) throw new Error("the runner has ended");
      this.#text += Buffer.from(value).toString("latin1");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stdin.end();
    await this.#process.exited;
  }
}

/**
 * In this process, where no C compiler is. It cannot set conditions (nothing of ours runs between fork and exec), and a
 * run that overlaps others is waited for in the order in which they began.
 */
export class FfiRunner implements Runner {
  readonly kind = "bun:ffi";
  readonly pid: number = process.pid;
  readonly #directory: Descriptor;
  readonly #null: Descriptor = Descriptor.open("/dev/null", "r+");

  constructor(directory: string) {
    this.#directory = Descriptor.open(directory);
  }

  async run(turn: Turn): Promise<TurnResult> {
    const { command, runs, width } = turn;
    const strings = [...command, ...entriesOf(turn)].map(cString);
    const [path] = strings as [Memory, ...Memory[]]; // a command has a word
    const argv = pointerArray(strings.slice(0, command.length));
    const env = pointerArray(strings.slice(command.length));
    const [pid, status] = [allocate(4), allocate(4)];
    const actions = this.#fileActions();
    const running: number[] = [];
    const timesNs: number[] = [];
    let failure = 0;
    const beginTurn = Bun.nanoseconds();
    for (let started = 0, ended = 0; ended < runs; ended++) {
      const begin = Bun.nanoseconds();
      for (; started < Math.min(runs, ended + width); started++) {
        check(sys.posix_spawn(pid, path, actions, null, argv, env), `posix_spawn ${command[0]}`);
        running.push(pid.view.getInt32(0, true));
      }
      check(sys.wait4(running.shift() ?? 0, status, 0, null), "wait4");
      timesNs.push(Bun.nanoseconds() - begin);
      failure = status.view.getInt32(0, true) || failure;
    }
    const wholeNs = Bun.nanoseconds() - beginTurn;
    sys.posix_spawn_file_actions_destroy(actions);
    return { wholeNs, failure, timesNs: width === 1 ? timesNs : [] };
  }

  #fileActions(): Memory {
    const actions = allocate(spawnFileActionsSize);
    check(sys.posix_spawn_file_actions_init(actions), "posix_spawn_file_actions_init");
    sys.posix_spawn_file_actions_addfchdir_np(actions, this.#directory.number);
    for (const number of [0, 1, 2]) {
      sys.posix_spawn_file_actions_adddup2(actions, this.#null.number, number);
    }
    return actions;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#directory[Symbol.dispose]();
    this.#null[Symbol.dispose]();
    return Promise.resolve();
  }
}

function entriesOf({ env }: Turn): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}
