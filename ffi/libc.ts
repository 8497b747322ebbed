/**
 * The real `Sys`: libc, opened through `bun:ffi`.
 *
 * A function is linked when it is first called, so that a client pays for the dozen calls it makes
 * and not for the daemon's seventy. The handle is never closed: the functions live in it.
 */
import { dlopen, FFIType, type Pointer, read } from "bun:ffi";
import type { Memory } from "./memory.ts";
import { signatureText } from "./signature-text.ts" with { type: "macro" };
import { type Parameter, type Report, type Sys, type SysName, symbols } from "./sys.ts";

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

/** Made by the bundler. */
const signatures: string = signatureText();

function signatureOf(name: SysName): [Report, ...Parameter[]] {
  const start = signatures.indexOf(`;${name}:`) + name.length + 2;
  const words = signatures.slice(start, signatures.indexOf(";", start)).split(" ");
  return words as [Report, ...Parameter[]]; // as `signatureText` has put them there
}

function bindCall(name: SysName): Call {
  const [report, ...parameters] = signatureOf(name);
  const returns = report === "long" ? FFIType.i64_fast : FFIType.int;
  const raw = link(symbols.get(name) ?? name, parameters, returns);
  if (report === "plain") return raw;
  if (report === "code") return (...values) => -raw(...values);
  errno(); // linked before it is first needed: linking makes system calls of its own
  const bind = withErrno[parameters.length];
  if (!bind) throw new TypeError(`${name} has more parameters than any other call`);
  return bind(raw);
}

/** The table; an entry is made when it is first asked for. */
export function openLibc(): Sys {
  const missing = new Proxy(
    {},
    {
      get: (_, name, sys) => {
        if (typeof name === "string" && signatures.includes(`;${name}:`)) {
          return bindInto(sys, name as SysName);
        }
        return undefined;
      },
    },
  );
  return Object.create(missing);
}

function bindInto(sys: object, name: SysName): Call {
  const value = bindCall(name);
  Object.defineProperty(sys, name, { value, writable: true, enumerable: true });
  return value;
}
