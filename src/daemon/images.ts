/**
 * The warm images: processes that fork children for commands. See docs/architecture.md.
 *
 * An image is started by exec of our own binary and says `ready`. Asked to `fork`, it answers with
 * a `spare`: a forked child that waits on a socket of its own for its one job. Spares are forked
 * ahead, so that the fork is off the caller's path, and they are the daemon's own children, so that
 * a job does not depend on its image any more. What cannot be had warm is run cold by jobs.ts.
 */

import {
  imageBackoffMs,
  imageBackoffMsMax,
  imageTimeoutMs,
  refillDelayMs,
  sparesDefault,
  sparesDyingMax,
} from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import { fromLatin1, stringList } from "../base/strings.ts";
import { imageName, imageSocketNumber } from "../domain/builtins.ts";
import type { ChildExit } from "../os/children.ts";
import { reasonOf, SystemError } from "../os/errors.ts";
import { type Fd, type RawFd, standard } from "../os/fd.ts";
import { openNull } from "../os/files.ts";
import { oneThreadEnvironment } from "../os/one-thread.ts";
import { ownEnvironment, ownExecutable } from "../os/process.ts";
import { signalNumbers, trySignal } from "../os/signals.ts";
import { socketPair } from "../os/socket.ts";
import { trySpawn } from "../os/spawn.ts";
import type { Timer } from "../os/timers.ts";
import type { Message, RunRequest } from "../protocol/messages.ts";
import { ProtocolError } from "../protocol/wire.ts";
import { sendMessage } from "../transport/channel.ts";
import type { Children } from "./children.ts";
import type { Loop } from "./loop.ts";

/** A command to be run in a spare, and who wants to know how that goes. */
export interface WarmStart {
  readonly id: number;
  readonly request: RunRequest;
  /** On loan until one of the outcomes. */
  readonly fds: readonly RawFd[];
  readonly onStarted: (pid: number) => void;
  /** The spare said why it could not, or died before it could: then `errno` is 0. */
  readonly onFailed: (outcome: "failed" | "lost", errno: number, reason: string) => void;
  readonly onExit: (exit: ChildExit) => void;
  /** The image cannot serve it: run it some other way. Nothing has been started. */
  readonly onUnavailable: () => void;
}

interface Spare {
  readonly pid: number;
  /** Until it has said `started`, or is given up. */
  socket: Fd | undefined;
  start: WarmStart | undefined;
  /** By then one that was given a job must have said `started`. */
  deadline: Timer | undefined;
  isStarted: boolean;
}

type ImageState = "starting" | "ready" | "down";

export class Image implements Disposable {
  readonly name: string;
  readonly #loop: Loop;
  readonly #children: Children;
  #state: ImageState = "down";
  #pid = 0;
  #socket: Fd | undefined;
  #deadline: Timer | undefined;
  #backoffMs = imageBackoffMs;
  #restart: Timer | undefined;
  #refill: Timer | undefined;
  #forksAsked = 0;
  #isStopping = false;
  #served = 0;
  /** Spares that died without a job, since one last had one. */
  #diedUnused = 0;
  readonly #idle: Spare[] = [];
  /** Those that have been given a job and have not said `started` yet. */
  readonly #assigned = new Set<Spare>();
  readonly #queue: WarmStart[] = [];

  constructor(loop: Loop, children: Children, name: string) {
    this.#loop = loop;
    this.#children = children;
    this.name = name;
  }

  get status(): { state: ImageState; pid: number; spares: number; served: number } {
    return { state: this.#state, pid: this.#pid, spares: this.#idle.length, served: this.#served };
  }

  /** Starts the process. A failure is logged and tried again later. */
  open(): void {
    try {
      this.#spawn();
    } catch (error) {
      this.#loop.log.error(`cannot start the image ${this.name}: ${reasonOf(error)}`);
      this.#scheduleRestart();
    }
  }

  /** Hands a command to a spare; the outcome comes through the callbacks of `start`. */
  run(start: WarmStart): void {
    if (this.#state !== "ready") return start.onUnavailable();
    this.#queue.push(start);
    this.#assign();
  }

  /** Lets the image and its idle spares go. Running jobs are not touched. */
  close(): void {
    this.#isStopping = true;
    this.#restart?.cancel();
    this.#retire();
  }

  /** Does not wait for spares that have been given a job and have not started it. */
  killAssigned(): void {
    for (const { pid } of this.#assigned) trySignal(this.#loop.sys, pid, signalNumbers.SIGKILL);
  }

  /** Closes everything, also what jobs about to start are waiting for. */
  [Symbol.dispose](): void {
    const ending = "the daemon has ended";
    for (const start of this.#queue.splice(0)) start.onFailed("lost", 0, ending);
    this.close();
    for (const spare of [...this.#assigned]) {
      this.#hangUp(spare);
      this.#failed(spare, "lost", 0, ending);
    }
  }

  #spawn(): void {
    const { sys } = this.#loop;
    using owned = new Scope();
    const pair = socketPair(sys);
    owned.use(pair.ours);
    owned.use(pair.theirs);
    const nothing = owned.use(openNull(sys));
    const pid = trySpawn(sys, {
      path: ownExecutable,
      argv: stringList(fromLatin1(`${imageName}\0${this.name}\0`)),
      env: oneThreadEnvironment(ownEnvironment(sys)),
      descriptors: new Map([
        [0, nothing.raw],
        [1, nothing.raw],
        [2, standard.error],
        [imageSocketNumber, pair.theirs.raw],
      ]),
    });
    if (pid < 0) throw new SystemError("posix_spawn", -pid, ownExecutable);
    owned.defer(() => trySignal(sys, pid, signalNumbers.SIGKILL));
    this.#children.watch(pid, (exit) => this.#exited(pid, exit));
    this.#loop.poller.add(pair.ours.raw, () => this.#receive());
    owned.defer(() => this.#loop.poller.remove(pair.ours.raw));
    this.#expectAnswer("did not become ready");
    owned.move();
    pair.theirs[Symbol.dispose]();
    nothing[Symbol.dispose]();
    this.#pid = pid;
    this.#socket = pair.ours;
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
      if (!(error instanceof ProtocolError)) throw error;
      this.#giveUp(error.message);
    }
  }

  #handle(message: Message, fds: readonly Fd[]): void {
    switch (message.type) {
      case "ready":
        this.#answered();
        this.#state = "ready";
        this.#loop.log.info(`the image ${this.name} is ready (pid ${this.#pid})`);
        break;
      case "spare": {
        const [socket] = fds;
        if (!socket) return this.#giveUp("sent a spare without its socket");
        this.#forksAsked -= 1;
        this.#answered();
        this.#adopt(message.pid, socket.move());
        break;
      }
      case "failed":
        return this.#giveUp(message.reason);
      default:
        return this.#giveUp(`sent a message of type ${message.type}`);
    }
    this.#assign();
  }

  /** Takes in a new spare and consumes its socket. One that has died already is let go. */
  #adopt(pid: number, socket: Fd): void {
    using owned = new Scope();
    const spare: Spare = { pid, socket, start: undefined, deadline: undefined, isStarted: false };
    owned.defer(() => this.#hangUp(spare));
    if (!this.#children.watch(pid, (exit) => this.#spareExited(spare, exit))) return;
    this.#loop.poller.add(socket.raw, () => this.#receiveFrom(spare));
    owned.move();
    this.#idle.push(spare);
  }

  /** Brings waiting commands and idle spares together, and asks for as many forks as are missing. */
  #assign(): void {
    for (let start = this.#queue[0]; start; start = this.#queue[0]) {
      const spare = this.#idle.shift();
      if (!spare) break;
      if (this.#handOver(start, spare)) this.#queue.shift();
    }
    this.#requestForks(this.#queue.length);
    if (this.#idle.length >= sparesDefault) return;
    // The job just handed over needs the processor more than its successor does.
    this.#refill ??= this.#loop.timers.after(refillDelayMs, () => {
      this.#refill = undefined;
      this.#requestForks(this.#queue.length + sparesDefault);
    });
  }

  /** @returns whether `start` is settled; else `spare` has just died, as its pidfd will tell. */
  #handOver(start: WarmStart, spare: Spare): boolean {
    const { sys } = this.#loop;
    const run = { id: start.id, message: start.request };
    try {
      if (!spare.socket) return false;
      if (sendMessage(sys, spare.socket.raw, run, start.fds, { wait: false }) !== "sent") {
        this.#hangUp(spare);
        return false;
      }
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#idle.push(spare);
      start.onFailed("failed", error.errno, error.message);
      return true;
    }
    spare.start = start;
    spare.deadline = this.#loop.timers.after(imageTimeoutMs, () => {
      this.#loop.log.error(`the spare ${spare.pid} has not started its job: killing it`);
      trySignal(sys, spare.pid, signalNumbers.SIGKILL);
    });
    this.#assigned.add(spare);
    return true;
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
      if (!this.#deadline) this.#expectAnswer("did not fork");
      return true;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#giveUp(`cannot be asked to fork: ${error.message}`);
      return false;
    }
  }

  #receiveFrom(spare: Spare): void {
    if (!spare.socket) return;
    try {
      const received = this.#loop.receiver.receive(spare.socket.raw, { wait: false });
      if (received === "again") return;
      // It has ended or is about to; how, its pidfd will tell.
      if (received === "gone") return this.#hangUp(spare);
      using owned = received;
      const { message } = owned;
      if (message.type === "started") this.#started(spare);
      if (message.type === "failed") this.#failed(spare, "failed", message.errno, message.reason);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#loop.log.error(`the spare ${spare.pid} cannot be understood: ${error.message}`);
      trySignal(this.#loop.sys, spare.pid, signalNumbers.SIGKILL);
    }
  }

  /** What a spare said before it ended may still wait in its socket. */
  #receiveLastWord(spare: Spare): void {
    try {
      this.#receiveFrom(spare);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#loop.log.error(`the last word of the spare ${spare.pid} is lost: ${error.message}`);
    }
  }

  #started(spare: Spare): void {
    this.#settled(spare);
    spare.isStarted = true;
    this.#served += 1;
    this.#diedUnused = 0;
    this.#backoffMs = imageBackoffMs;
    this.#hangUp(spare);
    spare.start?.onStarted(spare.pid);
  }

  #settled(spare: Spare): void {
    spare.deadline?.cancel();
    this.#assigned.delete(spare);
  }

  #hangUp(spare: Spare): void {
    if (!spare.socket) return;
    this.#loop.poller.remove(spare.socket.raw);
    spare.socket[Symbol.dispose]();
    spare.socket = undefined;
  }

  #failed(spare: Spare, outcome: "failed" | "lost", errno: number, reason: string): void {
    const { start } = spare;
    this.#settled(spare);
    spare.start = undefined;
    start?.onFailed(outcome, errno, reason);
  }

  #spareExited(spare: Spare, exit: ChildExit): void {
    if (!spare.isStarted && spare.start) this.#receiveLastWord(spare);
    if (spare.isStarted) {
      spare.start?.onExit(exit);
      this.#requestForks(this.#queue.length + sparesDefault);
      return;
    }
    this.#hangUp(spare);
    const index = this.#idle.indexOf(spare);
    if (index >= 0) {
      this.#idle.splice(index, 1);
      if (!this.#isStopping) {
        this.#loop.log.warn(`the spare ${spare.pid} of the image ${this.name} died while idle`);
        this.#diedUnused += 1;
        if (this.#diedUnused >= sparesDyingMax) this.#giveUp("forks spares that die");
        else this.#assign();
      }
    }
    this.#failed(spare, "lost", 0, `the process ${spare.pid} that was to run it died`);
  }

  #expectAnswer(failure: string): void {
    this.#deadline = this.#loop.timers.after(imageTimeoutMs, () => {
      this.#deadline = undefined;
      this.#giveUp(`${failure} within ${imageTimeoutMs} ms`);
    });
  }

  #answered(): void {
    this.#deadline?.cancel();
    this.#deadline = undefined;
    if (this.#forksAsked > 0) this.#expectAnswer("did not fork");
  }

  /** The image is of no use any more: end it. Its exit brings the next one. */
  #giveUp(reason: string): void {
    if (!this.#isStopping) this.#loop.log.error(`the image ${this.name} ${reason}: ending it`);
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
    this.#forksAsked = 0;
    if (this.#socket) {
      this.#loop.poller.remove(this.#socket.raw);
      this.#socket[Symbol.dispose]();
      this.#socket = undefined;
    }
    for (const spare of this.#idle.splice(0)) {
      trySignal(this.#loop.sys, spare.pid, signalNumbers.SIGKILL);
      this.#hangUp(spare);
    }
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
    if (!this.#isStopping) this.#scheduleRestart();
  }

  #scheduleRestart(): void {
    const delayMs = this.#backoffMs;
    this.#backoffMs = Math.min(delayMs * 2, imageBackoffMsMax);
    this.#loop.log.info(`starting the image ${this.name} again in ${delayMs} ms`);
    this.#restart?.cancel();
    this.#restart = this.#loop.timers.after(delayMs, () => this.open());
  }
}
