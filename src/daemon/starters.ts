/**
 * Processes of ours that are given one command or script and become it: forked out of an image, or started for the
 * occasion. Each is a child of ours with a socket of its own. Programs are started by others, see starter-pool.ts.
 */
import { Scope } from "../base/scope.ts";
import { parseWaitStatus } from "../base/wait-status.ts";
import type { Orders } from "../domain/warmth.ts";
import {
  commandName,
  errorRefused,
  type Refused,
  refusalOf,
  type StartFailure,
} from "../execution/program.ts";
import { SystemError } from "../os/errors.ts";
import type { Fd, RawFd } from "../os/fd.ts";
import { signalName, signalNumbers, trySignal } from "../os/signals.ts";
import type { RunRequest } from "../protocol/messages.ts";
import { ProtocolError } from "../protocol/wire.ts";
import type { Outcome } from "../transport/channel.ts";
import type { ChildEvents, Children } from "./children.ts";
import type { Loop } from "./loop.ts";
import { commandProcess, type ProcessBuild, sendOrders, spawnProcess } from "./processes.ts";

/** A job to be started, and who wants to know how that goes. */
export interface Start extends ChildEvents {
  readonly id: number;
  readonly request: RunRequest;
  /** On loan until one of the outcomes. */
  readonly fds: readonly RawFd[];
  /** Sends the client's own message to who is to start it, with its descriptors. @throws SystemError */
  readonly forward: (socket: RawFd) => Outcome;
  readonly onStarted: (pid: number) => void;
  /** It cannot be started; code "lost": the starter died before it could. */
  readonly onRefused: (refused: Refused) => void;
  /** It must not run in that process, but can in another: nothing has been done. */
  readonly onUnfit?: (reason: string) => void;
  /** It cannot be started there, but elsewhere: nothing has been done. */
  readonly onUnavailable?: () => void;
  /** What it names is no script: it is to be started as a program, by these words and those behind the first of the request. */
  readonly onProgram?: (words: readonly string[]) => void;
  /** What it has loaded, at its end; see domain/warmth.ts. */
  readonly onRecorded?: (json: string) => void;
}

/** What becomes of a starter, for who keeps it. */
export interface StarterEvents {
  /** It has been given its job. */
  readonly onAssigned?: () => void;
  /** It has started its job. */
  readonly onUsed?: () => void;
  /** It has started the job it was given, or will not do so any more. */
  readonly onSettled?: () => void;
  /** The job it has started has ended. */
  readonly onUsedUp?: () => void;
  /** It died before it was given a job; `killed`: by somebody's SIGKILL. */
  readonly onDiedIdle?: (killed: boolean) => void;
  /**
   * It has died, or was stopped and is killed, with a job that it has not begun: that is to be started
   * elsewhere. Where this is left out, the job is lost, and who was stopped is waited for.
   */
  readonly onLost?: () => void;
}

/** All of the daemon's starters. */
export class Starters implements Disposable {
  readonly #loop: Loop;
  readonly #children: Children;
  /** Those that have been given a job and have not said yet how that goes. */
  readonly #assigned = new Set<Starter>();
  /** Those whose sockets are open: one that records is listened to until its job ends. */
  readonly #open = new Set<Starter>();

  constructor(loop: Loop, children: Children) {
    this.#loop = loop;
    this.#children = children;
  }

  /**
   * Takes in a child that waits for its job at the other end of `socket`, which is consumed.
   * @returns undefined when it has died already.
   */
  adopt(pid: number, socket: Fd, events: StarterEvents): Starter | undefined {
    using owned = new Scope();
    owned.use(socket);
    const parts = { pid, socket, events, assigned: this.#assigned, open: this.#open };
    const starter = new Starter(this.#loop, parts);
    this.#loop.poller.add(socket.raw, () => starter.receive());
    owned.defer(() => this.#loop.poller.remove(socket.raw));
    // Last: from here on its end is told to the starter, whose socket must not have been closed.
    if (!this.#children.tryWatch(pid, starter.childEvents)) return undefined;
    owned.move();
    this.#open.add(starter);
    return starter;
  }

  /** Starts a fresh process for one job, to be told first what it is. @throws SystemError */
  spawn(build: ProcessBuild = commandProcess, orders?: Orders): Starter | undefined {
    const { sys } = this.#loop;
    const { pid, socket } = spawnProcess(sys, build);
    using owned = new Scope();
    owned.use(socket);
    owned.defer(() => trySignal(sys, pid, signalNumbers.SIGKILL));
    if (orders) sendOrders(sys, socket.raw, orders);
    const starter = this.adopt(pid, socket.move(), {});
    owned.move();
    return starter;
  }

  /** Does not wait for those that have been given a job and have not started it. */
  killAssigned(): void {
    for (const starter of this.#assigned) starter.kill();
  }

  /** Closes everything, also what jobs about to start are waiting for. */
  [Symbol.dispose](): void {
    for (const starter of [...this.#assigned]) starter.abandon("the daemon has ended");
    for (const starter of [...this.#open]) starter.hangUp();
  }
}

interface StarterParts {
  readonly pid: number;
  readonly socket: Fd;
  readonly events: StarterEvents;
  readonly assigned: Set<Starter>;
  readonly open: Set<Starter>;
}

type StarterState = "idle" | "assigned" | "started" | "over";

export class Starter {
  readonly pid: number;
  readonly #loop: Loop;
  readonly #events: StarterEvents;
  readonly #assigned: Set<Starter>;
  readonly #open: Set<Starter>;
  #state: StarterState = "idle";
  /** Until it has started its job, or is given up. */
  #socket: Fd | undefined;
  #start: Start | undefined;

  constructor(loop: Loop, parts: StarterParts) {
    this.#loop = loop;
    this.pid = parts.pid;
    this.#socket = parts.socket;
    this.#events = parts.events;
    this.#assigned = parts.assigned;
    this.#open = parts.open;
  }

  /** Its life as a child of ours, which is the job's from the moment it has started that. */
  get childEvents(): ChildEvents {
    return {
      onEnding: (killedBy) => {
        this.#receiveLastWord();
        if (this.#state === "started") this.#start?.onEnding?.(killedBy);
      },
      onStopped: (signal) => {
        if (this.#state === "started") this.#start?.onStopped?.(signal);
        else if (this.#events.onLost) this.#stoppedEarly(signal);
      },
      onContinued: () => {
        if (this.#state === "started") this.#start?.onContinued?.();
      },
      onExit: (exit) => {
        const { pid } = this;
        const state = this.#state;
        this.hangUp();
        if (state === "started") {
          this.#start?.onExit(exit);
          this.#events.onUsedUp?.();
        } else if (state === "idle") {
          this.#state = "over";
          this.#events.onDiedIdle?.(isKilled(exit.waitStatus));
        } else if (state === "assigned" && this.#events.onLost) {
          this.#start = undefined;
          this.#events.onLost();
          this.#settle("over");
        } else {
          this.#lose(`the process ${pid} that was to run it died`);
        }
      },
    };
  }

  /** @returns whether `start` is settled; false when we have died, as will be told. */
  handOver(start: Start): boolean {
    if (!this.#socket) return false;
    try {
      if (start.forward(this.#socket.raw) !== "sent") {
        this.hangUp();
        return false;
      }
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.kill(); // not to be used again, as little as it has got
      start.onRefused(errorRefused(start.request, error));
      return true;
    }
    this.#start = start;
    this.#state = "assigned";
    this.#assigned.add(this);
    this.#events.onAssigned?.();
    return true;
  }

  kill(): void {
    trySignal(this.#loop.sys, this.pid, signalNumbers.SIGKILL);
  }

  /** Does not listen to it any longer. */
  hangUp(): void {
    if (!this.#socket) return;
    this.#open.delete(this);
    this.#loop.poller.remove(this.#socket.raw);
    this.#socket[Symbol.dispose]();
    this.#socket = undefined;
  }

  /** Gives its job up. */
  abandon(reason: string): void {
    this.hangUp();
    this.#lose(reason);
  }

  receive(): void {
    // Together with its last words, it may have closed its end.
    while (this.#socket) {
      const received = this.#tryReceive(this.#socket);
      if (received === "again") return;
      if (received === "gone") return this.hangUp(); // how it has ended will be told
      const { message } = received;
      received[Symbol.dispose]();
      if (message.type === "started") this.#started();
      if (message.type === "refused") this.#refused(message);
      if (message.type === "notStarted") this.#notStarted(message);
      if (message.type === "unfit") this.#unfit(message.reason);
      if (message.type === "recorded") this.#start?.onRecorded?.(message.json);
    }
  }

  #tryReceive(socket: Fd): ReturnType<Loop["receiver"]["receive"]> {
    try {
      return this.#loop.receiver.receive(socket.raw, { wait: false });
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#loop.log.error(`the process ${this.pid} cannot be understood: ${error.message}`);
      this.kill();
      return "again";
    }
  }

  /** What it said before it ended may still wait in its socket. */
  #receiveLastWord(): void {
    try {
      this.receive();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#loop.log.error(`the last word of the process ${this.pid} is lost: ${error.message}`);
    }
  }

  #started(): void {
    this.#settle("started");
    if (!this.#start?.onRecorded) this.hangUp();
    this.#events.onUsed?.();
    this.#start?.onStarted(this.pid);
  }

  #notStarted(failure: StartFailure): void {
    if (this.#start) this.#refused(refusalOf(this.#start.request, failure));
  }

  #refused(refused: Refused): void {
    const start = this.#start;
    this.#start = undefined;
    this.#settle("over");
    start?.onRefused(refused);
  }

  #unfit(reason: string): void {
    const start = this.#start;
    this.#start = undefined;
    this.#settle("over");
    start?.onUnfit?.(reason);
  }

  #lose(reason: string): void {
    if (this.#start) this.#refused(lost(this.#start.request, reason));
  }

  /** Nobody waits for it: what it was given, if anything, another one does. */
  #stoppedEarly(signal: number): void {
    this.#loop.log.warn(`the spare ${this.pid} was stopped by ${signalName(signal)}: ending it`);
    this.#receiveLastWord();
    if (this.#state !== "started") this.kill();
    else this.#start?.onStopped?.(signal);
  }

  #settle(state: "started" | "over"): void {
    this.#state = state;
    if (this.#assigned.delete(this)) this.#events.onSettled?.();
  }
}

function isKilled(waitStatus: number): boolean {
  const status = parseWaitStatus(waitStatus);
  return status.kind === "signaled" && status.signal === signalNumbers.SIGKILL;
}

/** The job was given away, and nobody knows what has become of it. */
export function lost(request: RunRequest, reason: string): Refused {
  return { code: "lost", errno: 0, reason: `${commandName(request)}: the job was lost: ${reason}` };
}
