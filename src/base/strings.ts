/** Lists of byte strings as the kernel keeps them: each ended by a NUL, one behind the other. */

/** `count` NUL-terminated strings in one run of bytes. Never decoded: argv need not be UTF-8. */
export interface StringList {
  readonly count: number;
  readonly bytes: Uint8Array;
}

/** Counts the strings of a run of bytes; one that lacks its last NUL gets it. */
export function stringList(bytes: Uint8Array): StringList {
  const whole = bytes.length === 0 || bytes[bytes.length - 1] === 0 ? bytes : terminated(bytes);
  return { count: countStrings(whole), bytes: whole };
}

/** How many strings end in `bytes`. */
export function countStrings(bytes: Uint8Array): number {
  let count = 0;
  for (let at = bytes.indexOf(0); at >= 0; at = bytes.indexOf(0, at + 1)) count++;
  return count;
}

/** The strings, without their NULs; views, not copies. */
export function strings(list: StringList): Uint8Array[] {
  const all: Uint8Array[] = [];
  let start = 0;
  for (let index = 0; index < list.count; index++) {
    const end = list.bytes.indexOf(0, start);
    all.push(list.bytes.subarray(start, end));
    start = end + 1;
  }
  return all;
}

/** The first string; empty when there is none. */
export function firstString(list: StringList): Uint8Array {
  return list.bytes.subarray(0, Math.max(0, list.bytes.indexOf(0)));
}

/** The list without its first `count` strings. */
export function dropStrings(list: StringList, count: number): StringList {
  let start = 0;
  const dropped = Math.min(count, list.count);
  for (let index = 0; index < dropped; index++) start = list.bytes.indexOf(0, start) + 1;
  return { count: list.count - dropped, bytes: list.bytes.subarray(start) };
}

/** One byte a character: exact both ways, for comparing and showing what may not be UTF-8. */
export function latin1(bytes: Uint8Array): string {
  if (bytes.length > 256) return bufferOf(bytes).toString("latin1");
  // A client handles a few words only: the first use of Buffer, or of a spread, costs it more than this.
  let text = "";
  for (let index = 0; index < bytes.length; index++) {
    text += String.fromCharCode(bytes[index] as number);
  }
  return text;
}

/** Text whose bytes are of no interest where they are not UTF-8. A byte order mark is a character. */
export function utf8(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
const decoder: TextDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A text's bytes. */
export function fromUtf8(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}
const encoder: TextEncoder = new TextEncoder();

/** Writes a text's bytes into `target`, as many as fit; see TextEncoder.encodeInto. */
export function writeUtf8(text: string, target: Uint8Array): { read: number; written: number } {
  return encoder.encodeInto(text, target);
}

/** The inverse of `latin1`. */
export function fromLatin1(text: string): Uint8Array {
  return Buffer.from(text, "latin1");
}

/** The value of `name` in an environment, or undefined; the first one wins, as in getenv(3). */
export function environmentValue({ bytes }: StringList, name: string): Uint8Array | undefined {
  const buffer = bufferOf(bytes);
  const prefix = `${name}=`;
  const isFirst = buffer.toString("latin1", 0, prefix.length) === prefix;
  const found = isFirst ? 0 : buffer.indexOf(`\0${prefix}`, "latin1") + 1;
  if (found === 0 && !isFirst) return undefined;
  const start = found + prefix.length;
  return bytes.subarray(start, bytes.indexOf(0, start));
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function terminated(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(new ArrayBuffer(bytes.length + 1));
  whole.set(bytes);
  return whole;
}
