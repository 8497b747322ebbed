/**
 * What `bun:ffi` is made of. That module is a thin one over this object of the runtime's, but it also builds its
 * table of types and wraps each function when it is loaded, which costs a client more than all the functions it
 * links (a tenth of an empty program's start). `tests/ffi/native.test.ts` compares the two.
 */
import type { Pointer } from "bun:ffi";

interface Native {
  /** Links functions of a library; an `Error` is returned, not thrown. */
  dlopen(
    library: string,
    functions: Readonly<
      Record<string, { readonly args: readonly string[]; readonly returns: string }>
    >,
  ): Error | { readonly symbols: Readonly<Record<string, unknown>> };
  /** The same for functions that are in memory already, each at its `ptr`. */
  linkSymbols(
    functions: Readonly<
      Record<
        string,
        { readonly ptr: number; readonly args: readonly string[]; readonly returns: string }
      >
    >,
  ): Error | { readonly symbols: Readonly<Record<string, unknown>> };
  ptr(buffer: ArrayBuffer): Pointer;
  toArrayBuffer(address: number, offset: number, size: number): ArrayBuffer;
  readonly read: { i32(address: Pointer, offset: number): number };
}

export const native: Native = (Bun as unknown as { readonly FFI: Native }).FFI;
