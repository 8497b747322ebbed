/** Error numbers for people: symbolic name and words. The tables are made when something has failed. */
import type * as errno from "./errno.ts";

export type ErrnoName = keyof typeof errno;

// biome-ignore format: a table
const rows = (): readonly (readonly [number, ErrnoName, string])[] => [
  [1, "EPERM", "operation not permitted"],
  [2, "ENOENT", "no such file or directory"],
  [3, "ESRCH", "no such process"],
  [4, "EINTR", "interrupted system call"],
  [5, "EIO", "input/output error"],
  [6, "ENXIO", "no such device or address"],
  [7, "E2BIG", "argument list too long"],
  [8, "ENOEXEC", "not in a format that can be executed"],
  [9, "EBADF", "bad file descriptor"],
  [10, "ECHILD", "no child process"],
  [11, "EAGAIN", "resource temporarily unavailable"],
  [12, "ENOMEM", "out of memory"],
  [13, "EACCES", "permission denied"],
  [14, "EFAULT", "bad address"],
  [16, "EBUSY", "device or resource busy"],
  [17, "EEXIST", "file exists"],
  [18, "EXDEV", "crosses file systems"],
  [19, "ENODEV", "no such device"],
  [20, "ENOTDIR", "not a directory"],
  [21, "EISDIR", "is a directory"],
  [22, "EINVAL", "invalid argument"],
  [23, "ENFILE", "too many open files in the system"],
  [24, "EMFILE", "too many open files"],
  [25, "ENOTTY", "not a terminal"],
  [26, "ETXTBSY", "the file is being written to"],
  [27, "EFBIG", "file too large"],
  [28, "ENOSPC", "no space left on the device"],
  [29, "ESPIPE", "illegal seek"],
  [30, "EROFS", "read-only file system"],
  [32, "EPIPE", "broken pipe"],
  [36, "ENAMETOOLONG", "file name too long"],
  [38, "ENOSYS", "not implemented by this kernel"],
  [40, "ELOOP", "too many levels of symbolic links"],
  [71, "EPROTO", "protocol error"],
  [88, "ENOTSOCK", "not a socket"],
  [90, "EMSGSIZE", "message too long"],
  [91, "EPROTOTYPE", "wrong type of socket"],
  [95, "EOPNOTSUPP", "operation not supported"],
  [98, "EADDRINUSE", "address already in use"],
  [104, "ECONNRESET", "connection reset by the other side"],
  [107, "ENOTCONN", "not connected"],
  [109, "ETOOMANYREFS", "too many descriptors in flight"],
  [110, "ETIMEDOUT", "timed out"],
  [111, "ECONNREFUSED", "connection refused"],
  [116, "ESTALE", "stale file handle"],
];

function rowOf(number: number): readonly [number, ErrnoName, string] | undefined {
  return rows().find(([known]) => known === number);
}

export function errnoName(number: number): string {
  return rowOf(number)?.[1] ?? `errno ${number}`;
}

export function errnoText(number: number): string {
  return rowOf(number)?.[2] ?? `error number ${number}`;
}
