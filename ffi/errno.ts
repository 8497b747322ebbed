/** Error numbers of Linux (the same on x86-64 and arm64): number, name, and the words for people. */

// biome-ignore format: a table reads best with one error a line
const rows: readonly (readonly [number, string, string])[] = [
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
  [20, "ENOTDIR", "not a directory"],
  [21, "EISDIR", "is a directory"],
  [22, "EINVAL", "invalid argument"],
  [23, "ENFILE", "too many open files in the system"],
  [24, "EMFILE", "too many open files"],
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
];

const byNumber = new Map(rows.map(([number, name, text]) => [number, { name, text }]));

/** The numbers by name, for comparing: `errno.ENOENT`. */
export const errno: Readonly<Record<ErrnoName, number>> = Object.fromEntries(
  rows.map(([number, name]) => [name, number]),
) as Record<ErrnoName, number>;

export type ErrnoName =
  | "EPERM"
  | "ENOENT"
  | "ESRCH"
  | "EINTR"
  | "ENXIO"
  | "ENOEXEC"
  | "EBADF"
  | "ECHILD"
  | "EAGAIN"
  | "ENOMEM"
  | "EACCES"
  | "EEXIST"
  | "ENOTDIR"
  | "EINVAL"
  | "EMFILE"
  | "EPIPE"
  | "EMSGSIZE"
  | "ENOTSOCK"
  | "EPROTOTYPE"
  | "ECONNRESET"
  | "ECONNREFUSED"
  | "ETIMEDOUT"
  | "ETOOMANYREFS"
  | "ENOTCONN"
  | "E2BIG"
  | "ENAMETOOLONG"
  | "ELOOP"
  | "EIO"
  | "ENFILE"
  | "ENOSYS";

export function errnoName(number: number): string {
  return byNumber.get(number)?.name ?? `errno ${number}`;
}

export function errnoText(number: number): string {
  return byNumber.get(number)?.text ?? `error number ${number}`;
}
