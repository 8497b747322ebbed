/**
 * The starters of programs, seen from the daemon: processes of ours that wait ahead, are sent a client's own message, and
 * tell when its program has been started or why not. Jobs that find none idle queue in order. How many there are is
 * decided in domain/starter-pool.ts.
 *
 * A starter that dies before its job has begun costs nothing but another starter: in a memory file that both have stands
 * the pid of the child it has made for the job, and 0 before there is one.
 */
import { allocate, type Memory } from "../../ffi/memory.ts";
import { startAttemptsMax, starterDemandMs } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import { starterFileSize, starterWordSize } from "../domain/builtins.ts";
import {
  anotherStarterInMs,
  nextAverageMs,
  respawnDelayMs,
  startersKept,
} from "../domain/starter-pool.ts";
import { errorRefused, type Refused, refusalOf } from "../execution/program.ts";
import { retry, SystemError } from "../os/errors.ts";
import type { Fd } from "../os/fd.ts";
import { createMemoryFile } from "../os/memfd.ts";
import { signalNumbers, trySignal } from "../os/signals.ts";
import type { Timer } from "../os/timers.ts";
import type { Message } from "../protocol/messages.ts";
import { ProtocolError } from "../protocol/wire.ts";
import type { Children } from "./children.ts";
import type { Loop } from "./loop.ts";
import { programStarterProcess, spawnProcess } from "./processes.ts";
import { lost, type Start } from "./starters.ts";

/** A job that waits for a starter. */
interface Queued {
  readonly start: Start;
  /** Starters that have died with it before it began. */
  readonly deaths: number;
}

/** A job that a starter has. */
interface Assignment extends Queued {
  readonly sinceMs: number;
}

interface ProgramStarter {
  readonly pid: number;
  readonly socket: Fd;
  readonly word: Fd;
  /** The job it has been given, until it tells how that goes. */
  assignment: Assignment | undefined;
  isHeard: boolean;
  /** We have let it go: its descriptors are closed, and its end means nothing. */
  isRetired: boolean;
}

export class ProgramStarters implements Disposable {
  readonly #loop: Loop;
  readonly #children: Children;
  readonly #processors: number = navigator.hardwareConcurrency;
  readonly #idle: ProgramStarter[] = [];
  /** Those that have a job and have not told how that goes. */
  readonly #working = new Set<ProgramStarter>();
  readonly #queue: Queued[] = [];
  readonly #word: Memory = allocate(starterWordSize);
  #averageMs = 0;
  /** The most that were to be started at once, in the time that runs and the one before. */
  #peak = 0;
  #demand: Timer | undefined;
  /** For what waits: when another starter may be made. */
  #again: Timer | undefined;
  /** Starters that have died since one last did its work, and when the next one may be made. */
  #deaths = 0;
  #spawnFromMs = 0;
  #isClosed = false;

  constructor(loop: Loop, children: Children) {
    this.#loop = loop;
    this.#children = children;
    children.claimWith((pid) => this.#claims(pid));
  }

  /** Lets the first starter wait. */
  open(): void {
    this.#tend();
  }

  /** Has a job's program started; the outcome comes through its callbacks. */
  run(start: Start): void {
    this.#queue.push({ start, deaths: 0 });
    this.#noteDemand();
    this.#assign();
  }

  /** Takes a job back that no starter has. @returns whether there was one. */
  cancel(id: number): boolean {
    const index = this.#queue.findIndex(({ start }) => start.id === id);
    const [queued] = index < 0 ? [] : this.#queue.splice(index, 1);
    queued?.start.onRefused(lost(queued.start.request, "its client has left"));
    return queued !== undefined;
  }

  /** No new jobs: those that wait are refused, and starters end that have none. */
  close(): void {
    this.#isClosed = true;
    this.#demand?.cancel();
    this.#again?.cancel();
    for (const starter of this.#idle.splice(0)) this.#retire(starter);
    this.#refuseQueued(() => stopping);
  }

  /** Does not wait for starters that have a job: it has begun, or is refused. */
  kill(): void {
    for (const { pid } of this.#working) trySignal(this.#loop.sys, pid, signalNumbers.SIGKILL);
  }

  /** Closes everything, also what jobs about to start are waiting for. */
  [Symbol.dispose](): void {
    this.close();
    for (const starter of [...this.#working]) {
      const { assignment } = starter;
      this.#unassign(starter);
      this.#retire(starter);
      assignment?.start.onRefused(lost(assignment.start.request, "the daemon has ended"));
    }
  }

  /** Looks after the jobs that wait, and that a starter waits when none does. */
  #tend(): void {
    this.#assign();
    if (this.#isClosed || this.#idle.length + this.#working.size > 0) return;
    const starter = this.#loop.nowMs() >= this.#spawnFromMs && this.#trySpawn();
    if (starter) this.#idle.push(starter);
    else this.#tendIn(0);
  }

  /** After so many ms, but not before another starter may be made. */
  #tendIn(delayMs: number): void {
    const { nowMs, timers } = this.#loop;
    this.#again?.cancel();
    this.#again = timers.after(Math.max(delayMs, this.#spawnFromMs - nowMs(), 1), () =>
      this.#tend(),
    );
  }

  /** Brings waiting jobs and starters together. */
  #assign(): void {
    for (let queued = this.#queue[0]; queued; queued = this.#queue[0]) {
      const starter = this.#idle.pop() ?? this.#anotherForQueue();
      if (!starter) return;
      this.#handOver(starter, queued);
    }
  }

  /** One more starter for the job that waits; if it is not time yet, or there can be none, it is tried again later. */
  #anotherForQueue(): ProgramStarter | undefined {
    const now = this.#loop.nowMs();
    const agesMs = [...this.#working].map(({ assignment }) => now - (assignment?.sinceMs ?? now));
    const work = { agesMs, averageMs: this.#averageMs, processors: this.#processors };
    const delayMs = Math.max(anotherStarterInMs(work), this.#spawnFromMs - now);
    const starter = delayMs <= 0 ? this.#trySpawn() : undefined;
    if (!starter && this.#queue.length > 0) this.#tendIn(delayMs);
    return starter;
  }

  /** Consumes the first in the queue, or the starter. */
  #handOver(starter: ProgramStarter, queued: Queued): void {
    const { start } = queued;
    try {
      if (start.forward(starter.socket.raw) !== "sent") {
        this.#noteDeath();
        return this.#retire(starter);
      }
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#idle.push(starter); // it has got nothing
      this.#queue.shift();
      return start.onRefused(errorRefused(start.request, error));
    }
    this.#queue.shift();
    starter.assignment = { ...queued, sinceMs: this.#loop.nowMs() };
    this.#working.add(starter);
  }

  /** @returns undefined when there can be none now; jobs are refused if there is nothing they could wait for. */
  #trySpawn(): ProgramStarter | undefined {
    try {
      return this.#spawn();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#loop.log.error(`cannot make a starter: ${error.message}`);
      this.#noteDeath();
      const isAlone = this.#idle.length + this.#working.size === 0;
      if (isAlone) this.#refuseQueued(({ request }) => errorRefused(request, error));
      return undefined;
    }
  }

  #spawn(): ProgramStarter {
    const { sys, poller, log } = this.#loop;
    using owned = new Scope();
    const word = createMemoryFile(sys, "prefork-starter", starterFileSize);
    owned.use(word);
    const { pid, socket } = spawnProcess(sys, programStarterProcess(word.raw));
    const starter: ProgramStarter = {
      pid,
      socket,
      word,
      assignment: undefined,
      isHeard: true,
      isRetired: false,
    };
    owned.move();
    this.#children.watch(pid, {
      onEnding: () => this.#receive(starter), // it may have told before it ended
      onExit: () => this.#ended(starter),
      // Nobody knows for how long it is stopped. What it has not begun starts elsewhere, once it is dead.
      onStopped: () => this.#end(starter),
    });
    try {
      poller.add(socket.raw, () => this.#receive(starter));
    } catch (error) {
      this.#retire(starter);
      throw error;
    }
    log.debug(`the starter ${pid} waits`);
    return starter;
  }

  #end({ pid }: ProgramStarter): void {
    trySignal(this.#loop.sys, pid, signalNumbers.SIGKILL);
  }

  /** Ends it; it has no job. */
  #retire(starter: ProgramStarter): void {
    this.#release(starter);
    this.#end(starter);
  }

  #release(starter: ProgramStarter): void {
    starter.isRetired = true;
    this.#hangUp(starter);
    starter.word[Symbol.dispose]();
  }

  /** Listens to it no more, and gives it no job. */
  #hangUp(starter: ProgramStarter): void {
    if (!starter.isHeard) return;
    starter.isHeard = false;
    const index = this.#idle.indexOf(starter);
    if (index >= 0) this.#idle.splice(index, 1);
    this.#loop.poller.remove(starter.socket.raw);
    starter.socket[Symbol.dispose]();
  }

  #receive(starter: ProgramStarter): void {
    if (!starter.isHeard) return;
    const message = this.#tryReceive(starter);
    if (message === undefined) return;
    const { assignment } = starter;
    const isAnswer = assignment && (message.type === "started" || message.type === "notStarted");
    if (!isAnswer) {
      this.#loop.log.error(`the starter ${starter.pid} says what it should not: ${message.type}`);
      return this.#end(starter);
    }
    this.#deaths = 0;
    this.#averageMs = nextAverageMs(this.#averageMs, this.#loop.nowMs() - assignment.sinceMs);
    this.#unassign(starter);
    const { start } = assignment;
    try {
      // First of all: nobody claims the job's process any more.
      if (message.type === "started") this.#started(start, message.pid);
      else start.onRefused(refusalOf(start.request, message));
    } finally {
      this.#children.lookAgain();
      if (this.#isClosed) this.#retire(starter);
      else this.#idle.push(starter);
      this.#assign();
    }
  }

  /** @returns undefined when it has said nothing, or nothing that can be understood. */
  #tryReceive(starter: ProgramStarter): Message | undefined {
    try {
      const received = this.#loop.receiver.receive(starter.socket.raw, { wait: false });
      if (received === "again") return undefined;
      if (received !== "gone") {
        received[Symbol.dispose]();
        return received.message;
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#loop.log.error(`the starter ${starter.pid} cannot be understood: ${error.message}`);
    }
    // What has become of its job is known when it is dead.
    this.#hangUp(starter);
    this.#end(starter);
    return undefined;
  }

  #started(start: Start, pid: number): void {
    try {
      start.onStarted(pid);
    } finally {
      this.#children.watch(pid, start);
    }
  }

  #unassign(starter: ProgramStarter): void {
    starter.assignment = undefined;
    this.#working.delete(starter);
  }

  /** It is dead, and nobody has asked for that but us when it was stopped. */
  #ended(starter: ProgramStarter): void {
    if (starter.isRetired) return;
    const { assignment, pid } = starter;
    this.#loop.log.warn(`the starter ${pid} has died`);
    this.#noteDeath();
    const child = assignment && this.#childOf(starter);
    this.#unassign(starter);
    this.#release(starter);
    if (assignment) this.#settle(assignment, child);
    this.#tend();
  }

  /** A job whose starter has died; `child` is the process that it had made for the job. */
  #settle({ start, deaths }: Assignment, child: number | undefined): void {
    if (child === undefined || (child === 0 && deaths + 1 >= startAttemptsMax)) {
      start.onRefused(lost(start.request, "the process that was to start it died"));
    } else if (child !== 0) this.#started(start, child);
    else if (this.#isClosed) start.onRefused(stopping);
    else this.#queue.unshift({ start, deaths: deaths + 1 });
  }

  /** The process that a starter has made for its job, 0 before it has; undefined when that cannot be told. */
  #childOf({ word }: ProgramStarter): number | undefined {
    const result = retry(this.#loop.sys.pread, word.raw, this.#word, this.#word.length, 0);
    return result === this.#word.length ? this.#word.view.getInt32(0, true) : undefined;
  }

  /**
   * Whether a child is a job's whose starter has not told of it yet. The word is read first: a starter tells, and then
   * puts 0 there. So where 0 stands, what it has told can be received.
   */
  #claims(pid: number): boolean {
    let isClaimed = false;
    for (const starter of [...this.#working]) {
      const child = this.#childOf(starter);
      this.#receive(starter);
      isClaimed ||= (child === pid || child === undefined) && starter.assignment !== undefined;
    }
    return isClaimed;
  }

  /** The next starter has to wait when too many have died since one last did its work. */
  #noteDeath(): void {
    this.#deaths += 1;
    this.#spawnFromMs = this.#loop.nowMs() + respawnDelayMs(this.#deaths);
  }

  #refuseQueued(why: (start: Start) => Refused): void {
    for (const { start } of this.#queue.splice(0)) start.onRefused(why(start));
  }

  /** Keeps as many idle starters as the demand of the time that has passed asked for. */
  #noteDemand(): void {
    this.#peak = Math.max(this.#peak, this.#working.size + this.#queue.length);
    this.#demand ??= this.#loop.timers.after(starterDemandMs, () => {
      this.#demand = undefined;
      const kept = startersKept(this.#peak, this.#processors);
      for (const starter of this.#idle.splice(0, Math.max(0, this.#idle.length - kept))) {
        this.#retire(starter);
      }
      this.#peak = 0;
      if (this.#working.size > 0 || this.#idle.length > 1) this.#noteDemand();
    });
  }
}

const stopping: Refused = { code: "stopping", errno: 0, reason: "the daemon is stopping" };
