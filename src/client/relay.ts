/**
 * `--tty`: the job gets a new pseudo-terminal, and this client carries what goes in and out between
 * it and the caller's own terminal. The daemon is not in the way of the data. See pty(7).
 *
 * We keep the job's side open ourselves: a job may close its terminal and go on, and then the
 * master would say EIO for ever. When the job's leader ends, the kernel hangs the terminal up; what was
 * written before can still be read from the master, and is.
 */
import * as errno from "../../ffi/errno.ts";
import { allocate, copyOf, type Memory } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { Scope } from "../base/scope.ts";
import { check, retry } from "../os/errors.ts";
import { duplicate, type Fd, type RawFd, standard } from "../os/fd.ts";
import { type Interest, waitFor } from "../os/poll.ts";
import { isInForeground } from "../os/proc.ts";
import {
  blockSignals,
  openSignalFd,
  readSignal,
  signalNumbers,
  signalSet,
  trySignal,
  unblockSignals,
} from "../os/signals.ts";
import {
  copyWindowSize,
  endOfInput,
  openPseudoTerminal,
  type PseudoTerminal,
  rawSettings,
  terminalSettings,
  trySetTerminal,
} from "../os/terminal.ts";
import type { JobTerminals } from "./capture.ts";
import type { ClientTerminal } from "./terminal.ts";

/** Bytes carried at once: as much as a pipe takes whole when it says that there is room. */
const chunkSize = 4096;

/** By these somebody tells us to end. */
const endings = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"] as const;

/** A new pseudo-terminal for the job. @throws SystemError when there are no more of them. */
export function openRelay(sys: Sys): ClientTerminal {
  awaitForeground(sys);
  return new Relay(sys, openPseudoTerminal(sys), terminalSettings(sys, standard.input));
}

/**
 * In the background this stops us, as it stops all who would change a terminal from there, until
 * somebody continues us. Where no shell could do that, the kernel lets us go on.
 */
function awaitForeground(sys: Sys): void {
  if (isInForeground(sys)) return;
  unblockSignals(sys, [signalNumbers.SIGTTOU]);
  trySignal(sys, sys.getpid(), signalNumbers.SIGTTOU);
  blockSignals(sys, signalSet(["SIGTTOU"]));
}

class Relay implements ClientTerminal {
  readonly isRelayed = true;
  readonly forJob: JobTerminals;
  readonly #sys: Sys;
  readonly #pty: PseudoTerminal;
  /** The caller's terminal and its settings, raw in between; undefined: our input is none. */
  readonly #outer: { terminal: Fd; settings: Memory; raw: Memory } | undefined;
  readonly #toJob: Pump;
  readonly #fromJob: Pump;

  /** Consumes `pty`. `settings` are those of our standard input, if it is a terminal. */
  constructor(sys: Sys, pty: PseudoTerminal, settings: Memory | undefined) {
    using owned = new Scope();
    owned.use(pty.master);
    owned.use(pty.slave);
    this.#sys = sys;
    this.#pty = pty;
    const { master, slave } = pty;
    if (settings) {
      trySetTerminal(sys, slave.raw, settings);
      const terminal = owned.use(duplicate(sys, standard.input));
      this.#outer = { terminal, settings, raw: rawSettings(settings) };
    }
    const atEnd = copyOf(Uint8Array.of(endOfInput(terminalSettings(sys, slave.raw))));
    this.#toJob = new Pump(sys, { source: standard.input, sink: master.raw, lastWord: atEnd });
    this.#fromJob = new Pump(sys, { source: master.raw, sink: standard.output });
    this.resize();
    this.forJob = {
      controlling: slave.raw,
      ...(this.#outer && {
        guarded: {
          terminal: this.#outer.terminal.raw,
          settings: this.#outer.settings,
          expected: this.#outer.raw,
        },
      }),
    };
    owned.move();
  }

  begin(): void {
    if (!this.#outer) return;
    awaitForeground(this.#sys);
    if (!isInForeground(this.#sys)) return;
    trySetTerminal(this.#sys, this.#outer.terminal.raw, this.#outer.raw);
  }

  get interests(): readonly Interest[] {
    return [...this.#toJob.interests, ...this.#fromJob.interests];
  }

  act(ready: readonly Interest[]): void {
    this.#toJob.act(ready);
    this.#fromJob.act(ready);
    if (this.#fromJob.isBroken) this.#hangUp();
  }

  /** Nobody sees what the job writes any more: for the job its terminal is gone, and it gets SIGHUP. */
  #hangUp(): void {
    this.#toJob.stop();
    this.#pty.slave[Symbol.dispose]();
    this.#pty.master[Symbol.dispose]();
  }

  resize(): void {
    if (this.#fromJob.isBroken) return;
    const from = this.#outer ? standard.input : standard.output;
    copyWindowSize(this.#sys, from, this.#pty.slave.raw);
  }

  suspend(): void {
    this.#restore();
  }

  resume(): void {
    this.begin();
    this.resize();
  }

  /** A slow reader is waited for, but not against the will of who tells us to end. */
  finish(): void {
    using interruptions = openSignalFd(this.#sys, signalSet(endings));
    // What has come by now was for the job.
    while (readSignal(this.#sys, interruptions.raw)) {}
    this.#fromJob.drain({ fd: interruptions.raw, for: "reading" });
  }

  [Symbol.dispose](): void {
    this.#restore();
    this.#outer?.terminal[Symbol.dispose]();
    this.#pty.slave[Symbol.dispose]();
    this.#pty.master[Symbol.dispose]();
  }

  #restore(): void {
    if (!this.#outer || !isInForeground(this.#sys)) return;
    trySetTerminal(this.#sys, this.#outer.terminal.raw, this.#outer.settings);
  }
}

/** Carries bytes from one descriptor to another when they are ready for it. */
class Pump {
  readonly #sys: Sys;
  readonly #source: Interest;
  readonly #sink: Interest;
  readonly #buffer: Memory = allocate(chunkSize);
  /** What has been read and not been written yet. */
  #rest: Memory | undefined;
  /** What is written once when there is nothing more to be read. */
  #lastWord: Memory | undefined;
  #isOpen = true;
  #isBroken = false;

  constructor(sys: Sys, parts: { source: RawFd; sink: RawFd; lastWord?: Memory }) {
    this.#sys = sys;
    this.#source = { fd: parts.source, for: "reading" };
    this.#sink = { fd: parts.sink, for: "writing" };
    this.#lastWord = parts.lastWord;
  }

  /** Nobody is there to take what was read. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  stop(): void {
    this.#isOpen = false;
    this.#rest = undefined;
  }

  get interests(): readonly Interest[] {
    if (this.#rest) return [this.#sink];
    return this.#isOpen ? [this.#source] : [];
  }

  act(ready: readonly Interest[]): void {
    if (ready.includes(this.#source)) this.#read();
    else if (ready.includes(this.#sink)) this.#write();
  }

  /** Carries what is there by now, however long the sink takes, or until `interruption`. */
  drain(interruption: Interest): void {
    while (this.#rest || waitFor(this.#sys, this.interests, 0).length > 0) {
      if (!this.#rest) {
        this.#read();
        continue;
      }
      const ready = waitFor(this.#sys, [this.#sink, interruption], -1);
      if (ready.includes(interruption)) return;
      this.act(ready);
    }
  }

  #read(): void {
    const { fd } = this.#source;
    const size = retry(this.#sys.read, fd, this.#buffer, chunkSize);
    if (size === -errno.EAGAIN) return;
    if (size > 0) {
      this.#rest = copyOf(this.#buffer.subarray(0, size));
      return;
    }
    // The end of a file, or the EIO of a terminal that has been hung up.
    if (size !== -errno.EIO) check(size, "read");
    this.#isOpen = false;
    this.#rest = this.#lastWord;
    this.#lastWord = undefined;
  }

  #write(): void {
    const rest = this.#rest;
    if (!rest) return;
    const size = retry(this.#sys.write, this.#sink.fd, rest, rest.length);
    if (size === -errno.EAGAIN) return;
    if (size < 0) {
      this.#isBroken = true;
      return this.stop();
    }
    this.#rest = size < rest.length ? rest.from(size) : undefined;
  }
}
