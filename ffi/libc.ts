/**
 * The real `Sys`: libc, opened through `bun:ffi`.
 *
 * A function is linked when it is first called, so that a client pays for the dozen calls it makes
 * and not for the daemon's seventy. The handle is never closed: the functions live in it.
 */
import { dlopen, FFIType, type Pointer, read } from "bun:ffi";
import type { Memory } from "./memory.ts";
import { type Signature, type Sys, type SysName, signatures } from "./sys.ts";

const library = "libc.so.6";

const ffiTypes = { int: FFIType.int, long: FFIType.i64, mem: FFIType.ptr } as const;

type RawCall = (...values: (number | Pointer | null)[]) => number;

function link(symbol: string, parameters: readonly FFIType[], returns: FFIType): RawCall {
  const opened = dlopen(library, { [symbol]: { args: [...parameters], returns } });
  return opened.symbols[symbol] as RawCall;
}

/** Where this thread's errno lives. prefork calls libc from the main thread only. */
let errnoAddress: Pointer | undefined;
function errno(): number {
  errnoAddress ??= link("__errno_location", [], FFIType.ptr)() as Pointer;
  return read.i32(errnoAddress, 0);
}

type Argument = number | Memory | null;

function addressOf(value: Argument): number | Pointer | null {
  return value === null || typeof value === "number" ? value : value.address;
}

function bindCall(name: SysName, { parameters, report, symbol }: Signature): RawCallOfMemory {
  const returns = report === "long" || symbol === "syscall" ? FFIType.i64_fast : FFIType.int;
  const raw = link(
    symbol ?? name,
    parameters.map((parameter) => ffiTypes[parameter]),
    returns,
  );
  if (report === "int" || report === "long") errno(); // linked before it is first needed
  return (...values) => {
    const result = raw(...values.map(addressOf));
    if (report === "plain") return result;
    if (report === "code") return -result;
    return result < 0 ? -errno() : result;
  };
}

type RawCallOfMemory = (...values: Argument[]) => number;

/** Builds the table; each entry replaces itself with the linked function on its first call. */
export function openLibc(): Sys {
  const sys: Record<string, RawCallOfMemory> = {};
  for (const name of Object.keys(signatures) as SysName[]) {
    sys[name] = (...values) => {
      const linked = bindCall(name, signatures[name]);
      sys[name] = linked;
      return linked(...values);
    };
  }
  return sys as unknown as Sys;
}
