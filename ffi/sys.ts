/**
 * `Sys`: the table of every libc call prefork makes, in numbers and `Memory`.
 *
 * Every call answers with a number: a result of zero or more, or the negated errno of the failure.
 * The table is the seam between us and the kernel: `libc.ts` builds the real one, and tests swap
 * single entries to make each step fail in turn.
 */
import type { Memory } from "./memory.ts";

/** bun:ffi's names: a C int, any 64-bit integer, and a pointer (a `Memory`; null is NULL). */
export type Parameter = "int" | "i64" | "ptr";

/**
 * How the C function reports: `int` and `long` return -1 and set errno; `code` returns the errno
 * itself (posix_spawn's family); `plain` cannot fail.
 */
export type Report = "int" | "long" | "code" | "plain";

const int = "int";
const long = "i64";
const mem = "ptr";

/** Each call: how it reports, then its parameters. */
// biome-ignore format: a table reads best with one call a line
const table = {
  // descriptors and files
  close: ["int", int],
  read: ["long", int, mem, long],
  write: ["long", int, mem, long],
  pread: ["long", int, mem, long, long],
  pwrite: ["long", int, mem, long, long],
  openat: ["int", int, mem, int, int],
  fcntl: ["int", int, int, long],
  dup3: ["int", int, int, int],
  close_range: ["long", long, long, long, long],
  pipe2: ["int", mem, int],
  memfd_create: ["int", mem, int],
  ftruncate: ["int", int, long],
  statx: ["int", int, mem, int, int, mem],
  faccessat: ["int", int, mem, int, int],
  mkdirat: ["int", int, mem, int],
  unlinkat: ["int", int, mem, int],
  renameat: ["int", int, mem, int, mem],
  flock: ["int", int, int],
  readlinkat: ["long", int, mem, mem, long],
  chdir: ["int", mem],
  fchdir: ["int", int],
  getcwd: ["plain", mem, long],
  umask: ["plain", int],
  isatty: ["int", int],
  getdents64: ["long", int, mem, long],
  ioctl: ["int", int, long, mem],
  ioctl_number: ["int", int, long, long],
  // sockets
  socket: ["int", int, int, int],
  socketpair: ["int", int, int, int, mem],
  bind: ["int", int, mem, int],
  listen: ["int", int, int],
  connect: ["int", int, mem, int],
  accept4: ["int", int, mem, mem, int],
  getsockopt: ["int", int, int, int, mem, mem],
  setsockopt: ["int", int, int, int, mem, int],
  sendmsg: ["long", int, mem, int],
  recvmsg: ["long", int, mem, int],
  // waiting
  epoll_create1: ["int", int],
  eventfd: ["int", int, int],
  epoll_ctl: ["int", int, int, int, mem],
  epoll_wait: ["int", int, mem, int, int],
  poll: ["int", mem, long, int],
  timerfd_create: ["int", int, int],
  timerfd_settime: ["int", int, int, mem, mem],
  signalfd: ["int", int, mem, int],
  inotify_init1: ["int", int],
  inotify_add_watch: ["int", int, mem, int],
  inotify_rm_watch: ["int", int, int],
  // processes
  getpid: ["plain"],
  geteuid: ["plain"],
  fork: ["int"],
  clone: ["long", long, long, long, long, long, long],
  _exit: ["plain", int],
  execve: ["int", mem, mem, mem],
  setsid: ["int"],
  setpgid: ["int", int, int],
  kill: ["int", int, int],
  rt_sigqueueinfo: ["long", long, long, long, mem],
  pidfd_open: ["long", long, long, long],
  wait4: ["int", int, mem, int, mem],
  waitid: ["int", int, int, mem, int],
  prctl: ["int", int, long, long, long, long],
  prctl_name: ["int", int, mem],
  prctl_map: ["int", int, long, mem, long, long],
  getrlimit: ["plain", int, mem],
  prlimit: ["int", int, int, mem, mem],
  prctl_long: ["long", long, long, long, long, long, long],
  personality: ["int", long],
  getpriority: ["long", long, long, long],
  setpriority: ["int", int, int, int],
  ioprio_get: ["long", long, long, long],
  ioprio_set: ["long", long, long, long, long],
  sched_getattr: ["long", long, long, mem, long, long],
  sched_setattr: ["long", long, long, mem, long],
  sched_getaffinity: ["long", long, long, long, mem],
  sched_setaffinity: ["long", long, long, long, mem],
  madvise: ["int", long, long, int],
  sbrk: ["long", long],
  clearenv: ["int"],
  setenv: ["int", mem, mem, int],
  sigprocmask: ["int", int, mem, mem],
  rt_sigaction: ["long", long, long, mem, mem, long],
  posix_spawn: ["code", mem, mem, mem, mem, mem, mem],
  posix_spawn_file_actions_init: ["code", mem],
  posix_spawn_file_actions_destroy: ["code", mem],
  posix_spawn_file_actions_adddup2: ["code", mem, int, int],
  posix_spawn_file_actions_addclose: ["code", mem, int],
  posix_spawn_file_actions_addfchdir_np: ["code", mem, int],
  posix_spawnattr_init: ["code", mem],
  posix_spawnattr_destroy: ["code", mem],
  posix_spawnattr_setflags: ["code", mem, int],
  posix_spawnattr_setpgroup: ["code", mem, int],
  posix_spawnattr_setsigmask: ["code", mem, mem],
  posix_spawnattr_setsigdefault: ["code", mem, mem],
} as const satisfies Readonly<Record<string, readonly [Report, ...Parameter[]]>>;

export type SysName = keyof typeof table;
export const signatures: Readonly<Record<SysName, readonly [Report, ...Parameter[]]>> = table;

/** The libc function behind an entry, where it is not the entry's own name. */
export const symbols: ReadonlyMap<string, string> = new Map<SysName, string>([
  // glibc 2.36 has no function for these: the number of the system call comes first.
  ["close_range", "syscall"],
  ["pidfd_open", "syscall"],
  ["ioprio_get", "syscall"],
  ["ioprio_set", "syscall"],
  ["sched_getattr", "syscall"],
  ["sched_setattr", "syscall"],
  // glibc's sigqueue(3) takes a union by value.
  ["rt_sigqueueinfo", "syscall"],
  // glibc's functions do not tell how large the kernel's set of CPUs is.
  ["sched_getaffinity", "syscall"],
  ["sched_setaffinity", "syscall"],
  // glibc's answer is an int: too small for a time in nanoseconds.
  ["prctl_long", "syscall"],
  // glibc's own function wants another stack: this one goes on where it was called, as fork(2) does.
  ["clone", "syscall"],
  // glibc's answer cannot be told from a failure; the kernel's, 20 - nice, can.
  ["getpriority", "syscall"],
  // glibc keeps two signals to itself, and its own function does not touch them.
  ["rt_sigaction", "syscall"],
  // One function, and an argument that is a number or a pointer.
  ["prctl_name", "prctl"],
  ["prctl_map", "prctl"],
  ["ioctl_number", "ioctl"],
]);

type Value<P> = P extends "ptr" ? Memory | null : number;
type Values<S> = S extends readonly [Report, ...infer P]
  ? { [Index in keyof P]: Value<P[Index]> }
  : never;

export type Sys = {
  readonly [Name in SysName]: (...values: Values<(typeof table)[Name]>) => number;
};
