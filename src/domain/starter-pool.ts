/**
 * How many starters there are: enough for the demand of the last second, and one more whenever those at work hang in
 * somebody's file system, or with a job that has been stopped. A clock adds a starter here; it never ends one that has a job.
 */
import {
  lenderPatienceMsMin,
  lendersMax,
  starterBackoffMs,
  starterBackoffMsMax,
  starterDeathsFree,
  starterPatienceFactor,
  starterPatienceMsMax,
  starterPatienceMsMin,
} from "../base/limits.ts";

/** What tells the starters of programs and the images of built-in commands apart. */
export interface PoolPolicy {
  /** How many should be at work at one time, if they make progress: more only get in each other's way. */
  readonly busyMax: number;
  /** The least time for which one is believed to make progress. */
  readonly patienceMsMin: number;
  /** How many there are at most. */
  readonly countMax: number;
}

/** A starter is small, and is at work for the time of an exec. */
export function programPolicy(processors: number): PoolPolicy {
  return {
    busyMax: Math.max(2, processors),
    patienceMsMin: starterPatienceMsMin,
    countMax: Number.POSITIVE_INFINITY,
  };
}

/** An image takes some 20 MB and a tenth of a second to be made, and serves more jobs than a daemon can hand it. */
export const commandPolicy: PoolPolicy = {
  busyMax: 1,
  patienceMsMin: lenderPatienceMsMin,
  countMax: lendersMax,
};

/** How many wait when nothing is to be done, after a time in which `peak` jobs at most were to be started at once. */
export function startersKept(peak: number, { busyMax }: PoolPolicy): number {
  return Math.min(Math.max(1, peak), busyMax);
}

/** For how long a starter is believed to make progress, when a start takes `averageMs`: longer on a machine that is busy. */
export function patienceMs(averageMs: number, { patienceMsMin }: PoolPolicy): number {
  const usual = averageMs * starterPatienceFactor;
  return Math.min(Math.max(patienceMsMin, usual), starterPatienceMsMax);
}

/** The average with one more start. A start that hung counts as one that has just been worth waiting for. */
export function nextAverageMs(averageMs: number, tookMs: number, policy: PoolPolicy): number {
  const counted = Math.min(tookMs, 2 * patienceMs(averageMs, policy));
  return averageMs + (counted - averageMs) / 8;
}

/** Starters at work, while a job waits and none is idle. */
export interface Work {
  /** For how long each has been at work, in ms. */
  readonly agesMs: readonly number[];
  readonly averageMs: number;
}

/** In how many ms another starter should be there for the job that waits; 0: at once. Whether there may be one is another matter. */
export function anotherStarterInMs({ agesMs, averageMs }: Work, policy: PoolPolicy): number {
  const patience = patienceMs(averageMs, policy);
  const progressing = agesMs.filter((age) => age < patience);
  if (progressing.length < policy.busyMax) return 0;
  return patience - Math.max(...progressing);
}

/** How long no starter is made, after so many have died since one last did its work. */
export function respawnDelayMs(deaths: number): number {
  if (deaths <= starterDeathsFree) return 0;
  return Math.min(starterBackoffMs * 2 ** (deaths - starterDeathsFree - 1), starterBackoffMsMax);
}
