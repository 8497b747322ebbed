/** Programs that run under ptrace(2), with one of their system calls failing: see tracer.c. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import * as errno from "../../ffi/errno.ts";
import type { ErrnoName } from "../../ffi/errno-names.ts";
import { buildProgram, nativeCompiler } from "./c-compiler.ts";
import type { Sandbox } from "./sandbox.ts";

/** Why programs cannot be traced here, or nothing. */
export const tracingLacks: string = findLack();

function findLack(): string {
  if (process.arch !== "x64") return "the tracer knows the registers of x86-64 only";
  if (nativeCompiler === undefined) return "the tracer needs cc";
  return "";
}

/**
 * Which calls of a program count: all; those from the first connect(2) on; or those of the code in
 * which it begins, which is a head when there is one.
 */
export type Counted = "start" | "connect" | "entry";

/** Of a process that runs already: all, or those of the children that it makes, until they execute a program. */
export type AttachedTo = "start" | "child";

/** One call that fails. */
export interface CallFault {
  /** The number of the system call on x86-64. */
  readonly call: number;
  /** Counted from 1, among the calls of that number. */
  readonly nth: number;
  readonly error: ErrnoName;
}

export type Tracing =
  | { readonly act: "list" }
  | ({ readonly act: "fail" } & CallFault)
  /** Signals to other processes are noted, and go nowhere. */
  | { readonly act: "watch" };

/** A signal that was on its way to somebody else. */
export interface SentSignal {
  readonly call: number;
  /** The first two arguments of the call: of kill(2), the process and the signal. */
  readonly args: readonly [number, number];
}

/** What the tracer saw. */
export interface Trace {
  /** The numbers of the calls, in their order: of "list". */
  readonly calls: readonly number[];
  /** The call that was to fail was made, and failed. */
  readonly isMet: boolean;
  readonly signals: readonly SentSignal[];
}

const errnoOf: Readonly<Record<ErrnoName, number>> = errno;

/** Runs programs of a sandbox under the tracer. */
export class Tracer {
  readonly #box: Sandbox;
  readonly #path: string;
  #count = 0;

  constructor(box: Sandbox) {
    this.#box = box;
    this.#path = box.path("tracer");
    buildProgram(nativeCompiler ?? "", join(import.meta.dir, "tracer.c"), this.#path);
  }

  /**
   * The command that runs `command`, a path with arguments, as asked; and what is to be called
   * once after its end.
   */
  around(
    command: readonly string[],
    counted: Counted,
    tracing: Tracing,
  ): { readonly command: readonly string[]; readonly takeTrace: () => Trace } {
    const { words, takeTrace } = this.#plan(counted, tracing);
    return { command: [...words, ...command], takeTrace };
  }

  /** The command that does the same to a process that runs already, until it is killed itself. */
  attachedTo(
    pid: number,
    counted: AttachedTo,
    tracing: Tracing,
  ): {
    readonly command: readonly string[];
    readonly isAttached: () => boolean;
    readonly takeTrace: () => Trace;
  } {
    const { words, read, takeTrace } = this.#plan(counted, tracing);
    return {
      command: [...words, "--pid", `${pid}`],
      isAttached: () => read().startsWith("attached\n"),
      takeTrace,
    };
  }

  #plan(counted: Counted | AttachedTo, tracing: Tracing) {
    const report = this.#box.path(`trace-${++this.#count}`);
    const words: string[] = [this.#path, report, counted, tracing.act];
    if (tracing.act === "fail") {
      words.push(`${tracing.call}`, `${tracing.nth}`, `${errnoOf[tracing.error]}`);
    }
    // A tracer that was killed early leaves no report.
    const read = (): string => (existsSync(report) ? readFileSync(report, "latin1") : "");
    const takeTrace = (): Trace => {
      const text = read();
      rmSync(report, { force: true });
      return parseTrace(text);
    };
    return { words, read, takeTrace };
  }
}

function parseTrace(text: string): Trace {
  const calls: number[] = [];
  const signals: SentSignal[] = [];
  let isMet = false;
  for (const line of text.split("\n")) {
    const [kind, ...words] = line.split(" ");
    const [call = -1, first = -1, second = -1] = words.map(Number);
    if (kind === "met") isMet = true;
    else if (kind === "call") calls.push(call);
    else if (kind === "signal") signals.push({ call, args: [first, second] });
  }
  return { calls, isMet, signals };
}
