/**
 * Contexts in which a job is known to differ, for reasons that prefork cannot help, where the client is a Bun program:
 * Bun has acted before its first line runs. They are tested, too: one that does not differ any more belongs among the
 * fixed cases. Through the client of the head all but the first are as if run directly.
 */

import { isClientOfBun } from "./client.ts";
import type { Aspect } from "./comparison.ts";
import { type Context, plain } from "./context.ts";

export interface KnownLimit {
  readonly name: string;
  readonly context: Context;
  /** In what it differs through the client that is tested. */
  readonly differing: readonly Aspect[];
}

/** The binary becomes Bun itself, whatever its name. */
const becomesBun = "a binary that is to be Bun";

const terminal: Partial<Context> = {
  things: [{ kind: "terminal", line: "\n" }],
  descriptors: [{ number: 0, thing: 0 }],
};

const byName: Readonly<Record<string, readonly [Partial<Context>, ...Aspect[]]>> = {
  [becomesBun]: [{ environment: ["BUN_BE_BUN=1"] }, "end"],
  // Bun handles faults from its start, and nothing tells what was done about them before.
  "ILL, TRAP, ABRT, BUS, SEGV and SYS ignored": [{ ignored: [4, 5, 6, 7, 11, 31] }, "signals"],
  // These two libc keeps for itself, and its functions do not touch them.
  "signals 32 and 33 ignored and blocked": [{ ignored: [32, 33], blocked: [32, 33] }, "signals"],
  // The garbage collector's threads are stopped with it. JavaScriptCore says so on stderr.
  "SIGPWR ignored": [{ ignored: [30] }, "descriptors", "signals", "things", "files"],
  "SIGPWR blocked": [{ blocked: [30] }, "signals"],
  // At a terminal, Bun handles them to leave the terminal as it was.
  "INT and TERM ignored at a terminal": [{ ...terminal, ignored: [2, 15] }, "signals"],
  // bun:ffi compiles its calls.
  "no JIT": [{ environment: ["BUN_JSC_useJIT=0"] }, "end"],
  "a setting that JavaScriptCore does not know": [{ environment: ["BUN_JSC_nope=1"] }, "end"],
  "a module to be loaded for the debugger": [{ environment: ["BUN_INSPECT_PRELOAD=x"] }, "end"],
  // What Bun needs to start.
  "128 KiB of stack": [{ limits: [{ resource: "STACK", soft: 2 ** 17, hard: "kept" }] }, "end"],
  "1 GiB of address space": [{ limits: [{ resource: "AS", soft: 2 ** 30, hard: "kept" }] }, "end"],
  "1 GiB of data": [{ limits: [{ resource: "DATA", soft: 2 ** 30, hard: "kept" }] }, "end"],
  "eight descriptors": [{ limits: [{ resource: "NOFILE", soft: 8, hard: 8 }] }, "end"],
};

export const knownLimits: readonly KnownLimit[] = Object.entries(byName).map(
  ([name, [odd, ...differing]]) => ({
    name,
    context: { ...plain, ...odd },
    differing: isClientOfBun || name === becomesBun ? differing : [],
  }),
);
