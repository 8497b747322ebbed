/** Error numbers of Linux (the same on x86-64 and arm64): number, name, and the words for people. */

/** The numbers by name, for comparing: `errno.ENOENT`. */
// biome-ignore format: a table
export const errno = {
  EPERM: 1, ENOENT: 2, ESRCH: 3, EINTR: 4, EIO: 5, ENXIO: 6, E2BIG: 7, ENOEXEC: 8, EBADF: 9,
  ECHILD: 10, EAGAIN: 11, ENOMEM: 12, EACCES: 13, EFAULT: 14, EBUSY: 16, EEXIST: 17, EXDEV: 18, ENODEV: 19,
  ENOTDIR: 20, EISDIR: 21, EINVAL: 22, ENFILE: 23, EMFILE: 24, ETXTBSY: 26, EFBIG: 27,
  ENOSPC: 28, ESPIPE: 29, EROFS: 30, EPIPE: 32, ENAMETOOLONG: 36, ENOSYS: 38, ELOOP: 40,
  EPROTO: 71, ENOTSOCK: 88, EMSGSIZE: 90, EPROTOTYPE: 91, EOPNOTSUPP: 95, EADDRINUSE: 98,
  ECONNRESET: 104, ENOTCONN: 107, ETOOMANYREFS: 109, ETIMEDOUT: 110, ECONNREFUSED: 111, ESTALE: 116,
} as const;

export type ErrnoName = keyof typeof errno;

const texts: Readonly<Record<ErrnoName, string>> = {
  EPERM: "operation not permitted",
  ENOENT: "no such file or directory",
  ESRCH: "no such process",
  EINTR: "interrupted system call",
  EIO: "input/output error",
  ENXIO: "no such device or address",
  E2BIG: "argument list too long",
  ENOEXEC: "not in a format that can be executed",
  EBADF: "bad file descriptor",
  ECHILD: "no child process",
  EAGAIN: "resource temporarily unavailable",
  ENOMEM: "out of memory",
  EACCES: "permission denied",
  EFAULT: "bad address",
  EBUSY: "device or resource busy",
  EEXIST: "file exists",
  EXDEV: "crosses file systems",
  ENODEV: "no such device",
  ENOTDIR: "not a directory",
  EISDIR: "is a directory",
  EINVAL: "invalid argument",
  ENFILE: "too many open files in the system",
  EMFILE: "too many open files",
  ETXTBSY: "the file is being written to",
  EFBIG: "file too large",
  ENOSPC: "no space left on the device",
  ESPIPE: "illegal seek",
  EROFS: "read-only file system",
  EPIPE: "broken pipe",
  ENAMETOOLONG: "file name too long",
  ENOSYS: "not implemented by this kernel",
  ELOOP: "too many levels of symbolic links",
  EPROTO: "protocol error",
  ENOTSOCK: "not a socket",
  EMSGSIZE: "message too long",
  EPROTOTYPE: "wrong type of socket",
  EOPNOTSUPP: "operation not supported",
  EADDRINUSE: "address already in use",
  ECONNRESET: "connection reset by the other side",
  ENOTCONN: "not connected",
  ETOOMANYREFS: "too many descriptors in flight",
  ETIMEDOUT: "timed out",
  ECONNREFUSED: "connection refused",
  ESTALE: "stale file handle",
};

function nameOf(number: number): ErrnoName | undefined {
  for (const name in errno) if (errno[name as ErrnoName] === number) return name as ErrnoName;
  return undefined;
}

export function errnoName(number: number): string {
  return nameOf(number) ?? `errno ${number}`;
}

export function errnoText(number: number): string {
  const name = nameOf(number);
  return name ? texts[name] : `error number ${number}`;
}
