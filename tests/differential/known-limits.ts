/**
 * Contexts in which a job is known to differ, for reasons that prefork cannot help: the client is a
 * Bun program, and Bun has acted before its first line runs. They are tested, too: one that does not
 * differ any more belongs among the fixed cases, and the generator must leave it out no longer.
 */
import type { Aspect } from "./comparison.ts";
import { type Context, plain } from "./context.ts";

export interface KnownLimit {
  readonly name: string;
  readonly context: Context;
  readonly differing: readonly Aspect[];
}

const terminal: Partial<Context> = {
  things: [{ kind: "terminal", line: "\n" }],
  descriptors: [{ number: 0, thing: 0 }],
};

const byName: Readonly<Record<string, readonly [Partial<Context>, ...Aspect[]]>> = {
  // Bun handles faults from its start, and nothing tells what was done about them before.
  "ILL, TRAP, ABRT, BUS, SEGV and SYS ignored": [{ ignored: [4, 5, 6, 7, 11, 31] }, "signals"],
  // The garbage collector's threads are stopped with it. JavaScriptCore says so on stderr.
  "SIGPWR ignored": [{ ignored: [30] }, "descriptors", "signals", "things", "files"],
  "SIGPWR blocked": [{ blocked: [30] }, "signals"],
  // At a terminal, Bun handles them to leave the terminal as it was.
  "INT and TERM ignored at a terminal": [{ ...terminal, ignored: [2, 15] }, "signals"],
  // bun:ffi compiles its calls.
  "no JIT": [{ environment: ["BUN_JSC_useJIT=0"] }, "end"],
  // The binary becomes Bun itself.
  "a binary that is to be Bun": [{ environment: ["BUN_BE_BUN=1"] }, "end"],
};

export const knownLimits: readonly KnownLimit[] = Object.entries(byName).map(
  ([name, [odd, ...differing]]) => ({ name, context: { ...plain, ...odd }, differing }),
);
