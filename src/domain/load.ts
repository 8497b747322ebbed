/**
 * How much is done ahead of need: a spare spares its job a fork, and takes a processor and memory
 * from whatever runs meanwhile. So it is made when there is room for it.
 */
import {
  demandMs,
  imageIdleMs,
  imageIdleShortMs,
  inputQuietMs,
  inputQuietMsMax,
  memoryReserveKiBMax,
  memoryReserveShare,
  refillDelayMsMax,
  refillDelayMsMin,
  spareIdleMs,
  spareKiB,
  spareMemoryShare,
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

/** How many jobs an image had to start at the same time, lately. */
export interface Demand {
  /** When the present period began; see `demandMs`. */
  readonly sinceMs: number;
  /** The most in this period so far, and in the one right before it. */
  readonly peak: number;
  readonly before: number;
}

export const noDemand: Demand = { sinceMs: 0, peak: 0, before: 0 };

/** The demand when `jobs` wait to be started at `nowMs`, by a clock that is never put back. */
export function demandAt(demand: Demand, nowMs: number, jobs: number): Demand {
  const periods = Math.floor((nowMs - demand.sinceMs) / demandMs);
  if (periods === 0) return { ...demand, peak: Math.max(demand.peak, jobs) };
  const before = periods === 1 ? demand.peak : 0;
  return { sinceMs: demand.sinceMs + periods * demandMs, peak: jobs, before };
}

/** How many spares a demand asks for, between two bounds. */
export function sparesDemanded(
  { peak, before }: Demand,
  { least, most }: { least: number; most: number },
): number {
  return Math.min(Math.max(peak, before, least), Math.max(most, least));
}

/** How many spares there is memory for, in the scarcest of these rooms. */
export function sparesAffordable(rooms: readonly Room[]): number {
  const availableKiB = Math.min(...rooms.map((room) => room.availableKiB));
  return Math.floor((availableKiB * spareMemoryShare) / spareKiB);
}

/**
 * How long the files of an image must not have changed before it is made anew, which it was
 * `rebuilt` times without a job: who edits for an hour, or writes a file that some module has read
 * all the time, is not followed with an image for each change.
 */
export function rebuildDelayMs(rebuilt: number): number {
  return Math.min(inputQuietMsMax, inputQuietMs * 2 ** rebuilt);
}
