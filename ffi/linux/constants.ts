/**
 * Numbers of the Linux kernel's and glibc's interface, under their man-page names.
 *
 * Most are the same on every 64-bit architecture; those that differ stand in one table per
 * architecture at the end, picked once. Nothing here is computed from another header at run time:
 * `tests/ffi/layout.test.ts` compares every number with what the C compiler says.
 */

export const O_RDONLY = 0o0;
export const O_WRONLY = 0o1;
export const O_RDWR = 0o2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_NOCTTY = 0o400;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;

export const AT_FDCWD = -100;
export const AT_EMPTY_PATH = 0x1000;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_EACCESS = 0x200;
export const F_OK = 0;
export const X_OK = 1;

export const F_GETFL = 3;
export const F_SETFL = 4;
export const F_DUPFD_CLOEXEC = 1030;
export const F_GETFD = 1;
export const F_SETFD = 2;
export const F_ADD_SEALS = 1033;
export const F_GET_SEALS = 1034;
export const FD_CLOEXEC = 1;
export const F_SEAL_SEAL = 0x1;
export const F_SEAL_SHRINK = 0x2;
export const F_SEAL_GROW = 0x4;
export const F_SEAL_WRITE = 0x8;
export const MFD_CLOEXEC = 0x1;
export const MFD_ALLOW_SEALING = 0x2;

export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFSOCK = 0o140000;
export const S_IFCHR = 0o020000;
export const STATX_BASIC_STATS = 0x7ff;

export const LOCK_EX = 2;
export const LOCK_NB = 4;

export const AF_UNIX = 1;
export const SOCK_SEQPACKET = 5;
export const SOCK_CLOEXEC = 0o2000000;
export const SOCK_NONBLOCK = 0o4000;
export const SOL_SOCKET = 1;
export const SO_PEERCRED = 17;
export const SO_SNDTIMEO = 21;
export const SCM_RIGHTS = 1;
export const MSG_CTRUNC = 0x8;
export const MSG_TRUNC = 0x20;
export const MSG_PEEK = 2;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;

export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
export const EPOLL_CLOEXEC = 0o2000000;
export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const POLLIN = 0x1;
export const POLLOUT = 0x4;

export const CLOCK_MONOTONIC = 1;
export const TFD_CLOEXEC = 0o2000000;
export const TFD_NONBLOCK = 0o4000;
export const SFD_CLOEXEC = 0o2000000;
export const SFD_NONBLOCK = 0o4000;
export const IN_CLOEXEC = 0o2000000;
export const IN_NONBLOCK = 0o4000;
export const IN_ATTRIB = 0x4;
export const IN_CLOSE_WRITE = 0x8;
export const IN_MOVED_FROM = 0x40;
export const IN_MOVED_TO = 0x80;
export const IN_CREATE = 0x100;
export const IN_DELETE = 0x200;
export const IN_DELETE_SELF = 0x400;
export const IN_MOVE_SELF = 0x800;
export const IN_IGNORED = 0x8000;
export const IN_ONLYDIR = 0x1000000;

export const SI_KERNEL = 0x80;
export const SI_USER = 0;
export const SI_QUEUE = -1;
export const SIG_BLOCK = 0;
export const SIG_UNBLOCK = 1;
export const SIG_SETMASK = 2;
export const SIG_DFL = 0;
export const SIG_IGN = 1;

export const CLD_EXITED = 1;
export const CLD_STOPPED = 5;
export const CLD_CONTINUED = 6;

/** Terminals: see ioctl_tty(2). */
export const TCGETS = 0x5401;
export const TCSETS = 0x5402;
export const TIOCSCTTY = 0x540e;
export const TIOCGWINSZ = 0x5413;
export const TIOCSWINSZ = 0x5414;
export const TIOCSPTLCK = 0x40045431;
export const TIOCGPTPEER = 0x5441;
/** The bits that cfmakeraw(3) clears and sets. */
export const IGNBRK = 0o1;
export const BRKINT = 0o2;
export const PARMRK = 0o10;
export const ISTRIP = 0o40;
export const INLCR = 0o100;
export const IGNCR = 0o200;
export const ICRNL = 0o400;
export const IXON = 0o2000;
export const OPOST = 0o1;
export const CSIZE = 0o60;
export const CS8 = 0o60;
export const PARENB = 0o400;
export const ISIG = 0o1;
export const ICANON = 0o2;
export const ECHO = 0o10;
export const ECHONL = 0o100;
export const IEXTEN = 0o100000;
export const VEOF = 4;
export const VTIME = 5;
export const VMIN = 6;

export const P_ALL = 0;
export const P_PID = 1;
export const WNOHANG = 1;
export const WSTOPPED = 2;
export const WEXITED = 4;
export const WCONTINUED = 8;
export const WNOWAIT = 0x1000000;

export const POSIX_SPAWN_SETPGROUP = 0x02;
export const POSIX_SPAWN_SETSIGDEF = 0x04;
export const POSIX_SPAWN_SETSIGMASK = 0x08;

export const PR_SET_DUMPABLE = 4;
export const PR_SET_NAME = 15;
export const PR_SET_TIMERSLACK = 29;
export const PR_GET_TIMERSLACK = 30;
export const PR_SET_MM = 35;
export const PR_SET_MM_MAP = 14;
export const PR_SET_CHILD_SUBREAPER = 36;
export const PR_SET_NO_NEW_PRIVS = 38;
export const PR_GET_NO_NEW_PRIVS = 39;
export const PRIO_PROCESS = 0;
/** See sched(7). */
export const SCHED_OTHER = 0;
export const IOPRIO_WHO_PROCESS = 1;
export const IOPRIO_CLASS_SHIFT = 13;
export const RLIMIT_CPU = 0;
export const RLIMIT_FSIZE = 1;
export const RLIMIT_DATA = 2;
export const RLIMIT_STACK = 3;
export const RLIMIT_CORE = 4;
export const RLIMIT_NOFILE = 7;
export const MADV_DOFORK = 11;
export const MADV_HUGEPAGE = 14;
export const MADV_NOHUGEPAGE = 15;
export const MADV_POPULATE_WRITE = 23;
export const MADV_COLLAPSE = 25;

/** System calls without a wrapper in glibc 2.36; these numbers are common to all architectures. */
export const SYS_pidfd_open = 434;
export const SYS_close_range = 436;
export const CLOSE_RANGE_CLOEXEC = 4;
export const CLONE_PARENT = 0x8000;

interface Architecture {
  readonly O_DIRECTORY: number;
  readonly O_NOFOLLOW: number;
  readonly SYS_clone: number;
  readonly SYS_getpriority: number;
  readonly SYS_ioprio_get: number;
  readonly SYS_ioprio_set: number;
  readonly SYS_prctl: number;
  readonly SYS_rt_sigaction: number;
  readonly SYS_rt_sigqueueinfo: number;
  readonly SYS_sched_getaffinity: number;
  readonly SYS_sched_getattr: number;
  readonly SYS_sched_setaffinity: number;
  readonly SYS_sched_setattr: number;
  /** struct epoll_event is packed on x86-64 only. */
  readonly epollEventPacked: boolean;
}

const architectures: Readonly<Record<string, Architecture>> = {
  x64: {
    O_DIRECTORY: 0o200000,
    O_NOFOLLOW: 0o400000,
    SYS_clone: 56,
    SYS_getpriority: 140,
    SYS_ioprio_get: 252,
    SYS_ioprio_set: 251,
    SYS_prctl: 157,
    SYS_rt_sigaction: 13,
    SYS_rt_sigqueueinfo: 129,
    SYS_sched_getaffinity: 204,
    SYS_sched_getattr: 315,
    SYS_sched_setaffinity: 203,
    SYS_sched_setattr: 314,
    epollEventPacked: true,
  },
  arm64: {
    O_DIRECTORY: 0o40000,
    O_NOFOLLOW: 0o100000,
    SYS_clone: 220,
    SYS_getpriority: 141,
    SYS_ioprio_get: 31,
    SYS_ioprio_set: 30,
    SYS_prctl: 167,
    SYS_rt_sigaction: 134,
    SYS_rt_sigqueueinfo: 138,
    SYS_sched_getaffinity: 123,
    SYS_sched_getattr: 275,
    SYS_sched_setaffinity: 122,
    SYS_sched_setattr: 274,
    epollEventPacked: false,
  },
};

function architecture(): Architecture {
  const known = architectures[process.arch];
  if (!known) throw new Error(`prefork runs on x86-64 and arm64, not on ${process.arch}`);
  return known;
}

export const {
  O_DIRECTORY,
  O_NOFOLLOW,
  SYS_clone,
  SYS_getpriority,
  SYS_ioprio_get,
  SYS_ioprio_set,
  SYS_prctl,
  SYS_rt_sigaction,
  SYS_rt_sigqueueinfo,
  SYS_sched_getaffinity,
  SYS_sched_getattr,
  SYS_sched_setaffinity,
  SYS_sched_setattr,
  epollEventPacked,
} = architecture();
