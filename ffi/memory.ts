/**
 * Memory that libc may see: the one way to make it.
 *
 * A small typed array lives inside the garbage-collected heap and moves when the function that uses
 * it is optimized; an address taken earlier then points at dead memory. An explicit `ArrayBuffer`
 * never moves. So every struct, string and buffer handed to libc is a `Memory`: it is built on an
 * `ArrayBuffer` of its own, knows its address, and keeps alive what its pointers point at. The
 * calls of `sys.ts` take a `Memory` and nothing else, so a bare address cannot be passed.
 */
import type { Pointer } from "bun:ffi";
import { native } from "./native.ts";

/** A block of bytes at a fixed address, for as long as it is referenced. */
export class Memory extends Uint8Array<ArrayBuffer> {
  readonly view: DataView<ArrayBuffer>;
  /** What the pointers stored in this block refer to, by the offset of the pointer. */
  #referents: Map<number, Memory> | undefined;

  constructor(buffer: ArrayBuffer, offset: number, size: number) {
    super(buffer, offset, size);
    this.view = new DataView(buffer, offset, size);
  }

  /** What `subarray` and `slice` return is for reading here, not for libc. */
  static get [Symbol.species](): Uint8ArrayConstructor {
    return Uint8Array;
  }

  get address(): Pointer {
    return (native.ptr(this.buffer) + this.byteOffset) as Pointer;
  }

  /** The same bytes from `offset` on; shares the block and keeps it alive. */
  from(offset: number): Memory {
    return new Memory(this.buffer, this.byteOffset + offset, this.length - offset);
  }

  /** Stores the address of `target` at `offset` and keeps `target` alive with this block. */
  point(offset: number, target: Memory | null): void {
    this.view.setBigUint64(offset, BigInt(target?.address ?? 0), true);
    this.#referents ??= new Map();
    if (target) this.#referents.set(offset, target);
    else this.#referents.delete(offset);
  }
}

/** A zeroed block of `size` bytes. `ptr()` refuses an empty buffer, so one byte is the least. */
export function allocate(size: number): Memory {
  return new Memory(new ArrayBuffer(Math.max(size, 1)), 0, size);
}

/** A copy of `bytes`. */
export function copyOf(bytes: Uint8Array): Memory {
  const memory = allocate(bytes.length);
  memory.set(bytes);
  return memory;
}

/**
 * A NUL-terminated copy of a text (as UTF-8) or of bytes (as they are).
 * @throws TypeError when it holds a NUL itself: libc would silently see less than was meant.
 */
export function cString(text: string | Uint8Array): Memory {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  if (bytes.includes(0)) throw new TypeError("a C string cannot hold a NUL byte");
  const memory = allocate(bytes.length + 1);
  memory.set(bytes);
  return memory;
}

/** A NULL-terminated array of pointers to `strings`, as `execve` takes it. */
export function pointerArray(strings: readonly Memory[]): Memory {
  const array = allocate((strings.length + 1) * 8);
  for (const [index, string] of strings.entries()) array.point(index * 8, string);
  return array;
}

/**
 * A NULL-terminated array of pointers into one block that holds `count` NUL-terminated strings,
 * one behind the other: argv and envp as they came over the wire, without a copy.
 */
export function stringTable(block: Memory, count: number): Memory {
  const array = allocate((count + 1) * 8);
  const base = BigInt(block.address);
  let start = 0;
  for (let index = 0; index < count; index++) {
    array.view.setBigUint64(index * 8, base + BigInt(start), true);
    start = block.indexOf(0, start) + 1;
  }
  if (count > 0) array.point(0, block); // the first pointer is the block's own address
  return array;
}
