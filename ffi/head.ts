/** The function of the head (ffi/head/) that a Bun process of ours calls, by its address in this very program. */
import { FFIType, JSCallback } from "bun:ffi";
import { allocate, type Memory } from "./memory.ts";
import { native } from "./native.ts";

/** What the head calls while it serves jobs, in a process of the job's own that borrows this one's memory. */
export interface Lender {
  /** Runs the command that `words` name: strings, each ended by a NUL. */
  readonly run: (words: Uint8Array) => Outcome;
  /** What is to be said on standard error when the output of the last run could not be written. */
  readonly complaintAbout: (errno: number) => Memory;
}

/** How a command ends, and what is to be written then. */
export interface Outcome {
  readonly status: number;
  readonly output: Memory;
  readonly complaint: Memory;
}

/** `struct outcome` in ffi/head/lender.c: two texts, each an address and a size. */
const outcomeSize = 32;
const outputAt = 0;
const complaintAt = 16;

/**
 * Links the function at `address`, `pf_lend` in ffi/head/lender.c. It serves jobs from the daemon's socket until that is
 * closed, and never returns. `shown` is the `struct prctl_mm_map` of this process, which must have one thread.
 */
export function linkLend(address: number): (shown: Memory, lender: Lender) => void {
  const opened = native.linkSymbols({
    lend: { ptr: address, args: ["ptr", "ptr", "ptr"], returns: "void" },
  });
  if (opened instanceof Error) throw opened;
  const lend = opened.symbols["lend"] as (shown: Memory, run: number, outcome: Memory) => void;
  return (shown, lender) => {
    const { run, outcome } = commandOf(lender);
    lent.push(shown, run, outcome);
    lend(shown, Number(run.ptr), outcome);
  };
}

/** What the head has the addresses of, for as long as this process serves. */
const lent: unknown[] = [];

/** A function as `command` in ffi/head/lender.c has it, and the memory for what it has to say. */
export function commandOf(lender: Lender): { run: JSCallback; outcome: Memory } {
  const outcome = allocate(outcomeSize);
  const put = (at: number, text: Memory): void => {
    outcome.point(at, text);
    outcome.view.setBigUint64(at + 8, BigInt(text.length), true);
  };
  const command = (words: number, size: number, count: number): number => {
    if (count === 0) {
      put(complaintAt, lender.complaintAbout(size));
      return 0;
    }
    const { status, output, complaint } = lender.run(
      new Uint8Array(native.toArrayBuffer(words, 0, size)),
    );
    put(outputAt, output);
    put(complaintAt, complaint);
    return status;
  };
  const { i64_fast: whole, ptr } = FFIType;
  const run = new JSCallback(command, { args: [ptr, whole, whole], returns: whole });
  return { run, outcome };
}
