/**
 * The real `Sys`: libc, opened through what `bun:ffi` is made of.
 *
 * A function is linked when it is first called, so that a client pays for the dozen calls it makes
 * and not for the daemon's seventy. The handle is never closed: the functions live in it.
 */
import type { Pointer } from "bun:ffi";
import type { Memory } from "./memory.ts";
import { native } from "./native.ts";
import { signatureText } from "./signature-text.ts" with { type: "macro" };
import type { Parameter, Report, Sys } from "./sys.ts";

const library = "libc.so.6";

type Value = number | Memory | null;
type Call = (a?: Value, b?: Value, c?: Value, d?: Value, e?: Value, f?: Value) => number;

function link(symbol: string, args: readonly Parameter[], returns: string): Call {
  const opened = native.dlopen(library, { [symbol]: { args, returns } });
  if (opened instanceof Error) throw opened;
  return opened.symbols[symbol] as Call;
}

/** Where this thread's errno lives. prefork calls libc from the main thread only. */
let errnoAddress: Pointer | undefined;
function errno(): number {
  errnoAddress ??= link("__errno_location", [], "ptr")() as Pointer;
  return native.read.i32(errnoAddress, 0);
}

/** Turns a failure into a negated errno, read before anything else can run. Without rest parameters, which cost an array. */
function withErrno(raw: Call): Call {
  return (a, b, c, d, e, f) => {
    const result = raw(a, b, c, d, e, f);
    return result < 0 ? -errno() : result;
  };
}

/**
 * The line of a call in the table, which the bundler has put here as a text: the function's name, how it reports,
 * its parameters; undefined when there is no such call.
 */
function signatureOf(
  name: string,
  table: string = signatureText(),
): [symbol: string, report: Report, ...parameters: Parameter[]] | undefined {
  const found = table.indexOf(`;${name}:`);
  if (found < 0) return undefined;
  const start = found + name.length + 2;
  const words = table.slice(start, table.indexOf(";", start)).split(" ");
  return words as [string, Report, ...Parameter[]]; // as `signatureText` has put them there
}

function bindCall(name: string): Call | undefined {
  const signature = signatureOf(name);
  if (!signature) return undefined;
  const [symbol, report, ...parameters] = signature;
  const raw = link(symbol, parameters, report === "long" ? "i64_fast" : "int");
  if (report === "plain") return raw;
  if (report === "code") return (...values) => -raw(...values);
  errno(); // linked before it is first needed: linking makes system calls of its own
  return withErrno(raw);
}

/** The table; an entry is made when it is first asked for. */
export function openLibc(): Sys {
  const missing = new Proxy(
    {},
    {
      get: (_, name, sys) => {
        const value = typeof name === "string" ? bindCall(name) : undefined;
        if (value) {
          Object.defineProperty(sys, name, { value, writable: true, enumerable: true });
        }
        return value;
      },
    },
  );
  return Object.create(missing);
}
