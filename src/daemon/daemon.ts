/**
 * The daemon: one thread, one synchronous loop over descriptors. It accepts requests, has jobs.ts
 * and images.ts carry them out, and ends them in an orderly way. It runs no user code, and it uses
 * no part of Bun's own event loop.
 */

import * as errno from "../../ffi/errno.ts";
import type { Sys } from "../../ffi/sys.ts";
import { connectionsMax, listenBacklog } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import { version } from "../base/version.ts";
import { commandPolicy, programPolicy } from "../domain/starter-pool.ts";
import { SystemError } from "../os/errors.ts";
import type { Fd } from "../os/fd.ts";
import {
  blockSignals,
  openSignalFd,
  readSignal,
  type SignalName,
  signalName,
  signalNumbers,
  signalSet,
} from "../os/signals.ts";
import { tryAccept } from "../os/socket.ts";
import { drainNameWatch } from "../os/watch.ts";
import type { Received } from "../transport/channel.ts";
import { Children } from "./children.ts";
import { Connection } from "./connection.ts";
import type { Endpoint } from "./endpoint.ts";
import { Jobs } from "./jobs.ts";
import type { Log } from "./log.ts";
import { Loop } from "./loop.ts";
import { Machine } from "./machine.ts";
import { baseImageProcess, programStarterProcess } from "./processes.ts";
import type { ScriptReport } from "./script.ts";
import { Scripts } from "./scripts.ts";
import { noProcesses, type PoolStatus, StarterPool } from "./starter-pool.ts";
import { Starters } from "./starters.ts";
import { Watches } from "./watches.ts";

export interface DaemonSettings {
  /** How the socket's place was chosen, for `status`. */
  readonly mode: string;
  readonly graceMs: number;
  readonly jobsMax: number;
  /** Whether our binary has a head, with which an image can lend its memory. Without, built-in commands run cold. */
  readonly hasHead: boolean;
}

/** What `prefork status --json` prints; with `--images` the client adds each process's memory. */
export interface StatusReport {
  readonly pid: number;
  readonly version: string;
  readonly uptimeMs: number;
  readonly socket: string;
  readonly mode: string;
  readonly state: "running" | "stopping";
  readonly running: number;
  /** Jobs that ended with 0. */
  readonly done: number;
  /** Jobs that ended otherwise, or could not be started. */
  readonly failed: number;
  /** The images of the built-in commands; there are none without a head. */
  readonly image: PoolStatus;
  /** Why no images are made; undefined while there is memory for them. */
  readonly shortage: string | undefined;
  /** Scripts that are run out of warm images. */
  readonly images: readonly ScriptReport[];
}

const watchedSignals: readonly SignalName[] = ["SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD"];
/** So long without an event is a quiet moment. */
const quietMs = 500;
/** How often a stopping daemon looks whether the last process groups are gone. */
const groupsPollMs = 20;
/** How long accepting pauses when we are out of descriptors. */
const acceptPauseMs = 100;

export class Daemon implements Disposable {
  readonly #loop: Loop;
  readonly #endpoint: Endpoint;
  readonly #settings: DaemonSettings;
  readonly #signals: Fd;
  readonly #children: Children;
  readonly #starters: Starters;
  readonly #programs: StarterPool;
  readonly #commands: StarterPool | undefined;
  readonly #machine: Machine;
  readonly #watches: Watches;
  readonly #scripts: Scripts;
  readonly #jobs: Jobs;
  readonly #connections = new Set<Connection>();
  /** Which job a waiting client's connection is about. */
  readonly #jobOf = new Map<Connection, number>();
  readonly #startedMs: number;
  readonly #uid: number;
  #state: "running" | "stopping" = "running";
  #isListening = true;
  #hasGarbage = false;
  #isKilling = false;

  /** Borrows `endpoint`; the signals the daemon watches are blocked from here on. */
  constructor(
    sys: Sys,
    log: Log,
    endpoint: Endpoint,
    settings: DaemonSettings,
    nowMs: () => number = () => performance.now(),
  ) {
    using owned = new Scope();
    this.#loop = owned.use(new Loop(sys, log, nowMs));
    this.#endpoint = endpoint;
    this.#settings = settings;
    this.#startedMs = nowMs();
    this.#uid = sys.geteuid();
    // From the background, too, a client's terminal is ours to put in order.
    blockSignals(sys, signalSet([...watchedSignals, "SIGTTOU"]));
    this.#signals = owned.use(openSignalFd(sys, signalSet(watchedSignals)));
    this.#children = new Children(this.#loop);
    this.#starters = new Starters(this.#loop, this.#children);
    this.#programs = new StarterPool(this.#loop, this.#children, {
      name: "starter",
      build: programStarterProcess,
      policy: programPolicy(navigator.hardwareConcurrency),
      isLender: false,
    });
    if (settings.hasHead) {
      this.#commands = new StarterPool(this.#loop, this.#children, {
        name: "image base",
        build: baseImageProcess,
        policy: commandPolicy,
        isLender: true,
      });
    }
    this.#machine = new Machine(this.#loop);
    const parts = {
      children: this.#children,
      starters: this.#starters,
      machine: this.#machine,
    };
    this.#watches = new Watches(this.#loop);
    this.#scripts = new Scripts(this.#loop, { ...parts, watches: this.#watches });
    this.#jobs = new Jobs(this.#loop, {
      starters: this.#starters,
      programs: this.#programs,
      commands: this.#commands,
      scripts: this.#scripts,
      jobsMax: settings.jobsMax,
    });
    const { poller } = this.#loop;
    poller.add(this.#signals.raw, () => this.#takeSignals());
    poller.add(endpoint.listener, () => this.#accept());
    poller.add(endpoint.nameWatch, () => this.#checkName());
    owned.move();
  }

  /** Starts images and starters; they inherit our standard error, so that must be the log by now. */
  start(): void {
    const { sys, log } = this.#loop;
    log.info(`listening on ${this.#endpoint.socketPath} (pid ${sys.getpid()})`);
    this.#programs.open();
    this.#commands?.open();
    this.#jobs.prepare();
  }

  /** Nothing is left to be done. */
  get isFinished(): boolean {
    return this.#hasNothingToDo() && this.#connections.size === 0;
  }

  /**
   * One turn of the loop: waits for `timeoutMs` at most (-1: until something happens), then acts.
   * After work, the first quiet moment is used to collect garbage: the timers with which the
   * runtime would do so belong to the event loop that a daemon never enters.
   */
  turn(timeoutMs: number = this.#patienceMs()): void {
    const count = this.#loop.poller.turn(timeoutMs);
    if (count === 0 && this.#hasGarbage) Bun.gc(true);
    this.#hasGarbage = count > 0;
    // Clients that only watch us stop are let go when all else is done.
    if (this.#hasNothingToDo()) {
      for (const connection of [...this.#connections]) connection.end();
    }
  }

  /** No new jobs; those that run are asked to end, and after the grace time made to. */
  stop(reason: string): void {
    if (this.#state === "stopping") return;
    this.#state = "stopping";
    const { running } = this.#jobs.counts;
    this.#loop.log.info(`stopping: ${reason}; ${running} jobs are running`);
    this.#accept(listenBacklog); // who has connected already gets an answer
    this.#stopListening();
    this.#programs.close();
    this.#commands?.close();
    this.#scripts.close();
    this.#jobs.terminate();
    this.#loop.timers.after(this.#settings.graceMs, () => this.kill("the grace time is over"));
  }

  /** Does not wait for the jobs any longer. */
  kill(reason: string): void {
    this.stop(reason);
    if (this.#isKilling) return;
    this.#isKilling = true;
    const { running } = this.#jobs.counts;
    if (running > 0) this.#loop.log.warn(`${reason}: killing ${running} jobs`);
    this.#starters.killAssigned();
    this.#programs.kill();
    this.#commands?.kill();
    this.#jobs.kill();
  }

  report(): StatusReport {
    const { sys, nowMs } = this.#loop;
    return {
      pid: sys.getpid(),
      version,
      uptimeMs: Math.round(nowMs() - this.#startedMs),
      socket: this.#endpoint.socketPath,
      mode: this.#settings.mode,
      state: this.#state,
      ...this.#jobs.counts,
      image: this.#commands?.status ?? noProcesses,
      shortage: this.#machine.shortage(),
      images: this.#scripts.report(),
    };
  }

  [Symbol.dispose](): void {
    using _loop = this.#loop;
    using _signals = this.#signals;
    using _starters = this.#starters;
    using _programs = this.#programs;
    using _commands = this.#commands;
    using _watches = this.#watches;
    using _scripts = this.#scripts;
    this.#stopListening();
    for (const connection of [...this.#connections]) connection.close();
  }

  #hasNothingToDo(): boolean {
    return this.#state === "stopping" && this.#children.count === 0 && !this.#jobs.hasGroups();
  }

  /** How long a turn may wait for something to happen. */
  #patienceMs(): number {
    // What jobs have left behind in their groups is not ours to wait for: we have to look.
    if (this.#state === "stopping" && this.#children.count === 0) return groupsPollMs;
    return this.#hasGarbage ? quietMs : -1;
  }

  /** Takes one: the next turn brings the next. */
  #takeSignals(): void {
    const signal = readSignal(this.#loop.sys, this.#signals.raw);
    if (!signal) return;
    const { number } = signal;
    if (number === signalNumbers.SIGCHLD) this.#children.sweep();
    else if (this.#state === "running") this.stop(signalName(number));
    else this.kill(`a second ${signalName(number)}`);
  }

  #accept(countMax = 1): void {
    for (let count = 0; count < countMax && this.#isListening; count++) {
      if (this.#connections.size >= connectionsMax) return this.#pauseListening("connections");
      try {
        const socket = tryAccept(this.#loop.sys, this.#endpoint.listener);
        if (socket === "again") return;
        this.#admit(socket);
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        if (error.errno === errno.EMFILE || error.errno === errno.ENFILE) {
          return this.#pauseListening("descriptors");
        }
        this.#loop.log.warn(`cannot accept a client: ${error.message}`);
      }
    }
  }

  /** Consumes `socket`. */
  #admit(socket: Fd): void {
    const connection = new Connection(this.#loop, socket, {
      onMessage: (from, received) => this.#handle(from, received),
      onClosed: (closed) => this.#forget(closed),
    });
    this.#connections.add(connection);
    const { uid, pid } = connection.peer;
    const own = this.#uid;
    if (uid === own || uid === 0) return connection.receive(); // mostly its request is there already
    this.#loop.log.warn(`refusing the client ${pid}: its user is ${uid}`);
    const reason = `the daemon belongs to user ${own} and serves nobody else`;
    connection.refuse({ code: "forbidden", errno: errno.EPERM, reason });
  }

  /** Consumes `received`. */
  #handle(connection: Connection, received: Received): void {
    using owned = new Scope();
    const { id, message } = owned.use(received);
    const jobId = this.#jobOf.get(connection);
    if (jobId !== undefined) {
      // The one thing a client that waits for its job may still say.
      if (message.type === "signal") return this.#jobs.signal(jobId, message);
      const reason = "this connection has a job, and takes nothing but signals for it";
      return connection.refuse({ code: "badRequest", errno: 0, reason }, id);
    }
    switch (message.type) {
      case "run": {
        if (this.#state === "stopping") {
          const reason = "the daemon is stopping";
          return connection.refuse({ code: "stopping", errno: 0, reason }, id);
        }
        owned.move();
        const started = this.#jobs.start(connection, message, received);
        if (started === undefined) return;
        // It is closed by now when nothing more is owed to it, or when it could not be told.
        if (this.#connections.has(connection)) this.#jobOf.set(connection, started);
        else this.#jobs.clientGone(started);
        return;
      }
      case "ping": {
        const json = JSON.stringify({ pid: this.#loop.sys.getpid(), version });
        connection.reply({ type: "pong", json }, id);
        return connection.end();
      }
      case "status":
        connection.reply({ type: "report", json: JSON.stringify(this.report()) }, id);
        return connection.end();
      case "stop":
        // The connection stays open until the daemon leaves.
        connection.reply({ type: "report", json: JSON.stringify(this.report()) }, id);
        return message.now ? this.kill("prefork stop --now") : this.stop("prefork stop");
      default:
        return connection.refuse({
          code: "badRequest",
          errno: 0,
          reason: `a client does not send messages of type ${message.type}`,
        });
    }
  }

  #forget(connection: Connection): void {
    this.#connections.delete(connection);
    this.#jobs.connectionClosed(connection);
    const jobId = this.#jobOf.get(connection);
    this.#jobOf.delete(connection);
    if (jobId !== undefined) this.#jobs.clientGone(jobId);
  }

  /** The socket's name may be gone or somebody else's: then nobody can reach us any more. */
  #checkName(): void {
    drainNameWatch(this.#loop.sys, this.#endpoint.nameWatch);
    if (!this.#endpoint.isInPlace()) this.stop(`${this.#endpoint.socketPath} is not ours any more`);
  }

  #pauseListening(reason: string): void {
    this.#loop.log.warn(`out of ${reason}: new clients wait`);
    for (const connection of [...this.#connections]) connection.makeRoom();
    const { poller, timers } = this.#loop;
    poller.watch(this.#endpoint.listener, { readable: false, writable: false });
    timers.after(acceptPauseMs, () => {
      if (!this.#isListening) return;
      poller.watch(this.#endpoint.listener, { readable: true, writable: false });
    });
  }

  #stopListening(): void {
    if (!this.#isListening) return;
    this.#isListening = false;
    this.#loop.poller.remove(this.#endpoint.listener);
    this.#loop.poller.remove(this.#endpoint.nameWatch);
    this.#endpoint.close();
  }
}
