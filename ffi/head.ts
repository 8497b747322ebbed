/** The functions of the head (ffi/head/) that a Bun process of ours calls, by their address in this very program. */
import { allocate, type Memory } from "./memory.ts";
import { native } from "./native.ts";

/** A job that has come to a spare and has been taken on: the strings of its command line, each ended by a NUL. */
export interface Arrival {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly count: number;
}

/** `struct arrival` in ffi/head/spare.c: the address of the strings, their size in bytes, their number. */
const arrivalHeaderSize = 24;

/**
 * Links the function at `address` by which an image serves forks; see `pf_serve_forks` in ffi/head/spare.c. It takes the
 * descriptor of the daemon's socket and the `struct prctl_mm_map` of what stays where it is in a child. The process must
 * have one thread. It returns in each child, with the job that has come to it, and in the image never.
 */
export function linkServeForks(address: number): (daemon: number, shown: Memory) => Arrival {
  const opened = native.linkSymbols({
    serve: { ptr: address, args: ["i64_fast", "ptr"], returns: "i64_fast" },
  });
  if (opened instanceof Error) throw opened;
  const serve = opened.symbols["serve"] as (daemon: number, shown: Memory) => number;
  return (daemon, shown) => arrivalAt(serve(daemon, shown));
}

/** Reads a job at an address; as it comes from the head, and as a rehearsal puts it together (`arrivalOf`). */
export function arrivalAt(arrival: number): Arrival {
  const header = new DataView(native.toArrayBuffer(arrival, 0, arrivalHeaderSize));
  const words = Number(header.getBigUint64(0, true));
  const size = Number(header.getBigUint64(8, true));
  const bytes = new Uint8Array(native.toArrayBuffer(words, 0, size));
  return { bytes, count: header.getUint32(16, true) };
}

/** The memory of a job of `count` strings, as the head would leave it. `bytes` must be kept by the caller. */
export function arrivalOf(bytes: Memory, count: number): Memory {
  const arrival = allocate(arrivalHeaderSize);
  arrival.point(0, bytes);
  arrival.view.setBigUint64(8, BigInt(bytes.length), true);
  arrival.view.setUint32(16, count, true);
  return arrival;
}
