/** A bounded reader and a writer for the fields of a body: little endian, nothing implied. */

import { fromUtf8, utf8 } from "../base/strings.ts";

/** What a peer sent cannot be understood; `reason` says why, for the log and for the peer. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** Reads the fields of one body in order. Every read checks the bound before it touches a byte. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  /** A 64-bit count; what is not a safe integer is refused. */
  u64(): number {
    const value = this.word64();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ProtocolError("a number is too large");
    return Number(value);
  }

  /** Any 64 bits. */
  word64(): bigint {
    return this.#view.getBigUint64(this.#advance(8), true);
  }

  /** A view of the next `size` bytes: no copy, no allocation. */
  bytes(size: number): Uint8Array {
    const start = this.#advance(size);
    return this.#bytes.subarray(start, start + size);
  }

  /** Bytes behind their own 32-bit size. */
  sized(): Uint8Array {
    return this.bytes(this.u32());
  }

  text(): string {
    return utf8(this.sized());
  }

  #advance(size: number): number {
    if (size > this.remaining) throw new ProtocolError("the body is shorter than it says");
    const start = this.#at;
    this.#at += size;
    return start;
  }
}

/** Collects the fields of one body; grows as needed. */
export class Writer {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #at = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(new ArrayBuffer(capacity));
    this.#view = new DataView(this.#bytes.buffer);
  }

  u16(value: number): this {
    const at = this.#advance(2); // first: it may replace the view
    this.#view.setUint16(at, value, true);
    return this;
  }

  u32(...values: number[]): this {
    let at = this.#advance(4 * values.length);
    for (const value of values) {
      this.#view.setUint32(at, value, true);
      at += 4;
    }
    return this;
  }

  u64(value: number): this {
    return this.word64(BigInt(value));
  }

  /** Any 64 bits. */
  word64(value: bigint): this {
    const at = this.#advance(8);
    this.#view.setBigUint64(at, value, true);
    return this;
  }

  bytes(value: Uint8Array): this {
    const at = this.#advance(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  sized(value: Uint8Array): this {
    return this.u32(value.length).bytes(value);
  }

  text(value: string): this {
    return this.sized(fromUtf8(value));
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#at);
  }

  #advance(size: number): number {
    const start = this.#at;
    const end = start + size;
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(new ArrayBuffer(Math.max(end, this.#bytes.length * 2)));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#at = end;
    return start;
  }
}
