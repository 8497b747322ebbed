/** The jobs: from a request with its descriptors to a reaped child. Decisions are domain/job.ts's. */

import { copyOf, type Memory } from "../../ffi/memory.ts";
import { noticesMax, waitingNoticeMs } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import {
  environmentValue,
  firstString,
  fromUtf8,
  latin1,
  type StringList,
  utf8,
} from "../base/strings.ts";
import { isSuccess } from "../base/wait-status.ts";
import { isBuiltin } from "../domain/builtins.ts";
import type { CommandConfiguration } from "../domain/configuration.ts";
import { type JobEvent, type JobState, newJob, step } from "../domain/job.ts";
import { Configurations } from "../execution/configuration.ts";
import {
  commandName,
  errorRefused,
  type Refused,
  type StartFile,
  startProgram,
} from "../execution/program.ts";
import type { Variables } from "../execution/trust.ts";
import { tryReap } from "../os/children.ts";
import { reasonOf, SystemError } from "../os/errors.ts";
import { type Fd, type RawFd, standard } from "../os/fd.ts";
import { descriptorTarget } from "../os/files.ts";
import { waitFor } from "../os/poll.ts";
import { niceValue, ownEnvironment } from "../os/process.ts";
import {
  descriptorsMax,
  passingDifferences,
  resourceLimits,
  withSoftLimits,
} from "../os/resource-limits.ts";
import { isOfInternalSignals, signalName, signalNumbers, trySignal } from "../os/signals.ts";
import { trySpawn } from "../os/spawn.ts";
import type { Timer } from "../os/timers.ts";
import type { RunRequest, SignalRequest } from "../protocol/messages.ts";
import type { ChildEvents, Children } from "./children.ts";
import type { Connection } from "./connection.ts";
import type { Image } from "./images.ts";
import type { Loop } from "./loop.ts";
import type { Scripts } from "./scripts.ts";
import { lost, type Start, type Starters } from "./starters.ts";
import { GuardedTerminal } from "./terminal.ts";

/** One execution of one context. */
interface Job {
  readonly id: number;
  /** The command's name, for the log. */
  readonly name: string;
  state: JobState;
  /** Who is told; undefined once nothing more is owed. */
  client: Connection | undefined;
  /** When its time is up. */
  timer: Timer | undefined;
  /** The client's terminal, as long as the client is there to be waited for. */
  terminal: GuardedTerminal | undefined;
}

/** What a job is made of, until it is running: the request and its descriptors, owned here. */
interface Context extends Disposable {
  readonly request: RunRequest;
  readonly fds: readonly Fd[];
  readonly directory: RawFd;
}

/** Limits we have to have while we start a job, in the resources in which they are not ours. */
interface Passing {
  readonly limits: Memory;
  readonly differing: readonly number[];
}

interface JobsParts {
  readonly children: Children;
  readonly starters: Starters;
  readonly image: Image;
  readonly scripts: Scripts;
  readonly jobsMax: number;
}

export class Jobs {
  readonly #loop: Loop;
  readonly #children: Children;
  readonly #starters: Starters;
  readonly #image: Image;
  readonly #scripts: Scripts;
  readonly #jobsMax: number;
  readonly #ownLimits: Memory;
  readonly #ownNice: number;
  readonly #jobs = new Map<number, Job>();
  /** The process groups that were asked to end, because the daemon is. */
  readonly #ending = new Set<number>();
  /** Terminals of clients whose jobs have ended, and which have not left yet. */
  readonly #leaving = new Map<Connection, GuardedTerminal>();
  readonly #configurations: Configurations;
  /** Notices that callers have seen. */
  readonly #told = new Set<string>();
  #isTerminating = false;
  #nextId = 1;
  #done = 0;
  #failed = 0;

  constructor(loop: Loop, parts: JobsParts) {
    this.#loop = loop;
    this.#children = parts.children;
    this.#starters = parts.starters;
    this.#image = parts.image;
    this.#scripts = parts.scripts;
    this.#jobsMax = parts.jobsMax;
    this.#configurations = new Configurations(loop.sys);
    this.#ownLimits = resourceLimits(loop.sys);
    this.#ownNice = niceValue(loop.sys);
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

  /** Starts a job for `client`. Consumes `fds`. @returns the job's id, undefined when refused. */
  start(client: Connection, request: RunRequest, fds: readonly Fd[]): number | undefined {
    using owned = new Scope();
    for (const fd of fds) owned.use(fd);
    if (this.#jobs.size >= this.#jobsMax) {
      const reason = `${this.#jobs.size} jobs are running, as many as allowed (--max-jobs)`;
      client.refuse({ code: "busy", errno: 0, reason });
      return undefined;
    }
    const name = firstString(request.argv);
    const terminal = this.#guard(client, request, fds);
    const directory = (fds[request.directoryIndex] as Fd).raw; // the decoder checked the index
    const kept = owned.move();
    const context = { request, fds, directory, [Symbol.dispose]: () => kept[Symbol.dispose]() };
    const command = this.#configured(request, directory, fds);
    const policy =
      command && request.policy.timeoutMs === 0
        ? { ...request.policy, timeoutMs: command.timeoutMs }
        : request.policy;
    const id = this.#nextId++;
    const job: Job = {
      id,
      name: commandName(request),
      state: newJob(request.wait, policy),
      client,
      timer: undefined,
      terminal,
    };
    this.#jobs.set(id, job);
    if (request.warm || command) {
      const start = this.#startOf(job, context);
      try {
        this.#scripts.run(start, directory, command);
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        start.onRefused(errorRefused(request, error)); // out of descriptors, say: it has not begun
      }
      this.#keepPatient(id);
      return id;
    }
    const passing = isBuiltin(latin1(name)) ? undefined : this.#passingLimits(request);
    if (passing) this.#startProgram(job, context, passing);
    else this.#startInStarter(job, context);
    return id;
  }

  /** A message about a running job, from the client that waits for it. */
  signal(id: number, { signal, toGroup }: SignalRequest): void {
    this.#tell(id, { kind: "signal", signal, toGroup });
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
    this.#signalEnding(signalNumbers.SIGKILL);
  }

  /** Whether a group that was asked to end still has members, its leader's children included. */
  hasGroups(): boolean {
    this.#signalEnding(0);
    return this.#ending.size > 0;
  }

  /** A client takes a long silence for a daemon that is stuck: one whose job has to wait is told. */
  #keepPatient(id: number): void {
    if (this.#jobs.get(id)?.state.kind !== "starting") return;
    this.#loop.timers.after(waitingNoticeMs, () => {
      const job = this.#jobs.get(id);
      if (job?.state.kind === "starting") job.client?.reply({ type: "waiting" }, id);
      this.#keepPatient(id);
    });
  }

  /** The command of this name that the caller has configured, if any. */
  #configured(
    request: RunRequest,
    directory: RawFd,
    fds: readonly Fd[],
  ): CommandConfiguration | undefined {
    const name = utf8(firstString(request.argv));
    if (request.warm || name.includes("/") || isBuiltin(name)) return undefined;
    const here = descriptorTarget(this.#loop.sys, directory);
    if (here === undefined) return undefined;
    const { command, notices } = this.#configurations.find(name, here, variablesOf(request.env));
    for (const notice of notices) this.#tellOnce(notice, request, fds);
    return command;
  }

  /** Tells the caller, on the standard error it has given, and not again as long as nothing changes. */
  #tellOnce(notice: string, { descriptors }: RunRequest, fds: readonly Fd[]): void {
    if (this.#told.has(notice)) return;
    this.#loop.log.warn(notice);
    const index = descriptors.find(({ number }) => number === standard.error)?.index;
    const fd = index === undefined ? undefined : fds[index];
    const { sys } = this.#loop;
    // What does not take it at once would hold up everybody else's jobs.
    if (!fd || waitFor(sys, [{ fd: fd.raw, for: "writing" }], 0).length === 0) return;
    if (this.#told.size >= noticesMax) this.#told.clear();
    this.#told.add(notice);
    const line = copyOf(fromUtf8(`pfd: ${notice}\n`));
    sys.write(fd.raw, line, line.length); // that it cannot be written is ignored: the log has it
  }

  /** The terminal to be put in order if the client cannot. It has to be the daemon's own copy. */
  #guard(
    { peer }: Connection,
    { terminalGuard: guard }: RunRequest,
    fds: readonly Fd[],
  ): GuardedTerminal | undefined {
    const terminal = guard && fds[guard.index];
    return terminal && new GuardedTerminal(this.#loop.sys, terminal.raw, { guard, pid: peer.pid });
  }

  #dropTerminal(job: Job): void {
    job.terminal?.[Symbol.dispose]();
    job.terminal = undefined;
  }

  #terminateLate(group: number): void {
    this.#ending.add(group);
    trySignal(this.#loop.sys, -group, signalNumbers.SIGTERM);
  }

  #signalEnding(signal: number): void {
    for (const group of this.#ending) {
      // Once a group is gone its number may be given to another.
      if (!trySignal(this.#loop.sys, -group, signal)) this.#ending.delete(group);
    }
  }

  /** In a spare of the image, or else in a fresh process of our own binary. */
  #startInStarter(job: Job, context: Context): void {
    const start = this.#startOf(job, context);
    this.#image.run({ ...start, onUnavailable: () => this.#startCold(job, start) });
    this.#keepPatient(job.id);
  }

  /** A start by which `context` is given up when it has been decided. */
  #startOf(job: Job, context: Context): Start {
    return {
      id: job.id,
      request: context.request,
      fds: context.fds.map((fd) => fd.raw),
      onStarted: (pid) => {
        context[Symbol.dispose]();
        this.#tell(job.id, { kind: "started", pid });
      },
      onRefused: (refused) => {
        context[Symbol.dispose]();
        this.#refuse(job, refused);
      },
      ...this.#childEvents(job),
    };
  }

  #startCold(job: Job, start: Start): void {
    this.#loop.log.debug(`job ${job.id} (${job.name}) starts cold: the image is not ready`);
    try {
      const starter = this.#starters.spawn();
      if (starter?.handOver(start)) return;
      start.onRefused(lost(start.request, "the process that was to run it died"));
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      start.onRefused(errorRefused(start.request, error));
    }
  }

  /**
   * What has to be different in us while we start this job as our child; undefined when it needs
   * more than a child can be given that way.
   */
  #passingLimits({
    attributes,
    controllingTerminal,
    descriptors,
  }: RunRequest): Passing | undefined {
    if (controllingTerminal || attributes.nice !== this.#ownNice) return undefined;
    const ignored = attributes.ignoredSignals;
    if (!isOfInternalSignals(ignored) && ignored.some((byte) => byte !== 0)) return undefined;
    const limits = copyOf(attributes.limits);
    const differing = passingDifferences(this.#ownLimits, limits);
    if (!differing) return undefined;
    // A descriptor may stand over a limit that was lowered later, but none can be put there then.
    const bound = descriptorsMax(limits);
    if (descriptors.some(({ number }) => number >= bound)) return undefined;
    return { limits, differing };
  }

  #startProgram(job: Job, context: Context, passing: Passing): void {
    using owned = context;
    let outcome: number | Refused;
    try {
      outcome = this.#trySpawn(owned, passing);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      outcome = errorRefused(owned.request, error);
    }
    if (typeof outcome !== "number") return this.#refuse(job, outcome);
    const pid = outcome;
    try {
      this.#children.watch(pid, this.#childEvents(job));
    } catch (error) {
      // Running unwatched would mean that nobody ever learns how it ended.
      trySignal(this.#loop.sys, -pid, signalNumbers.SIGKILL);
      tryReap(this.#loop.sys, pid, { wait: true });
      const reason = `${job.name}: the process cannot be watched: ${reasonOf(error)}`;
      return this.#refuse(job, { code: "failed", errno: 0, reason });
    }
    this.#tell(job.id, { kind: "started", pid });
  }

  #trySpawn({ request, fds, directory }: Context, passing: Passing): number | Refused {
    const { sys } = this.#loop;
    const descriptors = new Map<number, RawFd>();
    for (const { number, index } of request.descriptors) {
      descriptors.set(number, (fds[index] as Fd).raw); // the decoder checked the index
    }
    const { umask, blockedSignals, ignoredSignals } = request.attributes;
    const ignoresInternalSignals = isOfInternalSignals(ignoredSignals);
    const limits = { own: this.#ownLimits, passing: passing.limits };
    const around = (spawn: () => number): number =>
      withSoftLimits(sys, limits, passing.differing, spawn);
    const program = {
      env: request.env,
      descriptors,
      directory,
      umask,
      blockedSignals,
      ignoresInternalSignals,
      around,
    };
    const start: StartFile = (path, argv) => trySpawn(sys, { ...program, path, argv });
    return startProgram(sys, request, start, directory);
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

  #refuse(job: Job, refused: Refused): void {
    this.#tell(job.id, { kind: "refused", ...refused });
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
          // A spare that had its job already may start it after the others were asked to end.
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
          trySignal(this.#loop.sys, effect.toGroup ? -effect.pid : effect.pid, effect.signal);
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

function variablesOf(env: StringList): Variables {
  return (name) => {
    const value = environmentValue(env, name);
    return value && utf8(value);
  };
}
