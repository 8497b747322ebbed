/**
 * The warm images of scripts: processes that fork children for them. See docs/architecture.md.
 *
 * An image is started by exec of our own binary and says when it is `prepared`. Asked to `fork`, it answers with
 * a `spare`: a forked child that waits on a socket of its own for its one job. Spares are forked
 * ahead, so that the fork is off the caller's path, and they are the daemon's own children, so that
 * a job does not depend on its image any more. What cannot be had warm is run cold by jobs.ts.
 */

import { errnoText } from "../../ffi/errno-names.ts";
import { imageForkMs, sparesDyingMax, sparesLostMax } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import type { Orders, Prepared } from "../domain/warmth.ts";
import type { ChildExit } from "../os/children.ts";
import { reasonOf, SystemError } from "../os/errors.ts";
import type { Fd } from "../os/fd.ts";
import { processorMs } from "../os/proc.ts";
import { signalName, signalNumbers, trySignal } from "../os/signals.ts";
import type { Timer } from "../os/timers.ts";
import type { Message } from "../protocol/messages.ts";
import { ProtocolError } from "../protocol/wire.ts";
import { sendMessage } from "../transport/channel.ts";
import type { Children } from "./children.ts";
import type { Loop } from "./loop.ts";
import type { Machine } from "./machine.ts";
import { type ProcessBuild, sendOrders, spawnProcess } from "./processes.ts";
import { lost, type Start, type Starter, type Starters } from "./starters.ts";

/** A job for a spare. */
export interface WarmStart extends Start {
  /** The image cannot serve it: start it some other way. Nothing has been started. */
  readonly onUnavailable: () => void;
}

/** `silent`: it has not delivered the forks it was asked for, and gets no jobs until it does. */
type ImageState = "starting" | "ready" | "silent" | "down";

/** A process forked out of an image: it waits for a job, or runs one. */
export interface Fork {
  readonly role: "spare" | "job";
  readonly pid: number;
}

/** An image, for `status`. What its processes take of memory whoever asks reads in /proc. */
export interface ImageStatus {
  readonly state: ImageState;
  readonly pid: number;
  readonly spares: number;
  /** So many it is to have: fewer when nobody has used it for long, or memory is short. */
  readonly sparesKept: number;
  readonly served: number;
  readonly forks: readonly Fork[];
}

/** What an image is, and what its keeper wants to know of it. */
export interface ImageRecipe {
  readonly name: string;
  readonly build: ProcessBuild;
  /** What it is told first. */
  readonly orders?: Orders;
  readonly readyTimeoutMs: number;
  readonly spares: number;
  /** What a script's image has found out. @returns whether it is to be used. */
  readonly onPrepared: (prepared: Prepared) => boolean;
  /** It is gone, and not started again. */
  readonly onGone: (reason: string) => void;
}

export interface ImageParts {
  readonly children: Children;
  readonly starters: Starters;
  readonly machine: Machine;
}

export class Image implements Disposable {
  readonly name: string;
  readonly #recipe: ImageRecipe;
  #lastWord = "it died";
  readonly #loop: Loop;
  readonly #children: Children;
  readonly #starters: Starters;
  readonly #machine: Machine;
  #state: ImageState = "down";
  #pid = 0;
  #socket: Fd | undefined;
  #deadline: Timer | undefined;
  /** How much of a processor it had used when it was asked. */
  #processorMs = 0;
  #refill: Timer | undefined;
  #forksAsked = 0;
  /** Jobs that were handed to a spare and have not been started yet. */
  #starting = 0;
  #isStopping = false;
  #served = 0;
  /** How many are to wait. */
  #sparesKept: number;
  /** Spares that died without a job, since one last had one. */
  #diedUnused = 0;
  readonly #idle: Starter[] = [];
  /** The processes that run a job and are still what the image has made them. */
  readonly #jobs = new Set<number>();
  /** In the order in which they came. */
  readonly #queue: WarmStart[] = [];
  /** The job that a spare was given and has not begun, by the spare's pid. */
  readonly #given = new Map<number, WarmStart>();
  /** How many spares were lost with a job that waits, by its id. */
  readonly #losses = new Map<number, number>();

  constructor(loop: Loop, parts: ImageParts, recipe: ImageRecipe) {
    this.#loop = loop;
    this.#children = parts.children;
    this.#starters = parts.starters;
    this.#machine = parts.machine;
    this.name = recipe.name;
    this.#recipe = recipe;
    this.#sparesKept = recipe.spares;
  }

  get isReady(): boolean {
    return this.#state === "ready";
  }

  get hasJobs(): boolean {
    return this.#jobs.size > 0;
  }

  get status(): ImageStatus {
    const spares = this.#idle.map(({ pid }): Fork => ({ role: "spare", pid }));
    const jobs = [...this.#jobs].map((pid): Fork => ({ role: "job", pid }));
    return {
      state: this.#state,
      pid: this.#pid,
      spares: spares.length,
      sparesKept: this.#sparesKept,
      served: this.#served,
      forks: [...spares, ...jobs],
    };
  }

  /** Starts the process. A failure is logged and tried again later. */
  open(): void {
    try {
      this.#spawn();
    } catch (error) {
      this.#loop.log.error(`cannot start the image ${this.name}: ${reasonOf(error)}`);
      this.#recipe.onGone(reasonOf(error));
    }
  }

  /** Hands a command to a spare; the outcome comes through the callbacks of `start`. */
  run(start: WarmStart): void {
    if (this.#state !== "ready") return start.onUnavailable();
    this.#queue.push(start);
    this.#assign();
  }

  /** From now on so many spares wait. */
  keepSpares(count: number): void {
    if (count === this.#sparesKept) return;
    this.#sparesKept = count;
    this.#assign();
  }

  /** Lets the image and its idle spares go. Running jobs are not touched. */
  close(): void {
    this.#isStopping = true;
    this.#retire();
  }

  /** Closes everything, also what jobs about to start are waiting for. */
  [Symbol.dispose](): void {
    for (const start of this.#queue.splice(0)) {
      start.onRefused(lost(start.request, "the daemon has ended"));
    }
    this.close();
  }

  #spawn(): void {
    const { sys } = this.#loop;
    using owned = new Scope();
    const { build, orders, readyTimeoutMs } = this.#recipe;
    const { pid, socket } = spawnProcess(sys, build);
    owned.use(socket);
    owned.defer(() => trySignal(sys, pid, signalNumbers.SIGKILL));
    this.#children.watch(pid, {
      onExit: (exit) => this.#exited(pid, exit),
      onStopped: (signal) => {
        if (pid === this.#pid) this.#giveUp(`was stopped by ${signalName(signal)}`);
      },
    });
    if (orders) sendOrders(sys, socket.raw, orders);
    this.#loop.poller.add(socket.raw, () => this.#receive());
    owned.defer(() => this.#loop.poller.remove(socket.raw));
    this.#expectAnswer("did not become ready", readyTimeoutMs);
    owned.move();
    this.#pid = pid;
    this.#socket = socket;
    this.#state = "starting";
  }

  #receive(): void {
    if (!this.#socket) return;
    try {
      const received = this.#loop.receiver.receive(this.#socket.raw, { wait: false });
      if (received === "again") return;
      if (received === "gone") return this.#retire(); // its exit, which follows, is logged
      using owned = received;
      this.#handle(owned.message, owned.fds);
    } catch (error) {
      if (!(error instanceof ProtocolError || error instanceof SystemError)) throw error;
      this.#giveUp(error.message); // what waits for it starts some other way
    }
  }

  #handle(message: Message, fds: readonly Fd[]): void {
    switch (message.type) {
      case "prepared": {
        this.#answered();
        // The daemon and its image are the same binary.
        const isUsed = this.#recipe.onPrepared(JSON.parse(message.json) as Prepared);
        if (!isUsed || !this.#socket) return;
        this.#state = "ready";
        this.#loop.log.info(`the image ${this.name} is ready (pid ${this.#pid})`);
        break;
      }
      case "spare": {
        const [socket] = fds;
        if (!socket) return this.#giveUp("sent a spare without its socket");
        this.#forksAsked -= 1;
        if (this.#state === "silent") this.#state = "ready";
        this.#answered();
        this.#adopt(message.pid, socket.move());
        break;
      }
      case "failed":
        return this.#giveUp(message.reason || `cannot fork: ${errnoText(message.errno)}`);
      default:
        return this.#giveUp(`sent a message of type ${message.type}`);
    }
    this.#assign();
  }

  /** Takes in a new spare and consumes its socket. One that has died already is let go. */
  #adopt(pid: number, socket: Fd): void {
    const spare = this.#starters.adopt(pid, socket, {
      onAssigned: () => {
        this.#starting += 1;
      },
      onLost: () => this.#lost(pid),
      onUsed: () => {
        this.#jobs.add(pid);
        this.#served += 1;
        this.#diedUnused = 0;
      },
      onSettled: () => {
        this.#settled(pid);
        this.#starting -= 1;
        this.#assign();
      },
      onUsedUp: () => {
        this.#jobs.delete(pid);
        this.#fill();
      },
      onDiedIdle: (killed) => this.#diedIdle(pid, killed),
    });
    if (spare) this.#idle.push(spare);
  }

  /** A spare is gone with a job it has not begun: another gets it, before all that came later. */
  #lost(pid: number): void {
    const start = this.#given.get(pid);
    if (!start) return;
    const losses = (this.#losses.get(start.id) ?? 0) + 1;
    this.#loop.log.warn(
      `the spare ${pid} of the image ${this.name} is gone without its job ${start.id}`,
    );
    if (this.#isStopping || this.#state === "down" || losses >= sparesLostMax) {
      this.#losses.delete(start.id);
      return start.onUnavailable();
    }
    this.#losses.set(start.id, losses);
    const later = this.#queue.findIndex(({ id }) => id > start.id);
    this.#queue.splice(later < 0 ? this.#queue.length : later, 0, start);
  }

  #settled(pid: number): void {
    const start = this.#given.get(pid);
    this.#given.delete(pid);
    if (start && !this.#queue.includes(start)) this.#losses.delete(start.id);
  }

  #diedIdle(pid: number, killed: boolean): void {
    const index = this.#idle.findIndex((spare) => spare.pid === pid);
    if (index < 0) return; // let go
    this.#idle.splice(index, 1);
    if (this.#isStopping) return;
    this.#loop.log.warn(`the spare ${pid} of the image ${this.name} died while idle`);
    if (!killed) this.#diedUnused += 1; // killed by somebody, it says nothing of the image
    if (this.#diedUnused >= sparesDyingMax) this.#giveUp("forks spares that die");
    else this.#assign();
  }

  /** Brings waiting commands and idle spares together, and asks for as many forks as are missing. */
  #assign(): void {
    for (let start = this.#queue[0]; start; start = this.#queue[0]) {
      const spare = this.#idle.shift();
      if (!spare) break;
      this.#given.set(spare.pid, start);
      if (spare.handOver(start)) this.#queue.shift();
      else this.#given.delete(spare.pid);
    }
    this.#requestForks(this.#queue.length);
    for (const spare of this.#idle.splice(this.#sparesKept)) release(spare);
    // A job that is being started needs the processor more than its successor does.
    if (this.#starting === 0) this.#refillSoon();
  }

  /** Has the spares that are missing forked as soon as the machine has time for it. */
  #refillSoon(): void {
    const missing = this.#sparesKept - this.#idle.length - this.#forksAsked;
    if (missing <= 0 || this.#refill || this.#state !== "ready") return;
    const delayMs = this.#machine.refillDelayMs();
    if (delayMs === 0) return this.#fill();
    this.#loop.log.debug(`the image ${this.name} has a spare forked in ${delayMs} ms`);
    this.#refill = this.#loop.timers.after(delayMs, () => {
      this.#refill = undefined;
      this.#fill();
    });
  }

  #fill(): void {
    this.#requestForks(this.#queue.length + this.#sparesKept);
  }

  /** Asks for forks until `wanted` spares are idle or on their way. */
  #requestForks(wanted: number): void {
    let missing = wanted - this.#idle.length - this.#forksAsked;
    while (missing-- > 0 && this.#requestFork()) {}
  }

  #requestFork(): boolean {
    if (!this.#socket || this.#state !== "ready") return false;
    const { sys } = this.#loop;
    const request = { id: 0, message: { type: "fork" } } as const;
    try {
      const outcome = sendMessage(sys, this.#socket.raw, request, [], { wait: false });
      // A full socket means that enough has been asked for; its answers lead back here.
      if (outcome !== "sent") return false;
      this.#forksAsked += 1;
      if (!this.#deadline) this.#expectFork();
      return true;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#giveUp(`cannot be asked to fork: ${error.message}`);
      return false;
    }
  }

  #expectAnswer(failure: string, timeoutMs: number): void {
    this.#deadline = this.#loop.timers.after(timeoutMs, () => {
      this.#deadline = undefined;
      this.#giveUp(`${failure} within ${timeoutMs} ms`);
    });
  }

  #answered(): void {
    this.#deadline?.cancel();
    this.#deadline = undefined;
    if (this.#forksAsked > 0) this.#expectFork();
  }

  #expectFork(): void {
    const { sys, timers } = this.#loop;
    this.#processorMs = processorMs(sys, this.#pid) ?? 0;
    this.#deadline = timers.after(imageForkMs, () => this.#isLate());
  }

  /** What waits for its forks does so no longer. That it is slow is no reason to end it, but that it computes for nothing. */
  #isLate(): void {
    this.#deadline = undefined;
    const usedMs = (processorMs(this.#loop.sys, this.#pid) ?? 0) - this.#processorMs;
    if (usedMs >= imageForkMs / 2)
      return this.#giveUp(`did not fork within ${usedMs} ms of its own`);
    if (this.#state === "ready")
      this.#loop.log.warn(`the image ${this.name} is slow: jobs run cold`);
    this.#state = "silent";
    for (const start of this.#queue.splice(0)) start.onUnavailable();
    this.#deadline = this.#loop.timers.after(imageForkMs, () => this.#isLate());
  }

  /** The image is of no use any more: end it. Its exit brings the next one. */
  #giveUp(reason: string): void {
    if (!this.#isStopping) this.#loop.log.error(`the image ${this.name} ${reason}: ending it`);
    this.#lastWord = reason;
    this.#retire();
  }

  /** Ends the image and its idle spares: none of them holds anything that could be lost. */
  #retire(): void {
    if (this.#pid > 0) trySignal(this.#loop.sys, this.#pid, signalNumbers.SIGKILL);
    this.#state = "down";
    this.#deadline?.cancel();
    this.#deadline = undefined;
    this.#refill?.cancel();
    this.#refill = undefined;
    this.#losses.clear();
    this.#forksAsked = 0;
    if (this.#socket) {
      this.#loop.poller.remove(this.#socket.raw);
      this.#socket[Symbol.dispose]();
      this.#socket = undefined;
    }
    for (const spare of this.#idle.splice(0)) release(spare);
    for (const start of this.#queue.splice(0)) start.onUnavailable();
  }

  #exited(pid: number, { waitStatus }: ChildExit): void {
    if (pid !== this.#pid) return; // one whose start failed half way
    if (!this.#isStopping) {
      this.#loop.log.error(`the image ${this.name} (pid ${pid}) died (wait status ${waitStatus})`);
    }
    this.#pid = 0;
    this.#diedUnused = 0;
    this.#retire();
    if (this.#isStopping) return;
    this.#recipe.onGone(this.#lastWord);
  }
}

/** Ends a spare that has no job. */
function release(spare: Starter): void {
  spare.kill();
  spare.hangUp();
}
