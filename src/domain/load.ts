/**
 * How much is done ahead of need: a spare spares its job a fork, and takes a processor and memory
 * from whatever runs meanwhile. So it is made when there is room for it.
 */
import {
  imageIdleMs,
  imageIdleShortMs,
  inputQuietMs,
  inputQuietMsMax,
  memoryReserveKiBMax,
  memoryReserveShare,
  refillDelayMsMax,
  refillDelayMsMin,
  spareIdleMs,
} from "../base/limits.ts";

/** What the processors are asked for at one moment. */
export interface Load {
  readonly processors: number;
  /** Processes that compute or wait for a processor: jobs, ours and others', and spares in the making. */
  readonly running: number;
}

/**
 * How long a spare that was taken is not replaced, if its job does not end before: not at all while
 * a processor is free, and the longer the more wait for one. A job that finds no spare meanwhile has
 * one forked for it, which costs what the spare would have cost; so it is the machine that is saved
 * work by waiting, and never a job that is made to wait.
 */
export function refillDelayMs({ processors, running }: Load): number {
  if (running < processors) return 0;
  return Math.min(refillDelayMsMax, Math.round((refillDelayMsMin * running) / processors));
}

/** What is left of a bounded memory. */
export interface Room {
  readonly availableKiB: number;
  readonly totalKiB: number;
}

/**
 * Whether so little is left that nothing is kept for later. What was short is so until there is half
 * as much again: what is given back by that must not be taken at once.
 */
export function isShort({ availableKiB, totalKiB }: Room, wasShort: boolean): boolean {
  const reserveKiB = Math.min(totalKiB * memoryReserveShare, memoryReserveKiBMax);
  return availableKiB < (wasShort ? reserveKiB * 1.5 : reserveKiB);
}

/** How an image is used. */
export interface Use {
  /** How many spares it is to have. */
  readonly spares: number;
  /** Since a job used it. */
  readonly idleMs: number;
  readonly isShort: boolean;
}

/**
 * What is kept of an image: how many spares, or, `undefined`, not even itself. A spare has pages of
 * its own for all it has copied. Without one an image still serves: a job that is forked out of it
 * takes less memory than one that runs cold, so when memory is short those in use stay.
 */
export function sparesKept({ spares, idleMs, isShort }: Use): number | undefined {
  if (idleMs >= (isShort ? imageIdleShortMs : imageIdleMs)) return undefined;
  return isShort || idleMs >= spareIdleMs ? 0 : spares;
}

/**
 * How long the files of an image must not have changed before it is made anew, which it was
 * `rebuilt` times without a job: who edits for an hour, or writes a file that some module has read
 * all the time, is not followed with an image for each change.
 */
export function rebuildDelayMs(rebuilt: number): number {
  return Math.min(inputQuietMsMax, inputQuietMs * 2 ** rebuilt);
}
