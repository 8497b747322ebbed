/**
 * The daemon's children. SIGCHLD says that something has become of some: those that are watched are told of it, and what
 * was re-parented to the daemon, being a subreaper, is reaped when it has ended.
 */
import { childrenRetryMs } from "../base/limits.ts";
import {
  type ChildChange,
  type ChildExit,
  isOurChild,
  nextChange,
  takeStop,
  tryReap,
} from "../os/children.ts";
import type { Loop } from "./loop.ts";

/** What is told of a child. */
export interface ChildEvents {
  /**
   * It has ended, by a signal if one is named, and is not reaped yet: its number, and its group's,
   * are still its own.
   */
  readonly onEnding?: (killedBy: number | undefined) => void;
  /** Once, when it has ended and been reaped. */
  readonly onExit: (exit: ChildExit) => void;
  readonly onStopped?: (signal: number) => void;
  readonly onContinued?: () => void;
}

/** Whether a child that nobody watches will be: somebody is about to say so. May watch it there and then. */
export type Claim = (pid: number) => boolean;

export class Children {
  readonly #loop: Loop;
  readonly #watched = new Map<number, ChildEvents>();
  /** Those that nobody watches yet and that have been stopped, with the signal: who watches them later is told then. */
  readonly #stopped = new Map<number, number>();
  readonly #claims: Claim[] = [];
  /** A child that is claimed stands before others of which something may have become. */
  #isHeldUp = false;
  #isSweeping = false;
  #isAskedAgain = false;

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  get count(): number {
    return this.#watched.size;
  }

  /** From now on `claim` is asked before an unknown child counts as an orphan. */
  claimWith(claim: Claim): void {
    this.#claims.push(claim);
  }

  /** Tells `events` about a child that cannot have been reaped: just started, or claimed. */
  watch(pid: number, events: ChildEvents): void {
    this.#watched.set(pid, events);
    const signal = this.#stopped.get(pid);
    this.#stopped.delete(pid);
    if (signal !== undefined) events.onStopped?.(signal);
    this.lookAgain();
  }

  /**
   * Tells `events` about a child that somebody else has told of.
   * @returns false when there is no such child: it was an orphan already, and has been reaped.
   */
  tryWatch(pid: number, events: ChildEvents): boolean {
    if (!isOurChild(this.#loop.sys, pid)) return false;
    this.watch(pid, events);
    return true;
  }

  /** Who had claimed a child has said what it is. */
  lookAgain(): void {
    if (!this.#isHeldUp) return;
    if (this.#isSweeping) this.#isAskedAgain = true;
    else this.sweep();
  }

  /** Something has become of children. */
  sweep(): void {
    this.#isSweeping = true;
    try {
      do {
        this.#isAskedAgain = false;
        this.#isHeldUp = !this.#sweepAll();
        if (this.#isHeldUp) this.#sweepEach();
      } while (this.#isAskedAgain);
    } catch (error) {
      this.#loop.timers.after(childrenRetryMs, () => this.sweep()); // SIGCHLD will not say it again
      throw error;
    } finally {
      this.#isSweeping = false;
    }
  }

  /** @returns false when a child is left that stands before others. */
  #sweepAll(): boolean {
    const { sys } = this.#loop;
    for (let change = nextChange(sys); change; change = nextChange(sys)) {
      if (!this.#take(change)) return false;
    }
    return true;
  }

  /** One by one, as long as all of them cannot be asked for at once. */
  #sweepEach(): void {
    for (const pid of [...this.#watched.keys()]) {
      for (;;) {
        const change = this.#watched.has(pid) && nextChange(this.#loop.sys, pid);
        if (!change) break;
        this.#take(change);
      }
    }
  }

  /** @returns false when it is left, since somebody claims the child. */
  #take(change: ChildChange): boolean {
    const { sys, log } = this.#loop;
    const { pid } = change;
    const isClaimed = !this.#watched.has(pid) && this.#claims.some((claim) => claim(pid));
    const events = this.#watched.get(pid);
    if (!events && isClaimed) return false;
    if (change.kind !== "ended") {
      takeStop(sys, pid);
      if (!events && change.kind === "stopped") this.#stopped.set(pid, change.signal);
      else this.#stopped.delete(pid);
      if (change.kind === "stopped") events?.onStopped?.(change.signal);
      else events?.onContinued?.();
      return true;
    }
    events?.onEnding?.(change.killedBy);
    const exit = tryReap(sys, pid, { wait: false });
    this.#watched.delete(pid);
    this.#stopped.delete(pid);
    if (!events) log.debug(`reaped the orphan ${pid}`);
    else if (exit) events.onExit(exit);
    return true;
  }
}
