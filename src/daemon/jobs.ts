/** The jobs: from a request with its descriptors to a reaped child. Decisions are domain/job.ts's. */

import { copyOf } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { noticesMax, waitingNoticeMs } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import {
  dropStrings,
  environmentValue,
  firstString,
  fromUtf8,
  latin1,
  type StringList,
  stringList,
  utf8,
} from "../base/strings.ts";
import { isSuccess } from "../base/wait-status.ts";
import { isBuiltin } from "../domain/builtins.ts";
import type { CommandConfiguration } from "../domain/configuration.ts";
import type { Variables } from "../domain/configuration-files.ts";
import { type JobEvent, type JobSignal, type JobState, newJob, step } from "../domain/job.ts";
import { Configurations } from "../execution/configuration.ts";
import { commandName, errorRefused } from "../execution/program.ts";
import { SystemError } from "../os/errors.ts";
import { type RawFd, standard } from "../os/fd.ts";
import { descriptorTarget } from "../os/files.ts";
import { waitFor } from "../os/poll.ts";
import { ownEnvironment } from "../os/process.ts";
import { signalName, signalNumbers, tryQueueSignal, trySignal } from "../os/signals.ts";
import type { Timer } from "../os/timers.ts";
import type { RunRequest, SignalRequest } from "../protocol/messages.ts";
import { type Received, sendMessage } from "../transport/channel.ts";
import type { ChildEvents } from "./children.ts";
import type { Connection } from "./connection.ts";
import type { Loop } from "./loop.ts";
import type { Scripts } from "./scripts.ts";
import type { StarterPool } from "./starter-pool.ts";
import { lost, type Start, type Starters } from "./starters.ts";
import { GuardedTerminal } from "./terminal.ts";

/** One execution of one context. */
interface Job {
  readonly id: number;
  /** The command's name, for the log. */
  readonly name: string;
  readonly sinceMs: number;
  state: JobState;
  /** Who is told; undefined once nothing more is owed. */
  client: Connection | undefined;
  /** When its time is up. */
  timer: Timer | undefined;
  /** The client's terminal, as long as the client is there to be waited for. */
  terminal: GuardedTerminal | undefined;
}

/** What a job is made of, until it is running or refused. */
interface Context {
  readonly request: RunRequest;
  readonly fds: readonly RawFd[];
  readonly received: Received;
}

interface JobsParts {
  readonly starters: Starters;
  readonly programs: StarterPool;
  readonly commands: StarterPool | undefined;
  readonly scripts: Scripts;
  readonly jobsMax: number;
}

export class Jobs {
  readonly #loop: Loop;
  readonly #starters: Starters;
  readonly #programs: StarterPool;
  readonly #commands: StarterPool | undefined;
  readonly #scripts: Scripts;
  readonly #jobsMax: number;
  readonly #jobs = new Map<number, Job>();
  /** The process groups that were asked to end, because the daemon is. */
  readonly #ending = new Set<number>();
  /** Terminals of clients whose jobs have ended, and which have not left yet. */
  readonly #leaving = new Map<Connection, GuardedTerminal>();
  readonly #configurations: Configurations;
  /** Notices that callers have seen. */
  readonly #told = new Set<string>();
  #isTerminating = false;
  #isKilling = false;
  #patience: Timer | undefined;
  #nextId = 1;
  #done = 0;
  #failed = 0;

  constructor(loop: Loop, parts: JobsParts) {
    this.#loop = loop;
    this.#starters = parts.starters;
    this.#programs = parts.programs;
    this.#commands = parts.commands;
    this.#scripts = parts.scripts;
    this.#jobsMax = parts.jobsMax;
    this.#configurations = new Configurations(loop.sys);
  }

  get counts(): { running: number; done: number; failed: number } {
    return { running: this.#jobs.size, done: this.#done, failed: this.#failed };
  }

  /** Has the images made that the user wants to be there before the first job. */
  prepare(): void {
    const { sys, log } = this.#loop;
    try {
      const env = ownEnvironment(sys);
      const { commands, notices } = this.#configurations.ofUser(variablesOf(env));
      for (const notice of notices) log.warn(notice);
      for (const command of commands)
        if (command.preloadAtStart) this.#scripts.prepare(command, env);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      log.warn(`images are made when they are wanted: ${error.message}`);
    }
  }

  /** Starts a job for `client`. Consumes `received`. @returns the job's id, undefined when refused. */
  start(client: Connection, request: RunRequest, received: Received): number | undefined {
    using owned = new Scope();
    owned.use(received);
    if (this.#jobs.size >= this.#jobsMax) {
      const reason = `${this.#jobs.size} jobs are running, as many as allowed (--max-jobs)`;
      client.refuse({ code: "busy", errno: 0, reason });
      return undefined;
    }
    const fds = received.fds.map((fd) => fd.raw);
    const terminal = this.#guard(client, request, fds);
    owned.defer(() => terminal?.[Symbol.dispose]());
    const directory = fds[request.directoryIndex] as RawFd; // the decoder checked the index
    const command = this.#configured(request, directory, fds);
    owned.move();
    const policy =
      command && request.policy.timeoutMs === 0
        ? { ...request.policy, timeoutMs: command.timeoutMs }
        : request.policy;
    const id = this.#nextId++;
    const job: Job = {
      id,
      name: commandName(request),
      sinceMs: this.#loop.nowMs(),
      state: newJob(request.wait, policy),
      client,
      timer: undefined,
      terminal,
    };
    this.#jobs.set(id, job);
    const start = this.#startOf(job, { request, fds, received });
    if (request.warm || command) this.#startScript(start, directory, command);
    else if (isBuiltin(latin1(firstString(request.argv)))) this.#startBuiltin(job, start);
    else this.#programs.run(start);
    if (job.state.kind === "starting") this.#keepPatient();
    return id;
  }

  /** A message about a running job, from the client that waits for it. */
  signal(id: number, { signal, toGroup, value }: SignalRequest): void {
    this.#tell(id, { kind: "signal", signal, toGroup, value });
  }

  /** The connection has been closed, by whomever. */
  connectionClosed(connection: Connection): void {
    const terminal = this.#leaving.get(connection);
    this.#leaving.delete(connection);
    // A client that is there does so itself, when it has written what it still has.
    if (connection.isPeerGone) terminal?.restore();
    terminal?.[Symbol.dispose]();
  }

  clientGone(id: number): void {
    const job = this.#jobs.get(id);
    if (!job) return;
    job.client = undefined;
    job.terminal?.restore();
    this.#dropTerminal(job);
    if (this.#programs.cancel(id) || this.#commands?.cancel(id)) return;
    this.#tell(id, { kind: "clientGone" });
  }

  /** Asks the process groups of all running jobs to end; see `hasGroups`. */
  terminate(): void {
    this.#isTerminating = true;
    for (const { state } of this.#jobs.values()) {
      if (state.kind === "running") this.#ending.add(state.pid);
    }
    this.#signalEnding(signalNumbers.SIGTERM);
    this.#signalEnding(signalNumbers.SIGCONT); // a stopped process cannot act on SIGTERM
  }

  /** Does not ask any longer. */
  kill(): void {
    this.#isKilling = true;
    this.#signalEnding(signalNumbers.SIGKILL);
  }

  /** Whether a group that was asked to end still has members, its leader's children included. */
  hasGroups(): boolean {
    this.#signalEnding(0);
    return this.#ending.size > 0;
  }

  /** A client takes a long silence for a daemon that is stuck: those whose jobs have to wait are told. */
  #keepPatient(): void {
    const { timers, nowMs } = this.#loop;
    this.#patience ??= timers.after(waitingNoticeMs, () => {
      this.#patience = undefined;
      const starting = [...this.#jobs.values()].filter(({ state }) => state.kind === "starting");
      for (const { id, client, sinceMs } of starting) {
        if (nowMs() - sinceMs >= waitingNoticeMs / 2) client?.reply({ type: "waiting" }, id);
      }
      if (starting.length > 0) this.#keepPatient();
    });
  }

  /** The command of this name that the caller has configured, if any. */
  #configured(
    request: RunRequest,
    directory: RawFd,
    fds: readonly RawFd[],
  ): CommandConfiguration | undefined {
    const name = utf8(firstString(request.argv));
    if (request.unconfigured || request.warm || name.includes("/") || isBuiltin(name)) {
      return undefined;
    }
    const here = descriptorTarget(this.#loop.sys, directory);
    if (here === undefined) return undefined;
    const { command, notices } = this.#configurations.find(name, here, variablesOf(request.env));
    for (const notice of notices) this.#tellOnce(notice, request, fds);
    return command;
  }

  /** Tells the caller, on the standard error it has given, and not again as long as nothing changes. */
  #tellOnce(notice: string, { descriptors }: RunRequest, fds: readonly RawFd[]): void {
    if (this.#told.has(notice)) return;
    this.#loop.log.warn(notice);
    const index = descriptors.find(({ number }) => number === standard.error)?.index;
    const fd = index === undefined ? undefined : fds[index];
    const { sys } = this.#loop;
    // What does not take it at once would hold up everybody else's jobs.
    if (fd === undefined || waitFor(sys, [{ fd, for: "writing" }], 0).length === 0) return;
    if (this.#told.size >= noticesMax) this.#told.clear();
    this.#told.add(notice);
    const line = copyOf(fromUtf8(`pfd: ${notice}\n`));
    sys.write(fd, line, line.length); // that it cannot be written is ignored: the log has it
  }

  /** The terminal to be put in order if the client cannot. It has to be the daemon's own copy. */
  #guard(
    { peer }: Connection,
    { terminalGuard: guard }: RunRequest,
    fds: readonly RawFd[],
  ): GuardedTerminal | undefined {
    if (!guard) return undefined;
    const terminal = fds[guard.index] as RawFd; // the decoder checked the index
    return new GuardedTerminal(this.#loop.sys, terminal, { guard, pid: peer.pid });
  }

  #dropTerminal(job: Job): void {
    job.terminal?.[Symbol.dispose]();
    job.terminal = undefined;
  }

  #terminateLate(group: number): void {
    this.#ending.add(group);
    const { SIGKILL, SIGTERM } = signalNumbers;
    trySignal(this.#loop.sys, -group, this.#isKilling ? SIGKILL : SIGTERM);
  }

  #signalEnding(signal: number): void {
    for (const group of this.#ending) {
      // Once a group is gone its number may be given to another.
      if (!trySignal(this.#loop.sys, -group, signal)) this.#ending.delete(group);
    }
  }

  #startScript(start: Start, directory: RawFd, command?: CommandConfiguration): void {
    try {
      const onProgram = (words: readonly string[]): void =>
        this.#programs.run(withWords(this.#loop.sys, start, words));
      this.#scripts.run({ ...start, onProgram }, directory, command);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      start.onRefused(errorRefused(start.request, error)); // out of descriptors, say: it has not begun
    }
  }

  /** In a process that an image lends its memory, or else in a fresh one of our own binary. */
  #startBuiltin(job: Job, start: Start): void {
    if (!this.#commands) return this.#startCold(job, start);
    this.#commands.run({ ...start, onUnavailable: () => this.#startCold(job, start) });
  }

  /** A start by which `context` is given up when it has been decided. */
  #startOf(job: Job, { request, fds, received }: Context): Start {
    return {
      id: job.id,
      request,
      fds,
      forward: (socket) => received.forward(socket, job.id),
      onStarted: (pid) => {
        received[Symbol.dispose]();
        this.#tell(job.id, { kind: "started", pid });
      },
      onRefused: (refused) => {
        received[Symbol.dispose]();
        this.#tell(job.id, { kind: "refused", ...refused });
      },
      ...this.#childEvents(job),
    };
  }

  #startCold(job: Job, start: Start): void {
    this.#loop.log.debug(`job ${job.id} (${job.name}) starts cold: no image serves`);
    try {
      const starter = this.#starters.spawn();
      if (starter?.handOver(start)) return;
      start.onRefused(lost(start.request, "the process that was to run it died"));
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      start.onRefused(errorRefused(start.request, error));
    }
  }

  #childEvents(job: Job): ChildEvents {
    const tell = (event: JobEvent): void => this.#tell(job.id, event);
    return {
      onStopped: (signal) => tell({ kind: "stopped", signal }),
      onContinued: () => tell({ kind: "continued" }),
      onEnding: (killedBy) => tell({ kind: "ending", killedBy }),
      onExit: (exit) =>
        tell({
          kind: "exited",
          exit: { type: "exited", ...exit },
          success: isSuccess(exit.waitStatus),
        }),
    };
  }

  #signal({ pid, signal, toGroup, value }: JobSignal & { readonly pid: number }): void {
    const { sys } = this.#loop;
    if (toGroup) trySignal(sys, -pid, signal);
    else if (value === undefined) trySignal(sys, pid, signal);
    else tryQueueSignal(sys, pid, signal, value);
  }

  /** Feeds one event to a job's state machine and carries out what follows. */
  #tell(id: number, event: JobEvent): void {
    const job = this.#jobs.get(id);
    if (!job) return;
    const [state, effects] = step(job.state, event);
    job.state = state;
    if (state.kind === "done") {
      this.#jobs.delete(id);
      job.timer?.cancel();
      if (state.success) this.#done += 1;
      else this.#failed += 1;
    }
    for (const effect of effects) {
      switch (effect.kind) {
        case "accept":
          this.#loop.log.debug(`job ${id} (${job.name}) runs as ${effect.pid}`);
          job.client?.reply({ type: "accepted", pid: effect.pid }, id);
          // Who had its job already may start it after the others were asked to end.
          if (this.#isTerminating) this.#terminateLate(effect.pid);
          break;
        case "refuse": {
          const { code, errno: number, reason } = effect;
          this.#loop.log.debug(`job ${id} was refused: ${reason}`);
          job.client?.reply({ type: "refused", code, errno: number, reason }, id);
          break;
        }
        case "reportStop":
          this.#loop.log.debug(`job ${id} was stopped by ${signalName(effect.signal)}`);
          job.client?.reply({ type: "stopped", signal: effect.signal }, id);
          break;
        case "wakeClient": {
          const pid = job.client?.peer.pid ?? 0;
          if (pid > 0) trySignal(this.#loop.sys, pid, signalNumbers.SIGCONT);
          break;
        }
        case "timer":
          job.timer = this.#loop.timers.after(effect.afterMs, () =>
            this.#tell(id, { kind: "timeUp" }),
          );
          break;
        case "report":
          this.#loop.log.debug(`job ${id} ended with wait status ${effect.exit.waitStatus}`);
          job.client?.reply(effect.exit, id);
          break;
        case "signal":
          this.#loop.log.debug(`job ${id} gets ${signalName(effect.signal)}`);
          this.#signal(effect);
          break;
        case "release": {
          const { client, terminal } = job;
          job.client = undefined;
          if (!client || !terminal?.outlivesJob) client?.end();
          else if (client.isClosed) terminal.restore();
          else {
            job.terminal = undefined;
            this.#leaving.set(client, terminal);
          }
          break;
        }
        default:
          effect satisfies never;
      }
    }
    if (state.kind === "done") this.#dropTerminal(job);
  }
}

/** The same job by other words. */
function withWords(sys: Sys, start: Start, words: readonly string[]): Start {
  const head = fromUtf8(words.map((word) => `${word}\0`).join(""));
  const rest = dropStrings(start.request.argv, 1).bytes;
  const argv = stringList(Buffer.concat([head, rest]));
  const request: RunRequest = { ...start.request, argv, warm: false };
  const { id, fds } = start;
  return {
    ...start,
    request,
    forward: (socket) => sendMessage(sys, socket, { id, message: request }, fds, { wait: false }),
  };
}

function variablesOf(env: StringList): Variables {
  return (name) => {
    const value = environmentValue(env, name);
    return value && utf8(value);
  };
}
