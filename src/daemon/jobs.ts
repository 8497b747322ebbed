/** The jobs: from a request with its descriptors to a reaped child. Decisions are domain/job.ts's. */

import { errno, errnoText } from "../../ffi/errno.ts";
import { Scope } from "../base/scope.ts";
import {
  environmentValue,
  firstString,
  fromLatin1,
  latin1,
  type StringList,
  stringList,
  strings,
} from "../base/strings.ts";
import { isSuccess } from "../base/wait-status.ts";
import { isBuiltin } from "../domain/builtins.ts";
import { type JobEvent, type JobState, newJob, step } from "../domain/job.ts";
import { executableCandidates, isPath } from "../domain/lookup.ts";
import { type ChildExit, tryReap } from "../os/children.ts";
import { reasonOf, SystemError } from "../os/errors.ts";
import type { Fd, RawFd } from "../os/fd.ts";
import { executeAccess, type Path, targetStatus } from "../os/files.ts";
import { oneThreadEnvironment } from "../os/one-thread.ts";
import { ownExecutable } from "../os/process.ts";
import { signalName, signalNumbers, trySignal } from "../os/signals.ts";
import { trySpawn } from "../os/spawn.ts";
import type { RefusalCode, RunRequest } from "../protocol/messages.ts";
import type { Children } from "./children.ts";
import type { Connection } from "./connection.ts";
import type { Image } from "./images.ts";
import type { Loop } from "./loop.ts";

/** One execution of one context. */
interface Job {
  readonly id: number;
  /** The command's name, for the log. */
  readonly name: string;
  state: JobState;
  /** Who is told; undefined once nothing more is owed. */
  client: Connection | undefined;
}

/** What a job is made of, until it is running: the request and its descriptors, owned here. */
interface Context extends Disposable {
  readonly request: RunRequest;
  readonly fds: readonly Fd[];
  readonly directory: RawFd;
}

interface Refused {
  readonly code: RefusalCode;
  readonly errno: number;
  readonly reason: string;
}

const text: TextDecoder = new TextDecoder();

export class Jobs {
  readonly #loop: Loop;
  readonly #children: Children;
  readonly #image: Image;
  readonly #jobsMax: number;
  readonly #jobs = new Map<number, Job>();
  /** The process groups that were asked to end, because the daemon is. */
  readonly #ending = new Set<number>();
  #isTerminating = false;
  #nextId = 1;
  #done = 0;
  #failed = 0;

  constructor(loop: Loop, parts: { children: Children; image: Image; jobsMax: number }) {
    this.#loop = loop;
    this.#children = parts.children;
    this.#image = parts.image;
    this.#jobsMax = parts.jobsMax;
  }

  get counts(): { running: number; done: number; failed: number } {
    return { running: this.#jobs.size, done: this.#done, failed: this.#failed };
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
    const directory = (fds[request.directoryIndex] as Fd).raw; // the decoder checked the index
    const kept = owned.move();
    const context = { request, fds, directory, [Symbol.dispose]: () => kept[Symbol.dispose]() };
    const id = this.#nextId++;
    const job: Job = { id, name: text.decode(name), state: newJob(request.wait), client };
    this.#jobs.set(id, job);
    if (isBuiltin(latin1(name))) this.#startBuiltin(job, context);
    else this.#startProgram(job, context);
    return id;
  }

  /** A message about a running job, from the client that waits for it. */
  signal(id: number, signal: number): void {
    this.#tell(id, { kind: "signal", signal });
  }

  clientGone(id: number): void {
    const job = this.#jobs.get(id);
    if (!job) return;
    job.client = undefined;
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

  /** A command of ours: in a spare of the image, or else in a fresh process of our own binary. */
  #startBuiltin(job: Job, context: Context): void {
    this.#image.run({
      id: job.id,
      request: context.request,
      fds: context.fds.map((fd) => fd.raw),
      onStarted: (pid) => {
        context[Symbol.dispose]();
        this.#tell(job.id, { kind: "started", pid });
      },
      onFailed: (code, number, reason) => {
        context[Symbol.dispose]();
        const words = `${job.name}: ${code === "lost" ? "the job was lost: " : "cannot start: "}${reason}`;
        this.#refuse(job, { code, errno: number, reason: words });
      },
      onExit: (exit) => this.#exited(job, exit),
      onUnavailable: () => {
        this.#loop.log.debug(`job ${job.id} (${job.name}) runs cold: the image is not ready`);
        using owned = context;
        const { argv, env } = owned.request;
        this.#spawn(job, owned, [ownExecutable], argv, oneThreadEnvironment(env));
      },
    });
  }

  #startProgram(job: Job, context: Context): void {
    using owned = context;
    const { argv, env } = owned.request;
    const name = firstString(argv);
    const path = environmentValue(env, "PATH");
    this.#spawn(job, owned, executableCandidates(name, path), argv, env);
  }

  /** Starts the first of `paths` that can be executed, or refuses as a shell would. */
  #spawn(
    job: Job,
    context: Context,
    paths: Iterable<Path>,
    argv: StringList,
    env: StringList,
  ): void {
    let outcome: number | Refused;
    try {
      outcome = this.#trySpawn(job, context, paths, argv, env);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      outcome = { code: "failed", errno: error.errno, reason: `${job.name}: ${error.message}` };
    }
    if (typeof outcome !== "number") return this.#refuse(job, outcome);
    const pid = outcome;
    try {
      this.#children.watch(pid, (exit) => this.#exited(job, exit));
    } catch (error) {
      // Running unwatched would mean that nobody ever learns how it ended.
      trySignal(this.#loop.sys, -pid, signalNumbers.SIGKILL);
      tryReap(this.#loop.sys, pid, { wait: true });
      const reason = `${job.name}: the process cannot be watched: ${reasonOf(error)}`;
      return this.#refuse(job, { code: "failed", errno: 0, reason });
    }
    this.#tell(job.id, { kind: "started", pid });
  }

  #trySpawn(
    job: Job,
    { request, fds, directory }: Context,
    paths: Iterable<Path>,
    argv: StringList,
    env: StringList,
  ): number | Refused {
    const { sys } = this.#loop;
    const descriptors = new Map<number, RawFd>();
    for (const { number, index } of request.descriptors) {
      descriptors.set(number, (fds[index] as Fd).raw); // the decoder checked the index
    }
    const program = { env, descriptors, directory, umask: request.umask };
    let failure: number = errno.ENOENT;
    for (const path of paths) {
      // Looking first is much cheaper than a process that finds out.
      const access = executeAccess(sys, directory, path);
      if (access < 0) {
        failure = worse(failure, -access);
        continue;
      }
      if (targetStatus(sys, directory, path)?.kind === "directory") {
        failure = worse(failure, errno.EACCES);
        continue;
      }
      let result = trySpawn(sys, { ...program, path, argv });
      if (result === -errno.ENOEXEC) {
        // A script without a #! line: execvp(3) and every shell give it to sh.
        result = trySpawn(sys, { ...program, path: "/bin/sh", argv: shellArguments(path, argv) });
      }
      if (result > 0) return result;
      failure = worse(failure, -result);
      if (!continuesSearch.has(-result)) break;
    }
    if (failure === errno.EACCES && executeAccess(sys, directory, ".") === -errno.EACCES) {
      const where = text.decode(request.directoryPath);
      const reason = `${job.name}: cannot start in ${where}: permission denied`;
      return { code: "noDirectory", errno: failure, reason };
    }
    return refusalOf(job.name, failure);
  }

  #exited(job: Job, exit: ChildExit): void {
    this.#tell(job.id, {
      kind: "exited",
      exit: { type: "exited", ...exit },
      success: isSuccess(exit.waitStatus),
    });
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
        case "report":
          this.#loop.log.debug(`job ${id} ended with wait status ${effect.exit.waitStatus}`);
          job.client?.reply(effect.exit, id);
          break;
        case "signal":
          this.#loop.log.debug(`job ${id} gets ${signalName(effect.signal)}`);
          trySignal(this.#loop.sys, -effect.pid, effect.signal);
          break;
        case "release": {
          const { client } = job;
          job.client = undefined;
          client?.end();
          break;
        }
        default:
          effect satisfies never;
      }
    }
  }
}

/** The system's trouble, not the program's. EBADF: a descriptor's number is over our own limit. */
const systemTrouble: ReadonlySet<number> = new Set([
  errno.EAGAIN,
  errno.ENOMEM,
  errno.EMFILE,
  errno.ENFILE,
  errno.EBADF,
]);

/** After these the search in PATH goes on, as in execvp(3). */
const continuesSearch: ReadonlySet<number> = new Set([errno.ENOENT, errno.ENOTDIR, errno.EACCES]);

/** Of all the reasons along PATH, the one to tell: that something was there but not for us. */
function worse(before: number, now: number): number {
  return now === errno.ENOENT || now === errno.ENOTDIR ? before : now;
}

function shellArguments(path: Path, argv: StringList): StringList {
  const [, ...rest] = strings(argv).map(latin1);
  const script = typeof path === "string" ? path : latin1(path);
  return stringList(fromLatin1(["/bin/sh", script, ...rest].map((s) => `${s}\0`).join("")));
}

/** What the client is told, in the words and with the status of a shell. */
function refusalOf(name: string, number: number): Refused {
  const refused = { errno: number };
  if (number === errno.ENOENT || number === errno.ENOTDIR) {
    const what = isPath(new TextEncoder().encode(name)) ? "no such file" : "command not found";
    return { ...refused, code: "notFound", reason: `${name}: ${what}` };
  }
  const why = errnoText(number);
  if (systemTrouble.has(number)) {
    return { ...refused, code: "failed", reason: `${name}: cannot be started: ${why}` };
  }
  return { ...refused, code: "notExecutable", reason: `${name}: cannot be executed: ${why}` };
}
