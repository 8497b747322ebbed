/** The system calls whose failing a client is tried with, and the plausible ways in which they fail. */
import type { ErrnoName } from "../../ffi/errno-names.ts";

export interface FailingCall {
  readonly name: string;
  /** On x86-64. */
  readonly number: number;
  /** The first one is tried in the short form, too. */
  readonly errors: readonly [ErrnoName, ...ErrnoName[]];
  /** The runtime makes it for itself and cannot go on without: failed in code of ours only. */
  readonly isOfRuntime: boolean;
}

const ofUs = (number: number, ...errors: readonly [ErrnoName, ...ErrnoName[]]) =>
  ({ number, errors, isOfRuntime: false }) as const;
const ofRuntime = (number: number, ...errors: readonly [ErrnoName, ...ErrnoName[]]) =>
  ({ number, errors, isOfRuntime: true }) as const;

/**
 * Calls that are not here cannot fail, such as getpid(2), or do not come back. No send fails with
 * EPIPE: the daemon would have to be gone as well.
 */
const table = {
  read: ofUs(0, "EIO", "EINTR"),
  write: ofUs(1, "ENOSPC", "EPIPE", "EINTR"),
  open: ofUs(2, "EMFILE", "ENOENT", "EACCES"),
  close: ofUs(3, "EIO", "EINTR"),
  stat: ofUs(4, "EACCES"),
  fstat: ofUs(5, "EIO"),
  lstat: ofUs(6, "EACCES"),
  poll: ofUs(7, "ENOMEM", "EINTR"),
  lseek: ofUs(8, "EINVAL"),
  mmap: ofRuntime(9, "ENOMEM"),
  mprotect: ofRuntime(10, "ENOMEM"),
  munmap: ofRuntime(11, "ENOMEM"),
  rt_sigaction: ofUs(13, "EINVAL"),
  rt_sigprocmask: ofUs(14, "EINVAL"),
  rt_sigtimedwait: ofUs(128, "EINVAL", "EAGAIN", "EINTR"),
  ioctl: ofUs(16, "EIO", "ENOTTY", "EINTR"),
  pread64: ofUs(17, "EIO"),
  pwrite64: ofUs(18, "ENOSPC"),
  clone: ofUs(56, "EAGAIN", "ENOMEM"),
  execve: ofUs(59, "EACCES", "ENOMEM"),
  writev: ofUs(20, "ENOSPC", "EPIPE"),
  access: ofUs(21, "EACCES", "ENOENT"),
  madvise: ofRuntime(28, "ENOMEM"),
  dup: ofUs(32, "EMFILE"),
  dup2: ofUs(33, "EBUSY"),
  socket: ofUs(41, "EMFILE", "ENOMEM"),
  connect: ofUs(42, "ECONNREFUSED", "EAGAIN", "EACCES", "ENOMEM", "EINTR"),
  sendto: ofUs(44, "ENOMEM", "EAGAIN"),
  recvfrom: ofUs(45, "ENOMEM", "ECONNRESET", "EINTR"),
  sendmsg: ofUs(46, "ENOMEM", "EAGAIN", "EMSGSIZE", "ETOOMANYREFS", "EINTR"),
  recvmsg: ofUs(47, "ENOMEM", "ECONNRESET", "EINTR"),
  setsockopt: ofUs(54, "ENOMEM"),
  getsockopt: ofUs(55, "ENOMEM"),
  kill: ofUs(62, "EPERM", "ESRCH"),
  fcntl: ofUs(72, "EMFILE", "EPERM"),
  flock: ofUs(73, "ENOMEM", "EAGAIN"),
  ftruncate: ofUs(77, "EIO"),
  getcwd: ofUs(79, "ENOENT"),
  fchdir: ofUs(81, "EACCES"),
  readlink: ofUs(89, "ENOENT"),
  setpgid: ofUs(109, "EPERM"),
  getpgid: ofUs(121, "ESRCH"),
  personality: ofUs(135, "EINVAL"),
  getpriority: ofUs(140, "ESRCH"),
  setpriority: ofUs(141, "EACCES"),
  prctl: ofUs(157, "EINVAL"),
  sched_setaffinity: ofUs(203, "EINVAL", "EPERM"),
  sched_getaffinity: ofUs(204, "EINVAL", "EPERM"),
  getdents64: ofUs(217, "ENOENT"),
  ioprio_set: ofUs(251, "EPERM"),
  ioprio_get: ofUs(252, "ESRCH"),
  openat: ofUs(257, "EMFILE", "EACCES", "ENOENT"),
  newfstatat: ofUs(262, "EACCES", "ENOMEM"),
  readlinkat: ofUs(267, "ENOENT"),
  faccessat: ofUs(269, "EACCES"),
  ppoll: ofUs(271, "ENOMEM", "EINTR"),
  epoll_wait: ofUs(232, "EINVAL", "EINTR"),
  epoll_ctl: ofUs(233, "ENOMEM"),
  signalfd4: ofUs(289, "EMFILE", "ENOMEM"),
  epoll_create1: ofUs(291, "EMFILE"),
  dup3: ofUs(292, "EBUSY", "EINTR"),
  pipe2: ofUs(293, "EMFILE"),
  prlimit64: ofUs(302, "EPERM", "EINVAL"),
  sched_setattr: ofUs(314, "EPERM", "EINVAL"),
  sched_getattr: ofUs(315, "EINVAL", "EPERM"),
  memfd_create: ofUs(319, "EMFILE", "ENOMEM"),
  statx: ofUs(332, "EACCES", "ENOMEM"),
  pidfd_open: ofUs(434, "EMFILE"),
  close_range: ofUs(436, "ENOMEM"),
  faccessat2: ofUs(439, "EACCES"),
} as const;

export const failingCalls: readonly FailingCall[] = Object.entries(table).map(([name, call]) => ({
  name,
  ...call,
}));
