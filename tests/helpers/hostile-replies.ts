/**
 * What a daemon that has gone mad might answer: cases by seed and index, each a client's options and
 * the replies it gets, and what may come of it. Written without the code under test.
 */
import { constants } from "node:os";
import type { End } from "./sandbox.ts";
import { fields, frame, type HeaderFields, refusalCodes, wire } from "./seqpacket.ts";

/** In a client's environment: the number of its case. */
export const caseVariable = "PREFORK_CASE";

/** One datagram. */
export interface Reply {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** So many descriptors come with it: the ends of pipes to which nobody writes. */
  readonly fdCount: number;
  /** The first field of the body becomes the client's own process number. */
  readonly isOwnPid: boolean;
}

/** Where the daemon goes away by itself. */
export type Departure = "before the request" | "after the replies";

export interface HostileCase {
  readonly index: number;
  /** Of the client, which waits for the end of its job or leaves. */
  readonly waits: boolean;
  readonly onDisconnect: keyof typeof signalsWhenGone;
  readonly departure: Departure;
  readonly replies: readonly Reply[];
}

/** What may come of a case. */
export interface Allowed {
  /** Status 125, and one line that says why. */
  failure: boolean;
  /** Other ends, each with or without a line. */
  readonly ends: Map<End, "silent" | "line">;
  /** The wait status told was of no process that ever ended: any end will do. */
  anyEnd: boolean;
  /** The daemon has said that the job runs. */
  isAccepted: boolean;
  /** The only signals that may be sent to others: kill(2) of the group of this job, with these. */
  readonly jobs: Set<number>;
  readonly signals: readonly number[];
}

/** What the job's group gets when the daemon is gone. */
const signalsWhenGone = { hangup: [1, 18], term: [15, 18], kill: [9], continue: [] } as const;

/** A client must be able to read a message of this size. */
const readBytesMin = 8192;

const pidMax = 0x7fff_ffff;
const types: readonly number[] = [
  ...[0, wire.run, wire.signal, wire.ping, wire.status, wire.stop],
  ...[wire.accepted, wire.exited, wire.refused, wire.pong, wire.report, wire.stopped],
  ...[wire.waiting, 71, 128, 129, 130, 131, 132, 133, 138, 139, 0xffff],
];
const edges: readonly number[] = [0, 1, 2, 3, 4, 23, 24, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
const stops: readonly number[] = [19, 20, 21, 22]; // SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU

/** Numbers by chance, the same ones for the same seed (splitmix32). */
class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** A number of 32 bits. */
  u32(): number {
    this.#state = (this.#state + 0x9e37_79b9) | 0;
    let mixed = this.#state ^ (this.#state >>> 16);
    mixed = Math.imul(mixed, 0x21f0_aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a_2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  below(bound: number): number {
    return this.u32() % bound;
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  among<Value>(values: readonly Value[]): Value {
    return values[this.below(values.length)] as Value; // the index is in range
  }

  number(): number {
    return this.once(2) ? this.among(edges) : this.u32() >>> this.below(32);
  }

  bytes(size: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(size).map(() => this.below(256));
  }
}

const plain = (type: number, body: Uint8Array): Reply => ({
  bytes: frame(type, body),
  fdCount: 0,
  isOwnPid: false,
});
const exited = (status: number, timedOut = 0): Reply =>
  plain(wire.exited, fields(status, 0, 0, 0, 0, 0, 0, timedOut));

/** Replies as a daemon gives them, each cut at every byte: these cases come first. */
const whole: readonly (readonly Reply[])[] = [
  [plain(wire.accepted, fields(4000))],
  [plain(wire.accepted, fields(4000)), exited(0)],
  [plain(wire.refused, fields(refusalCodes.notFound, 2, "x: command not found"))],
  [plain(wire.accepted, fields(4000)), plain(wire.stopped, fields(20))],
];
const cuts: readonly (readonly Reply[])[] = whole.flatMap((replies) => {
  const last = replies.at(-1) as Reply; // there is one in each
  const pieces = Array.from(last.bytes, (_, size) => last.bytes.slice(0, size));
  // Also with a header that does not tell.
  const told = pieces.slice(wire.headerSize).map((piece) => piece.slice(wire.headerSize));
  const cut = pieces.map((bytes) => ({ ...last, bytes }));
  const shrunk = told.map((body) => reframed(last, body, {}));
  return [...cut, ...shrunk].map((reply) => [...replies.slice(0, -1), reply]);
});

/** The case of this number. */
export function hostileCase(seed: number, index: number): HostileCase {
  const chance = new Chance(Math.imul(seed, 0x85eb_ca6b) ^ Math.imul(index + 1, 0xc2b2_ae35));
  const onDisconnect = chance.among(Object.keys(signalsWhenGone) as HostileCase["onDisconnect"][]);
  const common = { index, waits: !chance.once(5), onDisconnect };
  const cut = cuts[index];
  if (cut) return { ...common, waits: true, departure: "after the replies", replies: cut };
  const departure = chance.once(20) ? "before the request" : "after the replies";
  return { ...common, departure, replies: disturb(chance, conversation(chance)) };
}

/** A conversation as it might be. */
function conversation(chance: Chance): Reply[] {
  const replies: Reply[] = [];
  const notices = chance.once(30) ? 2000 : chance.below(3);
  for (let count = 0; count < notices; count++) replies.push(plain(wire.waiting, new Uint8Array()));
  if (chance.once(5)) {
    const code = chance.once(3) ? chance.number() : chance.among(Object.values(refusalCodes));
    const reason = chance.once(10) ? "long\n".repeat(chance.below(12_000)) : "x: why not";
    replies.push(plain(wire.refused, fields(code, chance.number(), reason)));
    return replies;
  }
  const isOwnPid = chance.once(12);
  const pid = chance.once(4) ? chance.number() : 2 + chance.below(4_000_000);
  replies.push({ ...plain(wire.accepted, fields(pid)), isOwnPid });
  if (chance.once(4)) {
    const signal = chance.once(3) ? chance.number() : chance.among(stops);
    replies.push(plain(wire.stopped, fields(signal)));
  }
  if (chance.once(6)) return replies; // it goes away instead
  const status = chance.once(3) ? chance.below(65_536) : chance.among([0, 0x300, 9, 15, 0x7d00]);
  replies.push(exited(status, chance.once(8) ? 1 : 0));
  return replies;
}

/** The same, with something wrong in most cases. */
function disturb(chance: Chance, replies: Reply[]): Reply[] {
  const at = (): number => chance.below(replies.length);
  for (let times = chance.below(3); times > 0 && replies.length > 0; times--) {
    const place = at();
    const reply = replies[place] as Reply; // the index is in range
    const kind = chance.below(14);
    if (kind === 0) replies.splice(place, 1);
    else if (kind === 1) replies.splice(place, 0, reply);
    else if (kind === 2) replies.splice(at(), 0, ...replies.splice(place, 1));
    else if (kind <= 4) replies.splice(place, 0, stranger(chance));
    else replies[place] = mutate(chance, reply);
  }
  return replies;
}

/** A message of any type with any body. */
function stranger(chance: Chance): Reply {
  return plain(chance.among(types), chance.bytes(chance.below(80)));
}

function mutate(chance: Chance, reply: Reply): Reply {
  const { bytes } = reply;
  switch (chance.below(8)) {
    case 0: {
      const flipped = bytes.slice();
      for (let times = 1 + chance.below(3); times > 0 && flipped.length > 0; times--) {
        const at = chance.below(flipped.length);
        flipped[at] = (flipped[at] ?? 0) ^ (1 << chance.below(8));
      }
      return { ...reply, bytes: flipped };
    }
    case 1:
      return { ...reply, bytes: bytes.slice(0, chance.below(bytes.length + 1)) };
    case 2:
      return { ...reply, bytes: chance.bytes(chance.below(300)) };
    case 3: {
      // Fields of tomorrow, or bytes that were not announced.
      const size = chance.once(4) ? 60_000 + chance.below(60_000) : 1 + chance.below(64);
      const body = new Uint8Array([...bytes.slice(wire.headerSize), ...new Uint8Array(size)]);
      const bodySize = chance.once(2) ? body.length : Math.max(0, bytes.length - wire.headerSize);
      return reframed(reply, body, { bodySize });
    }
    case 4: {
      const name = chance.among(["magic", "major", "flags", "bodySize", "fdCount", "id"] as const);
      return reframed(reply, bytes.slice(wire.headerSize), { [name]: chance.number() });
    }
    case 5: {
      const fdCount = chance.among([1, 2, 3, 253]);
      const told = chance.once(3) ? chance.number() : fdCount;
      const flags = chance.once(3) ? wire.bodyInMemfd : 0;
      return {
        ...reframed(reply, bytes.slice(wire.headerSize), { fdCount: told, flags }),
        fdCount,
      };
    }
    case 6:
      return reframed(reply, chance.bytes(Math.max(0, bytes.length - wire.headerSize)), {});
    default:
      return { ...reply, bytes: frame(chance.among(types), bytes.slice(wire.headerSize)) };
  }
}

function reframed(reply: Reply, body: Uint8Array, header: HeaderFields): Reply {
  const { bytes } = reply;
  const type = bytes.length >= 8 ? new DataView(bytes.buffer).getUint16(6, true) : wire.waiting;
  return { ...reply, bytes: frame(type, body, header) };
}

/** What a client of the same version may make of a case. */
export function allowedFor({ waits, onDisconnect, departure, replies }: HostileCase): Allowed {
  const allowed: Allowed = {
    failure: false,
    ends: new Map(),
    anyEnd: false,
    isAccepted: false,
    jobs: new Set(),
    signals: signalsWhenGone[onDisconnect],
  };
  const isOver =
    departure === "after the replies" && replies.some((reply) => take(reply, allowed, waits));
  if (!isOver) allowed.failure = true; // the daemon is gone
  return allowed;
}

/** Follows one reply. @returns whether the client ends by it, whatever it makes of it. */
function take({ bytes, fdCount, isOwnPid }: Reply, allowed: Allowed, waits: boolean): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const fail = (): true => {
    allowed.failure = true;
    return true;
  };
  if (bytes.length < wire.headerSize) return fail();
  const field = (at: number): number => view.getUint32(at, true);
  if (field(0) !== wire.magic || view.getUint16(4, true) !== wire.major) return fail();
  const [type, flags, bodySize] = [view.getUint16(6, true), field(8), field(12)];
  const size = bytes.length - wire.headerSize;
  const fdsTold = field(16);
  if ((fdsTold !== fdCount && fdsTold > 0) || (flags & wire.bodyInMemfd) !== 0) return fail();
  // A daemon has no reason for these; who does not look at them goes on.
  if (flags !== 0 || fdCount > 0 || bytes.length > readBytesMin) allowed.failure = true;
  if (bodySize !== size) {
    if (type !== wire.refused) return fail();
    allowed.failure = true; // its reason is told as far as it came
  }
  const number = (index: number): number => field(wire.headerSize + index * 4);
  const { isAccepted } = allowed;
  switch (type) {
    case wire.waiting:
      return false;
    case wire.accepted: {
      if (size < 4) return fail();
      const pid = number(0);
      // Who does not wait need not look at the number.
      if (!waits) allowed.ends.set(0, "silent");
      if (isAccepted || (!isOwnPid && (pid < 1 || pid > pidMax))) return fail();
      allowed.isAccepted = true;
      if (isOwnPid || pid === 1)
        allowed.failure = true; // nobody's job
      else allowed.jobs.add(pid);
      return !waits;
    }
    case wire.stopped:
      return !waits || size < 4 || !isAccepted || !stops.includes(number(0)) ? fail() : false;
    case wire.exited: {
      if (!waits || size < 32 || !isAccepted) return fail();
      // Counts of 64 bits that no process can reach.
      if ([2, 4, 6].some((index) => number(index) > 0x1f_ffff)) allowed.failure = true;
      end(allowed, number(0), number(7) !== 0);
      return true;
    }
    case wire.refused: {
      if (size < 12) return fail();
      const isWhole = number(2) <= size - 12;
      if (!isWhole) allowed.failure = true;
      const { notFound, notExecutable } = refusalCodes;
      const code = number(0);
      const status = code === notFound ? 127 : code === notExecutable ? 126 : 125;
      allowed.ends.set(status, "line");
      return true;
    }
    default:
      return fail();
  }
}

/** The end of a client whose job has ended so. */
function end(allowed: Allowed, waitStatus: number, isTimedOut: boolean): void {
  const signal = waitStatus & 0x7f;
  if (signal > 64) allowed.failure = true; // there is no such signal
  if (isTimedOut && signal !== 9) {
    allowed.ends.set(124, "silent");
    return;
  }
  if (signal === 0) {
    allowed.ends.set((waitStatus >> 8) & 0xff, "silent");
    return;
  }
  const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0];
  if (name === undefined || stops.includes(signal)) allowed.anyEnd = true;
  else allowed.ends.set(name as NodeJS.Signals, "silent");
  allowed.ends.set(128 + signal, "silent"); // one that does not end a process
}
