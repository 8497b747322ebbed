/**
 * Everything our tables say about the C interface, keyed by the C expression that must agree:
 * constants, error numbers, and the sizes and offsets of structures.
 */
import * as errno from "../../ffi/errno.ts";
import * as constants from "../../ffi/linux/constants.ts";
import * as structs from "../../ffi/structs.ts";
import { Struct } from "../../ffi/structs.ts";

type StructName = {
  [Name in keyof typeof structs]: (typeof structs)[Name] extends Struct<string> ? Name : never;
}[keyof typeof structs];
type FieldOf<S> = S extends Struct<infer Field> ? Field : never;

/** The C type of a structure, and the C member of each field; null where a field is padding. */
type Counterparts = {
  readonly [Name in StructName]: {
    readonly type: string;
    readonly members: Readonly<Record<FieldOf<(typeof structs)[Name]>, string | null>>;
  };
};

/** Typed so that a structure or field without its line here does not compile. */
export const counterparts: Counterparts = {
  iovec: {
    type: "struct iovec",
    members: { iov_base: "iov_base", iov_len: "iov_len" },
  },
  msghdr: {
    type: "struct msghdr",
    members: {
      msg_name: "msg_name",
      msg_namelen: "msg_namelen",
      msg_iov: "msg_iov",
      msg_iovlen: "msg_iovlen",
      msg_control: "msg_control",
      msg_controllen: "msg_controllen",
      msg_flags: "msg_flags",
    },
  },
  cmsghdr: {
    type: "struct cmsghdr",
    members: { cmsg_len: "cmsg_len", cmsg_level: "cmsg_level", cmsg_type: "cmsg_type" },
  },
  ucred: {
    type: "struct ucred",
    members: { pid: "pid", uid: "uid", gid: "gid" },
  },
  sockaddrUn: {
    type: "struct sockaddr_un",
    members: { sun_family: "sun_family", sun_path: "sun_path" },
  },
  epollEvent: {
    type: "struct epoll_event",
    members: { events: "events", data: "data" },
  },
  pollfd: {
    type: "struct pollfd",
    members: { fd: "fd", events: "events", revents: "revents" },
  },
  signalfdSiginfo: {
    type: "struct signalfd_siginfo",
    members: {
      ssi_signo: "ssi_signo",
      ssi_errno: "ssi_errno",
      ssi_code: "ssi_code",
      ssi_pid: "ssi_pid",
      ssi_uid: "ssi_uid",
      middle: null,
      ssi_ptr: "ssi_ptr",
      rest: null,
    },
  },
  itimerspec: {
    type: "struct itimerspec",
    members: {
      interval_sec: "it_interval.tv_sec",
      interval_nsec: "it_interval.tv_nsec",
      value_sec: "it_value.tv_sec",
      value_nsec: "it_value.tv_nsec",
    },
  },
  inotifyEvent: {
    type: "struct inotify_event",
    members: { wd: "wd", mask: "mask", cookie: "cookie", len: "len" },
  },
  timeval: {
    type: "struct timeval",
    members: { tv_sec: "tv_sec", tv_usec: "tv_usec" },
  },
  siginfo: {
    type: "siginfo_t",
    members: {
      si_signo: "si_signo",
      si_errno: "si_errno",
      si_code: "si_code",
      pad: null,
      si_pid: "si_pid",
      si_uid: "si_uid",
      si_status: "si_status",
      rest: null,
    },
  },
  queuedSiginfo: {
    type: "__typeof__(siginfo_t)",
    members: {
      si_signo: "si_signo",
      si_errno: "si_errno",
      si_code: "si_code",
      pad: null,
      si_pid: "si_pid",
      si_uid: "si_uid",
      si_value: "si_value.sival_ptr",
      rest: null,
    },
  },
  schedAttr: {
    type: "struct sched_attr",
    members: {
      size: "size",
      sched_policy: "sched_policy",
      sched_flags: "sched_flags",
      sched_nice: "sched_nice",
      sched_priority: "sched_priority",
      sched_runtime: "sched_runtime",
      sched_deadline: "sched_deadline",
      sched_period: "sched_period",
      sched_util_min: "sched_util_min",
      sched_util_max: "sched_util_max",
    },
  },
  rlimit: {
    type: "struct rlimit",
    members: { rlim_cur: "rlim_cur", rlim_max: "rlim_max" },
  },
  termios: {
    type: "struct termios",
    members: {
      c_iflag: "c_iflag",
      c_oflag: "c_oflag",
      c_cflag: "c_cflag",
      c_lflag: "c_lflag",
      c_line: "c_line",
      c_cc: "c_cc",
    },
  },
  winsize: {
    type: "struct winsize",
    members: {
      ws_row: "ws_row",
      ws_col: "ws_col",
      ws_xpixel: "ws_xpixel",
      ws_ypixel: "ws_ypixel",
    },
  },
  prctlMmMap: {
    type: "struct prctl_mm_map",
    members: {
      start_code: "start_code",
      end_code: "end_code",
      start_data: "start_data",
      end_data: "end_data",
      start_brk: "start_brk",
      brk: "brk",
      start_stack: "start_stack",
      arg_start: "arg_start",
      arg_end: "arg_end",
      env_start: "env_start",
      env_end: "env_end",
      auxv: "auxv",
      auxv_size: "auxv_size",
      exe_fd: "exe_fd",
    },
  },
  linuxDirent64: {
    type: "struct dirent64",
    members: {
      d_ino: "d_ino",
      d_off: "d_off",
      d_reclen: "d_reclen",
      d_type: "d_type",
      d_name: "d_name",
    },
  },
  rusage: {
    type: "struct rusage",
    members: {
      utime_sec: "ru_utime.tv_sec",
      utime_usec: "ru_utime.tv_usec",
      stime_sec: "ru_stime.tv_sec",
      stime_usec: "ru_stime.tv_usec",
      ru_maxrss: "ru_maxrss",
      rest: null,
    },
  },
  statx: {
    type: "struct statx",
    members: {
      stx_mask: "stx_mask",
      stx_blksize: "stx_blksize",
      stx_attributes: "stx_attributes",
      stx_nlink: "stx_nlink",
      stx_uid: "stx_uid",
      stx_gid: "stx_gid",
      stx_mode: "stx_mode",
      stx_ino: "stx_ino",
      stx_size: "stx_size",
      middle: null,
      ctime_sec: "stx_ctime.tv_sec",
      ctime_nsec: "stx_ctime.tv_nsec",
      gap: null,
      mtime_sec: "stx_mtime.tv_sec",
      mtime_nsec: "stx_mtime.tv_nsec",
      end: null,
      stx_dev_major: "stx_dev_major",
      stx_dev_minor: "stx_dev_minor",
      rest: null,
    },
  },
};

/** One scalar or array field that C knows, too. */
export interface Field {
  readonly shown: string;
  readonly struct: Struct<string>;
  readonly name: string;
  /** The C expression for the member's offset, and an lvalue of the member for sizeof. */
  readonly offset: string;
  readonly lvalue: string;
}

const tables: Readonly<Record<StructName, Struct<string>>> = { ...structs };

export const structNames: readonly StructName[] = Object.keys(counterparts) as StructName[];

export function fieldsOf(structName: StructName): Field[] {
  const { type, members } = counterparts[structName];
  return Object.entries<string | null>(members)
    .filter((entry): entry is [string, string] => entry[1] !== null)
    .map(([name, member]) => ({
      shown: `${type}.${member}`,
      struct: tables[structName],
      name,
      offset: `offsetof(${type}, ${member})`,
      lvalue: `((${type} *)0)->${member}`,
    }));
}

/** The names of all exported structures, as the module has them at run time. */
export function exportedStructs(): string[] {
  return Object.entries<unknown>(structs)
    .filter(([, value]) => value instanceof Struct)
    .map(([name]) => name);
}

/** Exported constants that are numbers; each has the name of its C counterpart. */
export function numericConstants(): Map<string, number> {
  return numbersIn(constants);
}

export function errorNumbers(): Map<string, number> {
  return numbersIn(errno);
}

function numbersIn(table: Readonly<Record<string, unknown>>): Map<string, number> {
  return new Map(
    Object.entries<unknown>(table).filter(
      (entry): entry is [string, number] => typeof entry[1] === "number",
    ),
  );
}

/** Sizes and offsets of all structures. */
export function layout(): Map<string, number> {
  const all = new Map<string, number>();
  for (const name of structNames) {
    all.set(`sizeof(${counterparts[name].type})`, tables[name].size);
    for (const { offset, struct, name: field } of fieldsOf(name)) {
      all.set(offset, struct.offset(field));
    }
  }
  return all;
}

/** All of the above, keyed by C expression. */
export function everything(): Map<string, number> {
  return new Map([...numericConstants(), ...errorNumbers(), ...layout()]);
}
