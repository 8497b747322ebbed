/** What the daemon asks the machine before it does something ahead of need; see domain/load.ts. */
import { refillDelayMs } from "../domain/load.ts";
import { runningCount } from "../os/proc.ts";
import type { Loop } from "./loop.ts";

export class Machine {
  readonly #loop: Loop;
  readonly #processors: number = navigator.hardwareConcurrency;

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  /** How long from now a spare that is missing should not be forked. */
  refillDelayMs(): number {
    // We are one of them, and about to sleep. A machine that cannot be asked is taken for a busy one.
    const running = (runningCount(this.#loop.sys) ?? this.#processors + 1) - 1;
    return refillDelayMs({ processors: this.#processors, running });
  }
}
