/**
 * `prefork run`: hands the context over, and leaves when the daemon has started the command; or,
 * asked to wait, relays signals and ends as the job ended.
 */

import type { Sys } from "../../ffi/sys.ts";
import { answerTimeoutMs } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import { parseWaitStatus } from "../base/wait-status.ts";
import { signalsWhenGone } from "../domain/disconnection.ts";
import type { Fd } from "../os/fd.ts";
import { openNull, replaceFd } from "../os/files.ts";
import { type Interest, waitFor } from "../os/poll.ts";
import { sharesPidNamespace } from "../os/proc.ts";
import { disableCoreDump, exitNow } from "../os/process.ts";
import {
  type Pending,
  readSignal,
  resetSignal,
  signalNumbers,
  trySignal,
  unblockSignals,
} from "../os/signals.ts";
import type { Disconnection, Exited, Refusal, RefusalCode } from "../protocol/messages.ts";
import { type Caller, capture, type JobOptions } from "./capture.ts";
import type { Daemon } from "./connect.ts";
import { Conversation } from "./conversation.ts";
import { ClientError } from "./errors.ts";
import { holdSignals, openHeldSignals, signalForJob } from "./signals.ts";
import type { ClientTerminal } from "./terminal.ts";

const statusOfRefusal: Readonly<Partial<Record<RefusalCode, number>>> = {
  notFound: 127,
  notExecutable: 126,
};

/** The status of timeout(1) when the time was up; unless the job had to be killed. */
export const timedOutStatus = 124;

/** How the client itself is to end. */
export type Ending =
  | { readonly kind: "exit"; readonly code: number }
  | { readonly kind: "signal"; readonly signal: number };

/** Starts a job in `daemon` and leaves it alone. Consumes its socket. @throws ClientError */
export function startJob(sys: Sys, daemon: Daemon, caller: Caller, options: JobOptions): Ending {
  using socket = daemon.socket;
  const conversation = new Conversation(sys, daemon, socket.raw);
  handOver(sys, conversation, caller, options);
  let answer = conversation.receive(answerTimeoutMs);
  while (answer.type === "waiting") answer = conversation.receive(answerTimeoutMs);
  if (answer.type === "refused") throw refusalError(answer);
  if (answer.type !== "accepted") throw conversation.unexpected(answer);
  return { kind: "exit", code: 0 };
}

/**
 * Runs a job in `daemon` to its end. Consumes its socket and `terminal`, which is in order again
 * whatever happens, and lets go of all that the job was given.
 * @throws ClientError when prefork failed.
 */
export function runJob(
  sys: Sys,
  daemon: Daemon,
  caller: Caller,
  options: JobOptions,
  terminal: ClientTerminal | undefined,
): Ending {
  using socket = daemon.socket;
  using _terminal = terminal;
  using signals = openHeldSignals(sys);
  const conversation = new Conversation(sys, daemon, socket.raw);
  handOver(sys, conversation, caller, options, terminal);
  letGo(sys, caller, terminal);
  terminal?.begin();
  const { onDisconnect } = options.policy;
  const parts = { conversation, socket, signals, terminal, onDisconnect };
  const attendance = new Attendance(sys, parts);
  const ending = attendance.attend();
  terminal?.finish(attendance.hasExited);
  return ending;
}

function handOver(
  sys: Sys,
  conversation: Conversation,
  caller: Caller,
  options: JobOptions,
  terminal?: ClientTerminal,
): void {
  using owned = new Scope();
  const { request, fds } = capture(sys, caller, options, {
    owned,
    terminals: terminal?.forJob ?? {},
  });
  conversation.send(request, fds);
}

/**
 * What the job has is the job's alone: who is at the other end of a pipe must see when the job lets
 * go of it. Standard error stays, for what we ourselves may have to say.
 */
function letGo(sys: Sys, { inherited }: Caller, terminal: ClientTerminal | undefined): void {
  for (const number of inherited) sys.close(number);
  if (terminal?.isRelayed) return;
  using nothing = openNull(sys);
  for (const number of [0, 1]) replaceFd(sys, nothing.raw, number);
}

interface AttendanceParts {
  readonly conversation: Conversation;
  readonly socket: Fd;
  readonly signals: Fd;
  readonly terminal: ClientTerminal | undefined;
  readonly onDisconnect: Disconnection;
}

/** The time between handing a job over and its end. */
class Attendance {
  readonly #sys: Sys;
  readonly #conversation: Conversation;
  readonly #terminal: ClientTerminal | undefined;
  readonly #fromDaemon: Interest;
  readonly #fromOutside: Interest;
  readonly #onDisconnect: Disconnection;
  #isAccepted = false;
  /** The job's process group, if we can name it: what the daemon calls it may be another's here. */
  #jobGroup: number | undefined;
  #hasExited = false;
  /** Signals that ask us to end, and came while the daemon had not answered. */
  #impatience = 0;

  constructor(sys: Sys, parts: AttendanceParts) {
    const { conversation, socket, signals, terminal } = parts;
    this.#sys = sys;
    this.#conversation = conversation;
    this.#terminal = terminal;
    this.#onDisconnect = parts.onDisconnect;
    this.#fromDaemon = { fd: socket.raw, for: "reading" };
    this.#fromOutside = { fd: signals.raw, for: "reading" };
  }

  attend(): Ending {
    for (;;) {
      const ready = this.#wait();
      if (ready.includes(this.#fromDaemon)) {
        const ending = this.#listen();
        if (ending) return ending;
      }
      this.#terminal?.act(ready); // first: a signal may stop us, and then nothing is ready any more
      if (ready.includes(this.#fromOutside)) {
        const ending = this.#relayNext();
        if (ending) return ending;
      }
    }
  }

  #wait(): Interest[] {
    const interests = [this.#fromDaemon, this.#fromOutside];
    if (this.#terminal) interests.push(...this.#terminal.interests);
    const ready = waitFor(this.#sys, interests, this.#isAccepted ? -1 : answerTimeoutMs);
    if (ready.length === 0) throw this.#conversation.complaint("silent");
    return ready;
  }

  /** Takes one message of the daemon's. @returns how the job ended, if it has. */
  #listen(): Ending | undefined {
    const message = this.#conversation.take();
    if (!message) throw this.#orphaned();
    switch (message.type) {
      case "accepted":
        if (this.#isAccepted) break;
        this.#isAccepted = true;
        this.#jobGroup = this.#groupOf(message.pid);
        return undefined;
      case "waiting":
        return undefined;
      case "stopped":
        if (!this.#isAccepted) break;
        this.#stop(message.signal);
        return undefined;
      case "exited":
        if (!this.#isAccepted) break;
        this.#hasExited = parseWaitStatus(message.waitStatus).kind === "exited";
        return endingOf(message);
      case "refused":
        throw refusalError(message);
      default:
        break;
    }
    throw this.#conversation.unexpected(message);
  }

  /** The job has ended by itself, not by a signal. */
  get hasExited(): boolean {
    return this.#hasExited;
  }

  #groupOf(pid: number): number | undefined {
    const { daemonPid } = this.#conversation;
    const isKnown = pid > 1 && daemonPid > 0 && sharesPidNamespace(this.#sys, daemonPid);
    return isKnown ? pid : undefined;
  }

  /** The daemon is gone, and nobody will ever tell how the job ends: it is not to go on unheard. */
  #orphaned(): ClientError {
    if (!this.#isAccepted) return this.#conversation.complaint("closed");
    const group = this.#jobGroup;
    const signals = signalsWhenGone[this.#onDisconnect];
    if (group !== undefined) for (const signal of signals) trySignal(this.#sys, -group, signal);
    const isEnded = group !== undefined && signals.length > 0;
    return this.#conversation.complaint(isEnded ? "ended" : "alone");
  }

  /** Takes one signal. @returns an ending when nobody is there to pass it on to. */
  #relayNext(): Ending | undefined {
    const pending = readSignal(this.#sys, this.#fromOutside.fd);
    if (!pending) return undefined;
    const signal = pending.number;
    if (this.#terminal?.isRelayed && this.#isForUs(this.#terminal, signal)) return undefined;
    this.#relay(pending);
    const isInterrupt = signal === signalNumbers.SIGINT || signal === signalNumbers.SIGTERM;
    if (!isInterrupt || this.#isAccepted) return undefined;
    this.#impatience += 1;
    return this.#impatience > 1 ? { kind: "signal", signal } : undefined;
  }

  /** With a terminal of its own the job has its own stops and sizes; ours are for us to act on. */
  #isForUs(terminal: ClientTerminal, signal: number): boolean {
    if (signal === signalNumbers.SIGWINCH) terminal.resize();
    else if (signal === signalNumbers.SIGCONT) terminal.resume();
    else if (isStop(signal)) this.#stopOurselves(signal);
    else return false;
    return true;
  }

  #relay(pending: Pending): void {
    const request = signalForJob(pending);
    if (request) this.#conversation.send(request);
  }

  /** The job has been stopped: so are we, and it goes on when we do. */
  #stop(signal: number): void {
    // We do it to ourselves: nothing but a stop.
    if (!isStop(signal) && signal !== signalNumbers.SIGSTOP) {
      throw this.#conversation.unexpected({ type: "stopped", signal });
    }
    if (this.#terminal?.isRelayed) return; // its shell's business
    // Who was quick has continued us before we could stop, and would not do so again.
    if (this.#relayPending()) return;
    this.#stopOurselves(signal);
    const isContinued = this.#relayPending();
    // In a group whose shell is gone the kernel does not stop us, and nobody would continue the job.
    if (!isContinued) this.#relay({ number: signalNumbers.SIGCONT, origin: "process" });
  }

  /** Passes on what has come by now. @returns whether we were continued. */
  #relayPending(): boolean {
    let isContinued = false;
    for (;;) {
      const pending = readSignal(this.#sys, this.#fromOutside.fd);
      if (!pending) return isContinued;
      this.#relay(pending);
      isContinued ||= pending.number === signalNumbers.SIGCONT;
    }
  }

  #stopOurselves(signal: number): void {
    this.#terminal?.suspend();
    if (signal !== signalNumbers.SIGSTOP) unblockSignals(this.#sys, [signal]);
    trySignal(this.#sys, this.#sys.getpid(), signal); // returns when we are continued
    holdSignals(this.#sys);
    this.#terminal?.resume();
  }
}

function isStop(signal: number): boolean {
  const { SIGTSTP, SIGTTIN, SIGTTOU } = signalNumbers;
  return signal === SIGTSTP || signal === SIGTTIN || signal === SIGTTOU;
}

function endingOf({ waitStatus, timedOut }: Exited): Ending {
  const status = parseWaitStatus(waitStatus);
  const isKilled = status.kind === "signaled" && status.signal === signalNumbers.SIGKILL;
  if (timedOut && !isKilled) return { kind: "exit", code: timedOutStatus };
  if (status.kind === "exited") return { kind: "exit", code: status.code };
  return { kind: "signal", signal: status.signal };
}

/** Ends this process as the job ended: with its code, or by its signal. Never returns. */
export function endAs(sys: Sys, ending: Ending): never {
  if (ending.kind === "exit") exitNow(sys, ending.code);
  const { signal } = ending;
  disableCoreDump(sys); // the job has left one, if any
  resetSignal(sys, signal);
  trySignal(sys, sys.getpid(), signal);
  exitNow(sys, 128 + signal); // a signal whose default is not to end the process
}

function refusalError({ code, reason }: Refusal): ClientError {
  return new ClientError(reason, statusOfRefusal[code]);
}
