/** What the daemon asks the machine before it does something ahead of need; see domain/load.ts. */
import { isShort, refillDelayMs } from "../domain/load.ts";
import { memoryRooms } from "../os/available-memory.ts";
import { runningCount } from "../os/proc.ts";
import type { Loop } from "./loop.ts";

export class Machine {
  readonly #loop: Loop;
  readonly #processors: number = navigator.hardwareConcurrency;
  #wasShort = false;

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  /** Whether memory was short when that was asked last. */
  get wasShort(): boolean {
    return this.#wasShort;
  }

  /** How long from now a spare that is missing should not be forked. */
  refillDelayMs(): number {
    // We are one of them, and about to sleep. A machine that cannot be asked is taken for a busy one.
    const running = (runningCount(this.#loop.sys) ?? this.#processors + 1) - 1;
    return refillDelayMs({ processors: this.#processors, running });
  }

  /** Whose memory is short, in words; undefined while there is room. A change is logged. */
  shortage(): string | undefined {
    const room = memoryRooms(this.#loop.sys).find((one) => isShort(one, this.#wasShort));
    const words =
      room &&
      `${room.owner} is short of memory: ${megabytes(room.availableKiB)} of ${megabytes(room.totalKiB)} MB are left`;
    const { log } = this.#loop;
    if (words && !this.#wasShort) log.warn(`${words}: no image is made, and no spare kept`);
    if (!words && this.#wasShort) log.info("there is memory for images and spares again");
    this.#wasShort = words !== undefined;
    return words;
  }
}

function megabytes(kibibytes: number): number {
  return Math.floor(kibibytes / 1024);
}
