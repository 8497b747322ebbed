/**
 * The daemon's children. Those it knows are watched each through a pidfd; what is re-parented to
 * it, being a subreaper, is reaped when SIGCHLD says that something has ended.
 */
import { Scope } from "../base/scope.ts";
import {
  anyEndedChild,
  type ChildExit,
  isOurChild,
  killerOf,
  nextStop,
  tryOpenPidFd,
  tryReap,
} from "../os/children.ts";
import type { Fd } from "../os/fd.ts";
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

interface Watched {
  readonly pidFd: Fd;
  readonly events: ChildEvents;
}

export class Children implements Disposable {
  readonly #loop: Loop;
  readonly #watched = new Map<number, Watched>();
  /** A watched child that had ended stood before the orphans: look again when it is reaped. */
  #sweepAgain = false;

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  get count(): number {
    return this.#watched.size;
  }

  /**
   * Tells `events` about a child.
   * @returns false when there is no such child: it was an orphan already, and has been swept.
   */
  watch(pid: number, events: ChildEvents): boolean {
    if (!isOurChild(this.#loop.sys, pid)) return false;
    const pidFd = tryOpenPidFd(this.#loop.sys, pid);
    if (!pidFd) return false;
    using owned = new Scope();
    owned.use(pidFd);
    this.#loop.poller.add(pidFd.raw, () => this.#reap(pid));
    owned.move();
    this.#watched.set(pid, { pidFd, events });
    return true;
  }

  /** Something has happened to children: tells of stops, and reaps what is nobody's. */
  sweep(): void {
    for (let stop = nextStop(this.#loop.sys); stop; stop = nextStop(this.#loop.sys)) {
      const events = this.#watched.get(stop.pid)?.events;
      if (stop.signal === undefined) events?.onContinued?.();
      else events?.onStopped?.(stop.signal);
    }
    this.#sweepOrphans();
  }

  /** Reaps what has ended and is nobody's. A job's own reaping is left to its pidfd. */
  #sweepOrphans(): void {
    for (;;) {
      const pid = anyEndedChild(this.#loop.sys);
      this.#sweepAgain = pid !== undefined && this.#watched.has(pid);
      if (pid === undefined || this.#sweepAgain) return;
      tryReap(this.#loop.sys, pid, { wait: false });
      this.#loop.log.debug(`reaped the orphan ${pid}`);
    }
  }

  /** Stops watching; the children go on. */
  [Symbol.dispose](): void {
    for (const { pidFd } of this.#watched.values()) {
      this.#loop.poller.remove(pidFd.raw);
      pidFd[Symbol.dispose]();
    }
    this.#watched.clear();
  }

  #reap(pid: number): void {
    const watched = this.#watched.get(pid);
    watched?.events.onEnding?.(killerOf(this.#loop.sys, pid));
    const exit = tryReap(this.#loop.sys, pid, { wait: false });
    if (!watched || !exit) return;
    this.#watched.delete(pid);
    this.#loop.poller.remove(watched.pidFd.raw);
    watched.pidFd[Symbol.dispose]();
    watched.events.onExit(exit);
    if (this.#sweepAgain) this.#sweepOrphans();
  }
}
