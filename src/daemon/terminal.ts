/** The terminal of a client that cannot put it in order itself any more: it was killed. */
import type { Sys } from "../../ffi/sys.ts";
import { duplicate, type Fd, type RawFd } from "../os/fd.ts";
import { terminalSettings, trySetTerminal } from "../os/terminal.ts";
import type { TerminalGuard } from "../protocol/messages.ts";

export class GuardedTerminal implements Disposable {
  readonly #sys: Sys;
  readonly #terminal: Fd;
  readonly #guard: TerminalGuard;

  /** Borrows `terminal`, and keeps a copy of it. @throws SystemError */
  constructor(sys: Sys, terminal: RawFd, guard: TerminalGuard) {
    this.#sys = sys;
    this.#terminal = duplicate(sys, terminal);
    this.#guard = guard;
  }

  /** Gives it the settings it had, unless somebody has changed those that were expected. */
  restore(): void {
    const { settings, expected } = this.#guard;
    if (expected.length > 0) {
      const current = terminalSettings(this.#sys, this.#terminal.raw);
      if (!current || Buffer.compare(current, expected) !== 0) return;
    }
    trySetTerminal(this.#sys, this.#terminal.raw, settings);
  }

  [Symbol.dispose](): void {
    this.#terminal[Symbol.dispose]();
  }
}
