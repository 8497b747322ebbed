/**
 * Processes of ours that wait ahead, are sent a client's own message, make a child of ours that becomes the job, and tell
 * when that has begun or why not: the starters of programs, and the images of built-in commands, which lend the job their
 * memory. Jobs that find none idle queue in order. How many there are is decided in domain/starter-pool.ts.
 *
 * A starter that dies before its job has begun costs nothing but another starter: in a memory file that both have stands
 * the pid of the child it has made for the job, and 0 before there is one.
 */
import { allocate, type Memory } from "../../ffi/memory.ts";
import { imageTimeoutMs, startAttemptsMax, starterDemandMs } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import { starterFileSize, starterWordSize } from "../domain/builtins.ts";
import {
  anotherStarterInMs,
  nextAverageMs,
  type PoolPolicy,
  patienceMs,
  respawnDelayMs,
  startersKept,
} from "../domain/starter-pool.ts";
import { errorRefused, type Refused, refusalOf } from "../execution/program.ts";
import { check, retry, SystemError } from "../os/errors.ts";
import type { Fd, RawFd } from "../os/fd.ts";
import { createMemoryFile } from "../os/memfd.ts";
import { processorMs } from "../os/proc.ts";
import { signalNumbers, trySignal } from "../os/signals.ts";
import type { Timer } from "../os/timers.ts";
import type { Message } from "../protocol/messages.ts";
import { ProtocolError } from "../protocol/wire.ts";
import type { ChildEvents, Children } from "./children.ts";
import type { Loop } from "./loop.ts";
import { type ProcessBuild, spawnProcess } from "./processes.ts";
import { lost, type Start } from "./starters.ts";

/** What the starters of a pool are. */
export interface StarterKind {
  /** In the log. */
  readonly name: string;
  /** Given the memory file that it shares with us. */
  readonly build: (word: RawFd) => ProcessBuild;
  readonly policy: PoolPolicy;
  /** It says when it is ready for its first job, and lends each job its memory: it is at work until the job has ended. */
  readonly isLender: boolean;
}

/** What `status` tells of a pool's processes. */
export interface PoolStatus {
  readonly state: "starting" | "ready" | "down";
  /** The first of them; 0: there is none. */
  readonly pid: number;
  /** How many wait for a job. */
  readonly spares: number;
  readonly served: number;
  /** All but the first. */
  readonly forks: readonly { readonly role: "spare"; readonly pid: number }[];
}

/** That of a pool which there is not. */
export const noProcesses: PoolStatus = { state: "down", pid: 0, spares: 0, served: 0, forks: [] };

/** A job that waits for a starter. */
interface Queued {
  readonly start: Start;
  /** Starters that have died with it before it began. */
  readonly deaths: number;
}

interface Starter {
  readonly pid: number;
  readonly socket: Fd;
  readonly word: Fd;
  /** The job it has been given, until it tells how that goes. */
  assignment: Queued | undefined;
  /** A job has its memory. */
  hasLent: boolean;
  /** When it was given its job, or was made. */
  sinceMs: number;
  /** How much of a processor it had used when it was last asked, as long as it is being made. */
  processorMs: number;
  /** It can do what it is for. */
  isReady: boolean;
  isHeard: boolean;
  /** We have let it go: its descriptors are closed, and its end means nothing. */
  isRetired: boolean;
}

export class StarterPool implements Disposable {
  readonly #loop: Loop;
  readonly #children: Children;
  readonly #kind: StarterKind;
  readonly #idle: Starter[] = [];
  /** All others: those that are being made, that have a job and have not told how that goes, or that have lent it their memory. */
  readonly #working = new Set<Starter>();
  readonly #queue: Queued[] = [];
  readonly #word: Memory = allocate(starterWordSize);
  #averageMs = 0;
  #served = 0;
  /** The most that were to be started at once, in the time that runs and the one before. */
  #peak = 0;
  #demand: Timer | undefined;
  /** For what waits: when another starter may be made. */
  #again: Timer | undefined;
  /** Starters that have died since one last did its work, and when the next one may be made. */
  #deaths = 0;
  #spawnFromMs = 0;
  #isClosed = false;

  constructor(loop: Loop, children: Children, kind: StarterKind) {
    this.#loop = loop;
    this.#children = children;
    this.#kind = kind;
    children.claimWith((pid) => this.#claims(pid));
  }

  get status(): PoolStatus {
    const all = [...this.#idle, ...this.#working];
    const [first, ...others] = all;
    const isReady = all.some(({ isReady }) => isReady);
    return {
      state: isReady ? "ready" : first ? "starting" : "down",
      pid: first?.pid ?? 0,
      spares: this.#idle.length,
      served: this.#served,
      forks: others.map(({ pid }) => ({ role: "spare", pid })),
    };
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
    for (const starter of [...this.#idle, ...this.#working]) {
      if (!starter.assignment && !starter.hasLent) this.#retire(starter);
    }
    for (const { start } of this.#queue.splice(0)) start.onRefused(stopping);
  }

  /** Does not wait for starters that have a job: it has begun, or is refused. */
  kill(): void {
    for (const starter of this.#working) this.#end(starter);
  }

  /** Closes everything, also what jobs about to start are waiting for. */
  [Symbol.dispose](): void {
    this.close();
    for (const starter of [...this.#working]) {
      const { assignment } = starter;
      starter.assignment = undefined;
      this.#retire(starter);
      assignment?.start.onRefused(lost(assignment.start.request, "the daemon has ended"));
    }
  }

  get #count(): number {
    return this.#idle.length + this.#working.size;
  }

  /** Looks after the jobs that wait, and that a starter waits when none does. */
  #tend(): void {
    this.#assign();
    if (this.#isClosed || this.#count > 0) return;
    if (this.#loop.nowMs() >= this.#spawnFromMs) this.#trySpawn();
    if (this.#count === 0) this.#tendIn(0);
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
      if (this.#idle.length === 0) this.#anotherForQueue();
      if (this.#queue[0] !== queued) continue; // there could be none, and all were given up
      const starter = this.#idle.pop();
      if (starter) this.#handOver(starter, queued);
      else if (this.#canWait || !queued.start.onUnavailable) return;
      else {
        this.#queue.shift();
        queued.start.onUnavailable();
      }
    }
  }

  /** Whether a starter will be there for a job that waits: one is being made, or has been at work for no longer than usual. */
  get #canWait(): boolean {
    const patience = patienceMs(this.#averageMs, this.#kind.policy);
    return [...this.#working].some((one) => !one.isReady || this.#ageMs(one) < patience);
  }

  #ageMs({ sinceMs }: Starter): number {
    return this.#loop.nowMs() - sinceMs;
  }

  /** One more starter for the job that waits; if it is not time yet, or there can be none, it is tried again later. */
  #anotherForQueue(): void {
    const { policy } = this.#kind;
    const now = this.#loop.nowMs();
    // One that is being made is waited for: it needs what another would take.
    const agesMs = [...this.#working].map((one) => (one.isReady ? this.#ageMs(one) : 0));
    const inMs = anotherStarterInMs({ agesMs, averageMs: this.#averageMs }, policy);
    const delayMs = Math.max(inMs, this.#spawnFromMs - now);
    const isRoom = this.#count < policy.countMax;
    if (delayMs <= 0 && isRoom) this.#trySpawn();
    if (this.#idle.length === 0 && this.#queue.length > 0) this.#tendIn(delayMs);
  }

  /** Consumes the first in the queue, or the starter. */
  #handOver(starter: Starter, queued: Queued): void {
    const { start } = queued;
    try {
      this.#forgetChild(starter);
      if (start.forward(starter.socket.raw) !== "sent") {
        this.#noteDeath(starter);
        return this.#retire(starter);
      }
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#idle.push(starter); // it has got nothing
      this.#queue.shift();
      return start.onRefused(errorRefused(start.request, error));
    }
    this.#queue.shift();
    starter.assignment = queued;
    starter.sinceMs = this.#loop.nowMs();
    this.#working.add(starter);
  }

  /** Makes one, if there can be one now; jobs are refused if there is nothing they could wait for. */
  #trySpawn(): void {
    try {
      const starter = this.#spawn();
      this.#working.add(starter);
      if (this.#kind.isLender) return this.#watchProgress(starter);
      this.#loop.log.debug(`the ${this.#kind.name} ${starter.pid} waits`);
      this.#settle(starter);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#loop.log.error(`cannot make the ${this.#kind.name}: ${error.message}`);
      this.#delayNext();
      if (this.#count > 0) return;
      for (const { start } of this.#queue.splice(0))
        giveUp(start, errorRefused(start.request, error));
    }
  }

  /** One that has used up its time before it is ready, or used nothing of it, never will be. */
  #watchProgress(starter: Starter): void {
    const { sys, timers, log } = this.#loop;
    timers.after(imageTimeoutMs, () => {
      if (starter.isReady || starter.isRetired) return;
      const usedMs = processorMs(sys, starter.pid) ?? 0;
      if (usedMs < imageTimeoutMs && usedMs > starter.processorMs) {
        starter.processorMs = usedMs;
        return this.#watchProgress(starter);
      }
      log.error(`the ${this.#kind.name} ${starter.pid} did not become ready: ending it`);
      this.#end(starter);
    });
  }

  /** It is idle from here on. */
  #settle(starter: Starter): void {
    this.#working.delete(starter);
    starter.isReady = true;
    starter.hasLent = false;
    if (starter.isRetired) return;
    if (this.#isClosed) this.#retire(starter);
    else if (starter.isHeard) this.#idle.push(starter);
  }

  #spawn(): Starter {
    const { sys, poller } = this.#loop;
    using owned = new Scope();
    const word = createMemoryFile(sys, "prefork-starter", starterFileSize);
    owned.use(word);
    const { pid, socket } = spawnProcess(sys, this.#kind.build(word.raw));
    const starter: Starter = {
      pid,
      socket,
      word,
      assignment: undefined,
      hasLent: false,
      sinceMs: this.#loop.nowMs(),
      processorMs: 0,
      isReady: false,
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
    return starter;
  }

  #end({ pid }: Starter): void {
    trySignal(this.#loop.sys, pid, signalNumbers.SIGKILL);
  }

  /** Ends it; it has no job. */
  #retire(starter: Starter): void {
    this.#release(starter);
    this.#end(starter);
  }

  #release(starter: Starter): void {
    starter.isRetired = true;
    this.#working.delete(starter);
    this.#hangUp(starter);
    starter.word[Symbol.dispose]();
  }

  /** Listens to it no more, and gives it no job. */
  #hangUp(starter: Starter): void {
    if (!starter.isHeard) return;
    starter.isHeard = false;
    const index = this.#idle.indexOf(starter);
    if (index >= 0) this.#idle.splice(index, 1);
    this.#loop.poller.remove(starter.socket.raw);
    starter.socket[Symbol.dispose]();
  }

  #receive(starter: Starter): void {
    if (!starter.isHeard) return;
    const message = this.#tryReceive(starter);
    if (message === undefined) return;
    const { assignment, pid } = starter;
    const { log, nowMs } = this.#loop;
    const { name, isLender, policy } = this.#kind;
    if (message.type === "ready" && isLender && !starter.isReady) {
      log.info(`the ${name} is ready (pid ${pid})`);
      this.#settle(starter);
      return this.#assign();
    }
    const isAnswer = assignment && (message.type === "started" || message.type === "notStarted");
    if (!isAnswer) {
      log.error(`the ${name} ${pid} says what it should not: ${message.type}`);
      return this.#end(starter);
    }
    this.#deaths = 0;
    this.#averageMs = nextAverageMs(this.#averageMs, nowMs() - starter.sinceMs, policy);
    starter.assignment = undefined;
    const { start } = assignment;
    try {
      // First of all: nobody claims the job's process any more.
      if (message.type === "started") this.#started(starter, start, message.pid);
      else start.onRefused(refusalOf(start.request, message));
    } finally {
      this.#children.lookAgain();
      if (message.type === "notStarted" || !isLender) this.#settle(starter);
      this.#assign();
    }
  }

  /** @returns undefined when it has said nothing, or nothing that can be understood. */
  #tryReceive(starter: Starter): Message | undefined {
    try {
      const received = this.#loop.receiver.receive(starter.socket.raw, { wait: false });
      if (received === "again") return undefined;
      if (received !== "gone") {
        received[Symbol.dispose]();
        return received.message;
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      const { name } = this.#kind;
      this.#loop.log.error(`the ${name} ${starter.pid} cannot be understood: ${error.message}`);
    }
    // What has become of its job is known when it is dead.
    this.#hangUp(starter);
    this.#end(starter);
    return undefined;
  }

  #started(starter: Starter, start: Start, pid: number): void {
    this.#served += 1;
    starter.hasLent = this.#kind.isLender;
    try {
      start.onStarted(pid);
    } finally {
      this.#children.watch(pid, starter.hasLent ? this.#untilReturned(starter, start) : start);
    }
  }

  /** A job's life, at the end of which its starter has its memory back. */
  #untilReturned(starter: Starter, start: Start): ChildEvents {
    return {
      ...start,
      onExit: (exit) => {
        start.onExit(exit);
        if (!this.#working.has(starter)) return; // it has died
        this.#settle(starter);
        this.#assign();
      },
    };
  }

  /** It is dead, and nobody has asked for that but us when it was stopped. */
  #ended(starter: Starter): void {
    if (starter.isRetired) return;
    const { assignment } = starter;
    this.#noteDeath(starter);
    const child = assignment && this.#childOf(starter);
    starter.assignment = undefined;
    this.#release(starter);
    if (assignment) this.#passOn(starter, assignment, child);
    this.#tend();
  }

  /** A job whose starter has died; `child` is the process that it had made for the job. */
  #passOn(starter: Starter, { start, deaths }: Queued, child: number | undefined): void {
    const refused = lost(start.request, "the process that was to start it died");
    if (child === undefined) start.onRefused(refused);
    else if (child !== 0) this.#started(starter, start, child);
    else if (this.#isClosed) start.onRefused(stopping);
    else if (deaths + 1 >= startAttemptsMax) giveUp(start, refused);
    else this.#queue.unshift({ start, deaths: deaths + 1 });
  }

  /** The process that a starter has made for its job, 0 before it has; undefined when that cannot be told. */
  #childOf({ word }: Starter): number | undefined {
    const result = retry(this.#loop.sys.pread, word.raw, this.#word, this.#word.length, 0);
    return result === this.#word.length ? this.#word.view.getInt32(0, true) : undefined;
  }

  /** Its next job has no process yet, whatever became of the last one's. @throws SystemError */
  #forgetChild({ word }: Starter): void {
    this.#word.view.setInt32(0, 0, true);
    check(retry(this.#loop.sys.pwrite, word.raw, this.#word, this.#word.length, 0), "pwrite");
  }

  /** Whether a child is a job's whose starter has not told of it yet. */
  #claims(pid: number): boolean {
    let isClaimed = false;
    for (const starter of [...this.#working]) {
      const child = this.#childOf(starter);
      this.#receive(starter);
      isClaimed ||= (child === pid || child === undefined) && starter.assignment !== undefined;
    }
    return isClaimed;
  }

  #noteDeath({ pid }: Starter): void {
    this.#loop.log.warn(`the ${this.#kind.name} ${pid} has died`);
    this.#delayNext();
  }

  /** The next starter has to wait when too many have failed since one last did its work. */
  #delayNext(): void {
    this.#deaths += 1;
    this.#spawnFromMs = this.#loop.nowMs() + respawnDelayMs(this.#deaths);
  }

  /** Keeps as many idle starters as the demand of the time that has passed asked for. */
  #noteDemand(): void {
    this.#peak = Math.max(this.#peak, this.#working.size + this.#queue.length);
    this.#demand ??= this.#loop.timers.after(starterDemandMs, () => {
      this.#demand = undefined;
      const kept = startersKept(this.#peak, this.#kind.policy);
      for (const starter of this.#idle.splice(0, Math.max(0, this.#idle.length - kept))) {
        this.#retire(starter);
      }
      this.#peak = 0;
      if (this.#working.size > 0 || this.#idle.length > 1) this.#noteDemand();
    });
  }
}

/** What has surely not begun, and cannot here: it starts elsewhere if it can, or is refused. */
function giveUp(start: Start, refused: Refused): void {
  if (start.onUnavailable) start.onUnavailable();
  else start.onRefused(refused);
}

const stopping: Refused = { code: "stopping", errno: 0, reason: "the daemon is stopping" };
