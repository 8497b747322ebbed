/**
 * The terminal of a waiting client, while a job has the use of it. Without `--tty` the job gets the
 * caller's terminal itself, and we only put it in order when the job could not; with `--tty` see
 * relay.ts.
 */
import type { Memory } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { duplicate, type Fd, type RawFd } from "../os/fd.ts";
import type { Interest } from "../os/poll.ts";
import { isInForeground } from "../os/proc.ts";
import { isTerminal, terminalSettings, trySetTerminal } from "../os/terminal.ts";
import type { JobTerminals } from "./capture.ts";

/** What a terminal asks of the client that waits for a job on it. */
export interface ClientTerminal extends Disposable {
  /** What the request for the job says of it. */
  readonly forJob: JobTerminals;
  /** Whether 0 and 1 are ours while the job runs, and stops are ours to act on. */
  readonly isRelayed: boolean;
  /** The context has been handed over, and the job may start. */
  begin(): void;
  /** What there is to wait for, besides messages and signals. */
  readonly interests: readonly Interest[];
  act(ready: readonly Interest[]): void;
  /** The terminal has another size. */
  resize(): void;
  /** We are about to be stopped, and go on again. */
  suspend(): void;
  resume(): void;
  /** The job has ended, by itself or by a signal. */
  finish(hasExited: boolean): void;
}

/** The terminal among 0, 1 and 2 if there is one. */
export function findTerminal(sys: Sys, closed: ReadonlySet<number>): ClientTerminal | undefined {
  for (const number of [0, 1, 2]) {
    if (closed.has(number) || !isTerminal(sys, number)) continue;
    return new SharedTerminal(sys, duplicate(sys, number as RawFd));
  }
  return undefined;
}

/** The caller's own terminal. A job that ends by itself may have changed it on purpose, as stty does. */
class SharedTerminal implements ClientTerminal {
  readonly isRelayed = false;
  readonly interests: readonly Interest[] = [];
  readonly #sys: Sys;
  readonly #terminal: Fd;
  /** What it had when we first had the use of it; in the background we have not. */
  #settings: Memory | undefined;
  #isSettled = false;

  /** Consumes `terminal`. */
  constructor(sys: Sys, terminal: Fd) {
    this.#sys = sys;
    this.#terminal = terminal;
    this.#remember();
  }

  get forJob(): JobTerminals {
    const settings = this.#settings;
    if (!settings) return {};
    return { guarded: { terminal: this.#terminal.raw, settings, expected: new Uint8Array(0) } };
  }

  begin(): void {}
  act(): void {}
  resize(): void {}
  suspend(): void {}

  resume(): void {
    this.#remember();
  }

  finish(hasExited: boolean): void {
    this.#isSettled = hasExited;
  }

  [Symbol.dispose](): void {
    if (!this.#isSettled && this.#settings && isInForeground(this.#sys)) {
      trySetTerminal(this.#sys, this.#terminal.raw, this.#settings);
    }
    this.#terminal[Symbol.dispose]();
  }

  #remember(): void {
    if (this.#settings || !isInForeground(this.#sys)) return;
    this.#settings = terminalSettings(this.#sys, this.#terminal.raw);
  }
}
