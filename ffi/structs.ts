/**
 * C structures as data: field names and types in the header's order, from which the offsets follow
 * by the C rules of the 64-bit Linux ABIs (natural alignment, little endian). Each is made when it is
 * first used: a client needs few of them.
 * `tests/ffi/layout.test.ts` compares every offset and size with the C compiler's.
 */
import { epollEventPacked } from "./linux/constants.ts";
import type { Memory } from "./memory.ts";

type Scalar = "u8" | "u16" | "i32" | "u32" | "i64" | "u64" | "ptr";
/** A scalar, or so many bytes with an alignment of one. */
type FieldType = Scalar | number;

const scalarSize: Readonly<Record<Scalar, number>> = {
  u8: 1,
  u16: 2,
  i32: 4,
  u32: 4,
  i64: 8,
  u64: 8,
  ptr: 8,
};

interface Layout {
  readonly size: number;
  readonly fields: ReadonlyMap<string, { offset: number; type: FieldType }>;
}

/**
 * The layout of one C structure; reads and writes its scalar fields in a `Memory`. It is worked out
 * at first use, since a client uses few of them.
 */
export class Struct<Name extends string> {
  readonly #define: () => Readonly<Record<Name, FieldType>>;
  readonly #isPacked: boolean;
  #layout: Layout | undefined;

  constructor(define: () => Readonly<Record<Name, FieldType>>, options: { packed?: boolean } = {}) {
    this.#define = define;
    this.#isPacked = options.packed ?? false;
  }

  get size(): number {
    this.#layout ??= layOut(this.#define(), this.#isPacked);
    return this.#layout.size;
  }

  offset(name: Name): number {
    this.#layout ??= layOut(this.#define(), this.#isPacked);
    const field = this.#layout.fields.get(name);
    if (!field) throw new TypeError(`no field ${name}`);
    return field.offset;
  }

  type(name: Name): FieldType {
    this.#layout ??= layOut(this.#define(), this.#isPacked);
    const field = this.#layout.fields.get(name);
    if (!field) throw new TypeError(`no field ${name}`);
    return field.type;
  }

  /** Reads a field of the structure that starts at `base`. 64-bit values must be safe integers. */
  get(memory: Memory, name: Name, base = 0): number {
    this.#layout ??= layOut(this.#define(), this.#isPacked);
    const field = this.#layout.fields.get(name);
    if (!field) throw new TypeError(`no field ${name}`);
    const at = base + field.offset;
    switch (field.type) {
      case "u8":
        return memory.view.getUint8(at);
      case "u16":
        return memory.view.getUint16(at, true);
      case "i32":
        return memory.view.getInt32(at, true);
      case "u32":
        return memory.view.getUint32(at, true);
      case "i64":
        return Number(memory.view.getBigInt64(at, true));
      case "u64":
      case "ptr":
        return Number(memory.view.getBigUint64(at, true));
      default:
        throw new TypeError(`${name} is an array of bytes, not a number`);
    }
  }

  set(memory: Memory, name: Name, value: number, base = 0): void {
    this.#layout ??= layOut(this.#define(), this.#isPacked);
    const field = this.#layout.fields.get(name);
    if (!field) throw new TypeError(`no field ${name}`);
    const at = base + field.offset;
    switch (field.type) {
      case "u8":
        return memory.view.setUint8(at, value);
      case "u16":
        return memory.view.setUint16(at, value, true);
      case "i32":
        return memory.view.setInt32(at, value, true);
      case "u32":
        return memory.view.setUint32(at, value, true);
      case "i64":
        return memory.view.setBigInt64(at, BigInt(value), true);
      case "u64":
        return memory.view.setBigUint64(at, BigInt(value), true);
      default:
        throw new TypeError(`${name} is not set as a number; see Memory.point`);
    }
  }

  /** Stores a pointer field; see `Memory.point`. */
  point(memory: Memory, name: Name, target: Memory | null, base = 0): void {
    memory.point(base + this.offset(name), target);
  }
}

function layOut(definition: Readonly<Record<string, FieldType>>, isPacked: boolean): Layout {
  const fields = new Map<string, { offset: number; type: FieldType }>();
  let end = 0;
  let widest = 1;
  for (const name in definition) {
    const type = definition[name] as FieldType;
    const size = typeof type === "number" ? type : scalarSize[type];
    const alignment = isPacked || typeof type === "number" ? 1 : size;
    const offset = Math.ceil(end / alignment) * alignment;
    widest = Math.max(widest, alignment);
    fields.set(name, { offset, type });
    end = offset + size;
  }
  return { size: Math.ceil(end / widest) * widest, fields };
}

function struct<Name extends string>(
  fields: () => Readonly<Record<Name, FieldType>>,
  options?: { packed?: boolean },
): Struct<Name> {
  return new Struct(fields, options);
}

export const iovec: Struct<"iov_base" | "iov_len"> = /* @__PURE__ */ struct(() => ({
  iov_base: "ptr",
  iov_len: "u64",
}));
export const msghdr: Struct<
  | "msg_name"
  | "msg_namelen"
  | "msg_iov"
  | "msg_iovlen"
  | "msg_control"
  | "msg_controllen"
  | "msg_flags"
> = /* @__PURE__ */ struct(() => ({
  msg_name: "ptr",
  msg_namelen: "u32",
  msg_iov: "ptr",
  msg_iovlen: "u64",
  msg_control: "ptr",
  msg_controllen: "u64",
  msg_flags: "i32",
}));
export const cmsghdr: Struct<"cmsg_len" | "cmsg_level" | "cmsg_type"> = /* @__PURE__ */ struct(
  () => ({
    cmsg_len: "u64",
    cmsg_level: "i32",
    cmsg_type: "i32",
  }),
);
export const ucred: Struct<"pid" | "uid" | "gid"> = /* @__PURE__ */ struct(() => ({
  pid: "i32",
  uid: "u32",
  gid: "u32",
}));
export const sockaddrUn: Struct<"sun_family" | "sun_path"> = /* @__PURE__ */ struct(() => ({
  sun_family: "u16",
  sun_path: 108,
}));
export const epollEvent: Struct<"events" | "data"> = /* @__PURE__ */ struct(
  () => ({ events: "u32", data: "u64" }),
  { packed: epollEventPacked },
);
export const pollfd: Struct<"fd" | "events" | "revents"> = /* @__PURE__ */ struct(() => ({
  fd: "i32",
  events: "u16",
  revents: "u16",
}));
export const signalfdSiginfo: Struct<
  "ssi_signo" | "ssi_errno" | "ssi_code" | "ssi_pid" | "ssi_uid" | "middle" | "ssi_ptr" | "rest"
> = /* @__PURE__ */ struct(() => ({
  ssi_signo: "u32",
  ssi_errno: "i32",
  ssi_code: "i32",
  ssi_pid: "u32",
  ssi_uid: "u32",
  middle: 28,
  ssi_ptr: "u64",
  rest: 72,
}));
export const itimerspec: Struct<"interval_sec" | "interval_nsec" | "value_sec" | "value_nsec"> =
  /* @__PURE__ */ struct(() => ({
    interval_sec: "i64",
    interval_nsec: "i64",
    value_sec: "i64",
    value_nsec: "i64",
  }));
/** The name follows, `len` bytes with its NULs. */
export const inotifyEvent: Struct<"wd" | "mask" | "cookie" | "len"> = /* @__PURE__ */ struct(
  () => ({ wd: "i32", mask: "u32", cookie: "u32", len: "u32" }),
);
export const timeval: Struct<"tv_sec" | "tv_usec"> = /* @__PURE__ */ struct(() => ({
  tv_sec: "i64",
  tv_usec: "i64",
}));
/** The part of siginfo_t that waitid(2) fills in; the whole is 128 bytes. */
export const siginfo: Struct<
  "si_signo" | "si_errno" | "si_code" | "pad" | "si_pid" | "si_uid" | "si_status" | "rest"
> = /* @__PURE__ */ struct(() => ({
  si_signo: "i32",
  si_errno: "i32",
  si_code: "i32",
  pad: "i32",
  si_pid: "i32",
  si_uid: "u32",
  si_status: "i32",
  rest: 100,
}));
/** siginfo_t of a signal that was queued with a value. See rt_sigqueueinfo(2). */
export const queuedSiginfo: Struct<
  "si_signo" | "si_errno" | "si_code" | "pad" | "si_pid" | "si_uid" | "si_value" | "rest"
> = /* @__PURE__ */ struct(() => ({
  si_signo: "i32",
  si_errno: "i32",
  si_code: "i32",
  pad: "i32",
  si_pid: "i32",
  si_uid: "u32",
  si_value: "u64",
  rest: 96,
}));
/** See sched_setattr(2); the first `schedAttrSize` bytes are those of its first version. */
export const schedAttr: Struct<
  | "size"
  | "sched_policy"
  | "sched_flags"
  | "sched_nice"
  | "sched_priority"
  | "sched_runtime"
  | "sched_deadline"
  | "sched_period"
  | "sched_util_min"
  | "sched_util_max"
> = /* @__PURE__ */ struct(() => ({
  size: "u32",
  sched_policy: "u32",
  sched_flags: "u64",
  sched_nice: "i32",
  sched_priority: "u32",
  sched_runtime: "u64",
  sched_deadline: "u64",
  sched_period: "u64",
  sched_util_min: "u32",
  sched_util_max: "u32",
}));
export const rlimit: Struct<"rlim_cur" | "rlim_max"> = /* @__PURE__ */ struct(() => ({
  rlim_cur: "u64",
  rlim_max: "u64",
}));
/** The kernel's struct termios, as the TCGETS family of ioctl_tty(2) takes it; glibc's is larger. */
export const termios: Struct<"c_iflag" | "c_oflag" | "c_cflag" | "c_lflag" | "c_line" | "c_cc"> =
  /* @__PURE__ */ struct(() => ({
    c_iflag: "u32",
    c_oflag: "u32",
    c_cflag: "u32",
    c_lflag: "u32",
    c_line: "u8",
    c_cc: 19,
  }));
export const winsize: Struct<"ws_row" | "ws_col" | "ws_xpixel" | "ws_ypixel"> =
  /* @__PURE__ */ struct(() => ({
    ws_row: "u16",
    ws_col: "u16",
    ws_xpixel: "u16",
    ws_ypixel: "u16",
  }));
/** struct rusage begins with two timevals and the peak resident size; the whole is 144 bytes. */
export const rusage: Struct<
  "utime_sec" | "utime_usec" | "stime_sec" | "stime_usec" | "ru_maxrss" | "rest"
> = /* @__PURE__ */ struct(() => ({
  utime_sec: "i64",
  utime_usec: "i64",
  stime_sec: "i64",
  stime_usec: "i64",
  ru_maxrss: "i64",
  rest: 104,
}));
export const statx: Struct<
  | "stx_mask"
  | "stx_blksize"
  | "stx_attributes"
  | "stx_nlink"
  | "stx_uid"
  | "stx_gid"
  | "stx_mode"
  | "stx_ino"
  | "stx_size"
  | "middle"
  | "ctime_sec"
  | "ctime_nsec"
  | "gap"
  | "mtime_sec"
  | "mtime_nsec"
  | "end"
  | "stx_dev_major"
  | "stx_dev_minor"
  | "rest"
> = /* @__PURE__ */ struct(() => ({
  stx_mask: "u32",
  stx_blksize: "u32",
  stx_attributes: "u64",
  stx_nlink: "u32",
  stx_uid: "u32",
  stx_gid: "u32",
  stx_mode: "u16",
  stx_ino: "u64",
  stx_size: "u64",
  middle: 48,
  ctime_sec: "i64",
  ctime_nsec: "u32",
  gap: 4,
  mtime_sec: "i64",
  mtime_nsec: "u32",
  end: 12,
  stx_dev_major: "u32",
  stx_dev_minor: "u32",
  rest: 112,
}));

/** Where the kernel believes the parts of a process's memory to be; see PR_SET_MM_MAP in prctl(2). */
export const prctlMmMap: Struct<
  | "start_code"
  | "end_code"
  | "start_data"
  | "end_data"
  | "start_brk"
  | "brk"
  | "start_stack"
  | "arg_start"
  | "arg_end"
  | "env_start"
  | "env_end"
  | "auxv"
  | "auxv_size"
  | "exe_fd"
> = /* @__PURE__ */ struct(() => ({
  start_code: "u64",
  end_code: "u64",
  start_data: "u64",
  end_data: "u64",
  start_brk: "u64",
  brk: "u64",
  start_stack: "u64",
  arg_start: "u64",
  arg_end: "u64",
  env_start: "u64",
  env_end: "u64",
  auxv: "ptr",
  auxv_size: "u32",
  exe_fd: "u32",
}));

/** What getdents64(2) writes; each is as long as its name makes it. */
export const linuxDirent64: Struct<"d_ino" | "d_off" | "d_reclen" | "d_type" | "d_name"> =
  /* @__PURE__ */ struct(() => ({
    d_ino: "u64",
    d_off: "i64",
    d_reclen: "u16",
    d_type: "u8",
    d_name: 256,
  }));

/** The kernel's struct sigaction, for rt_sigaction(2): the handler first, flags, restorer and mask. */
export const kernelSigactionSize = 32;
/** sigset_t: one bit a signal, 128 bytes in glibc. */
export const sigsetSize = 128;
/** posix_spawn_file_actions_t and posix_spawnattr_t are opaque; these sizes hold either. */
export const spawnFileActionsSize = 128;
export const spawnAttributesSize = 512;
