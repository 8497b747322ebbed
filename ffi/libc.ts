/**
 * The real `Sys`: libc, opened through `bun:ffi`.
 *
 * A function is linked when it is first called, so that a client pays for the dozen calls it makes
 * and not for the daemon's seventy. The handle is never closed: the functions live in it.
 */
import { dlopen, FFIType, type Pointer, read } from "bun:ffi";
import type { Memory } from "./memory.ts";
import { type Parameter, type Sys, type SysName, signatures, symbols } from "./sys.ts";

const library = "libc.so.6";

type Value = number | Memory | null;
type Call = (a?: Value, b?: Value, c?: Value, d?: Value, e?: Value, f?: Value) => number;

function link(symbol: string, args: Parameter[], returns: FFIType): Call {
  const opened = dlopen(library, { [symbol]: { args, returns } });
  return opened.symbols[symbol] as unknown as Call;
}

/** Where this thread's errno lives. prefork calls libc from the main thread only. */
let errnoAddress: Pointer | undefined;
function errno(): number {
  errnoAddress ??= link("__errno_location", [], FFIType.ptr)() as Pointer;
  return read.i32(errnoAddress, 0);
}

/**
 * Turns a failure into a negated errno, read before anything else can run. One function for each
 * number of parameters: a shared one with rest parameters becomes hot within a client's few dozen
 * calls, and starting the JIT compiler's threads for it would cost more than all of them.
 */
const withErrno: readonly ((raw: Call) => Call)[] = [
  (raw) => () => {
    const result = raw();
    return result < 0 ? -errno() : result;
  },
  (raw) => (a) => {
    const result = raw(a);
    return result < 0 ? -errno() : result;
  },
  (raw) => (a, b) => {
    const result = raw(a, b);
    return result < 0 ? -errno() : result;
  },
  (raw) => (a, b, c) => {
    const result = raw(a, b, c);
    return result < 0 ? -errno() : result;
  },
  (raw) => (a, b, c, d) => {
    const result = raw(a, b, c, d);
    return result < 0 ? -errno() : result;
  },
  (raw) => (a, b, c, d, e) => {
    const result = raw(a, b, c, d, e);
    return result < 0 ? -errno() : result;
  },
];

function bindCall(name: SysName): Call {
  const [report, ...parameters] = signatures[name];
  const returns = report === "long" ? FFIType.i64_fast : FFIType.int;
  const raw = link(symbols.get(name) ?? name, parameters, returns);
  if (report === "plain") return raw;
  if (report === "code") return (...values) => -raw(...values);
  errno(); // linked before it is first needed: linking makes system calls of its own
  const bind = withErrno[parameters.length];
  if (!bind) throw new TypeError(`${name} has more parameters than any other call`);
  return bind(raw);
}

/** Builds the table; each entry replaces itself with the linked function on its first call. */
export function openLibc(): Sys {
  const sys: Record<string, Call> = {};
  for (const name in signatures) {
    sys[name] = (...values) => {
      const linked = bindCall(name as SysName);
      sys[name] = linked;
      return linked(...values);
    };
  }
  return sys as unknown as Sys;
}
