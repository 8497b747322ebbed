/** The terminal of a client that cannot put it in order itself any more: it was killed. */
import type { Sys } from "../../ffi/sys.ts";
import { duplicate, type Fd, type RawFd } from "../os/fd.ts";
import { type Standing, standingOf } from "../os/proc.ts";
import { terminalSettings, trySetTerminal } from "../os/terminal.ts";
import type { TerminalGuard } from "../protocol/messages.ts";

export class GuardedTerminal implements Disposable {
  readonly #sys: Sys;
  readonly #terminal: Fd;
  readonly #guard: TerminalGuard;
  readonly #client: Standing | undefined;

  /** Borrows `terminal`, and keeps a copy of it; `pid` is the client's. @throws SystemError */
  constructor(sys: Sys, terminal: RawFd, { guard, pid }: { guard: TerminalGuard; pid: number }) {
    this.#sys = sys;
    this.#guard = guard;
    this.#client = standingOf(sys, pid);
    this.#terminal = duplicate(sys, terminal); // last: nothing behind it may fail
  }

  /**
   * Whether it can be told from the terminal itself that the client has not put it in order: then
   * that matters for as long as the client lives, also when its job has ended.
   */
  get outlivesJob(): boolean {
    return this.#guard.expected.length > 0;
  }

  /** Gives it the settings it had, unless somebody else has changed them by now. */
  restore(): void {
    if (this.#isChanged()) return;
    trySetTerminal(this.#sys, this.#terminal.raw, this.#guard.settings);
  }

  #isChanged(): boolean {
    const { expected } = this.#guard;
    if (expected.length === 0) return this.#isTaken();
    const current = terminalSettings(this.#sys, this.#terminal.raw);
    return !current || Buffer.compare(current, expected) !== 0;
  }

  /**
   * Whether another process group is in the foreground by now: a shell with job control, which puts
   * its terminal in order itself, and must not have it changed under its line editor.
   */
  #isTaken(): boolean {
    const client = this.#client;
    if (!client || client.foreground <= 0) return false;
    const leader = standingOf(this.#sys, client.session);
    return leader !== undefined && leader.foreground !== client.group;
  }

  [Symbol.dispose](): void {
    this.#terminal[Symbol.dispose]();
  }
}
