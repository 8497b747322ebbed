/**
 * How much is done ahead of need: a spare spares its job a fork, and takes a processor and memory
 * from whatever runs meanwhile. So it is made when there is room for it.
 */
import { refillDelayMsMax, refillDelayMsMin } from "../base/limits.ts";

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
