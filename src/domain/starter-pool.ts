/**
 * How many starters there are: enough for the demand of the last second, and one more whenever those at work hang in
 * somebody's file system. A clock adds a starter here; it never ends one that has a job.
 */
import {
  starterBackoffMs,
  starterBackoffMsMax,
  starterDeathsFree,
  starterPatienceFactor,
  starterPatienceMsMax,
  starterPatienceMsMin,
} from "../base/limits.ts";

/** How many starters should be at work at one time: more than there are processors only get in each other's way. */
export function startersBusyMax(processors: number): number {
  return Math.max(2, processors);
}

/** How many starters wait when nothing is to be done, after a time in which `peak` jobs at most were to be started at once. */
export function startersKept(peak: number, processors: number): number {
  return Math.min(Math.max(1, peak), startersBusyMax(processors));
}

/** For how long a starter is believed to make progress, when a start takes `averageMs`: longer on a machine that is busy. */
export function patienceMs(averageMs: number): number {
  const usual = averageMs * starterPatienceFactor;
  return Math.min(Math.max(starterPatienceMsMin, usual), starterPatienceMsMax);
}

/** The average with one more start. A start that hung counts as one that has just been worth waiting for. */
export function nextAverageMs(averageMs: number, tookMs: number): number {
  const counted = Math.min(tookMs, 2 * patienceMs(averageMs));
  return averageMs + (counted - averageMs) / 8;
}

/** Starters at work, while a job waits and none is idle. */
export interface Work {
  /** For how long each has been at work, in ms. */
  readonly agesMs: readonly number[];
  readonly averageMs: number;
  readonly processors: number;
}

/** In how many ms another starter should be there for the job that waits; 0: at once. */
export function anotherStarterInMs({ agesMs, averageMs, processors }: Work): number {
  const patience = patienceMs(averageMs);
  const progressing = agesMs.filter((age) => age < patience);
  if (progressing.length < startersBusyMax(processors)) return 0;
  return patience - Math.max(...progressing);
}

/** How long no starter is made, after so many have died since one last did its work. */
export function respawnDelayMs(deaths: number): number {
  if (deaths <= starterDeathsFree) return 0;
  return Math.min(starterBackoffMs * 2 ** (deaths - starterDeathsFree - 1), starterBackoffMsMax);
}
