/**
 * `Sys`: the table of every libc call prefork makes, in numbers and `Memory`.
 *
 * Every call answers with a number: a result of zero or more, or the negated errno of the failure.
 * The table is the seam between us and the kernel: `libc.ts` builds the real one, and tests swap
 * single entries to make each step fail in turn.
 */
import type { Memory } from "./memory.ts";

/** bun:ffi's names: a C int, any 64-bit integer, and a pointer (a `Memory`; null is NULL). */
type Parameter = "int" | "i64" | "ptr";

/**
 * How the C function reports: `int` and `long` return -1 and set errno; `code` returns the errno
 * itself (posix_spawn's family); `plain` cannot fail.
 */
type Report = "int" | "long" | "code" | "plain";

export interface Signature {
  readonly parameters: readonly Parameter[];
  readonly report: Report;
  /** The libc symbol, where it is not the entry's own name. */
  readonly symbol?: string;
}

const int = "int";
const long = "i64";
const mem = "ptr";

function call<const P extends readonly Parameter[]>(
  report: Report,
  ...parameters: P
): { report: Report; parameters: P } {
  return { report, parameters };
}

// biome-ignore format: a table reads best with one call a line
const table = {
  // descriptors and files
  close: call("int", int),
  read: call("long", int, mem, long),
  write: call("long", int, mem, long),
  pread: call("long", int, mem, long, long),
  openat: call("int", int, mem, int, int),
  fcntl: call("int", int, int, long),
  dup3: call("int", int, int, int),
  close_range: { ...call("int", long, long, long, long), symbol: "syscall" },
  pipe2: call("int", mem, int),
  memfd_create: call("int", mem, int),
  ftruncate: call("int", int, long),
  statx: call("int", int, mem, int, int, mem),
  faccessat: call("int", int, mem, int, int),
  mkdirat: call("int", int, mem, int),
  unlinkat: call("int", int, mem, int),
  renameat: call("int", int, mem, int, mem),
  readlinkat: call("long", int, mem, mem, long),
  flock: call("int", int, int),
  chdir: call("int", mem),
  fchdir: call("int", int),
  getcwd: call("plain", mem, long),
  umask: call("plain", int),
  isatty: call("int", int),
  // sockets
  socket: call("int", int, int, int),
  socketpair: call("int", int, int, int, mem),
  bind: call("int", int, mem, int),
  listen: call("int", int, int),
  connect: call("int", int, mem, int),
  accept4: call("int", int, mem, mem, int),
  getsockopt: call("int", int, int, int, mem, mem),
  setsockopt: call("int", int, int, int, mem, int),
  sendmsg: call("long", int, mem, int),
  recvmsg: call("long", int, mem, int),
  // waiting
  epoll_create1: call("int", int),
  epoll_ctl: call("int", int, int, int, mem),
  epoll_wait: call("int", int, mem, int, int),
  poll: call("int", mem, long, int),
  timerfd_create: call("int", int, int),
  timerfd_settime: call("int", int, int, mem, mem),
  signalfd: call("int", int, mem, int),
  inotify_init1: call("int", int),
  inotify_add_watch: call("int", int, mem, int),
  // processes
  getpid: call("plain"),
  getppid: call("plain"),
  geteuid: call("plain"),
  fork: call("int"),
  _exit: call("plain", int),
  execve: call("int", mem, mem, mem),
  setsid: call("int"),
  setpgid: call("int", int, int),
  kill: call("int", int, int),
  pidfd_open: { ...call("int", long, long, long), symbol: "syscall" },
  wait4: call("int", int, mem, int, mem),
  waitid: call("int", int, int, mem, int),
  prctl: call("int", int, long, long, long, long),
  getrlimit: call("int", int, mem),
  setrlimit: call("int", int, mem),
  madvise: call("int", long, long, int),
  sigprocmask: call("int", int, mem, mem),
  sigaction: call("int", int, mem, mem),
  posix_spawn: call("code", mem, mem, mem, mem, mem, mem),
  posix_spawn_file_actions_init: call("code", mem),
  posix_spawn_file_actions_destroy: call("code", mem),
  posix_spawn_file_actions_adddup2: call("code", mem, int, int),
  posix_spawn_file_actions_addclose: call("code", mem, int),
  posix_spawn_file_actions_addfchdir_np: call("code", mem, int),
  posix_spawnattr_init: call("code", mem),
  posix_spawnattr_destroy: call("code", mem),
  posix_spawnattr_setflags: call("code", mem, int),
  posix_spawnattr_setpgroup: call("code", mem, int),
  posix_spawnattr_setsigmask: call("code", mem, mem),
  posix_spawnattr_setsigdefault: call("code", mem, mem),
};

export type SysName = keyof typeof table;
export const signatures: Readonly<Record<SysName, Signature>> = table;

type Value<P> = P extends "ptr" ? Memory | null : number;
type Values<P extends readonly Parameter[]> = { [Index in keyof P]: Value<P[Index]> };

export type Sys = {
  readonly [Name in SysName]: (...values: Values<(typeof table)[Name]["parameters"]>) => number;
};
