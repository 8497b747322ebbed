/** Small things done with files: whole reads and writes, identity, removal. */
import * as errno from "../../ffi/errno.ts";
import {
  AT_EACCESS,
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  CLOSE_RANGE_CLOEXEC,
  F_OK,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  STATX_BASIC_STATS,
  SYS_close_range,
  X_OK,
} from "../../ffi/linux/constants.ts";
import { allocate, copyOf, cString, type Memory } from "../../ffi/memory.ts";
import { linuxDirent64, statx } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { fromUtf8, utf8, writeUtf8 } from "../base/strings.ts";
import { check, retry } from "./errors.ts";
import { Fd, own, type RawFd } from "./fd.ts";

/** A path as text (UTF-8) or as the bytes it is. */
export type Path = string | Uint8Array;

function shown(path: Path): string {
  return typeof path === "string" ? path : utf8(path);
}

export interface FileStatus {
  readonly uid: number;
  readonly permissions: number;
  readonly kind: "file" | "directory" | "character" | "socket" | "other";
  /** Device and inode: the same text is the same file. */
  readonly identity: string;
}

/** A status by which a change of the file shows. */
export interface FileState extends FileStatus {
  readonly size: number;
  /** Identity, size and times: the same text is the same file with the same content. */
  readonly version: string;
  /** When content or status changed last, in ms since 1970, by the clock of the file's system. */
  readonly changedMs: number;
}

/** A page for what one call is given or gives: most processes of ours live for a few calls only. */
const page: Memory = allocate(4096);

/** `path` as the kernel takes it, until the next call of this function. */
function cPath(path: Path): Memory {
  if (typeof path !== "string") return cString(path);
  const { read, written } = writeUtf8(path, page);
  if (read < path.length || written === page.length || path.includes("\0")) return cString(path);
  page[written] = 0;
  return page;
}

/** @throws SystemError ENOENT and the like; see open(2). */
export function open(sys: Sys, path: Path, flags: number, mode = 0, at = AT_FDCWD): Fd {
  const result = sys.openat(at, cPath(path), flags | O_CLOEXEC, mode);
  return own(sys, result, "open", shown(path));
}

/** A handle on a directory that grants nothing but its place: no read permission is needed. */
export function openPlace(sys: Sys, path: Path): Fd {
  return open(sys, path, O_PATH | O_DIRECTORY);
}

/** The status of what `path` names (links are not followed), or undefined when there is nothing. */
export function statusOf(sys: Sys, path: Path): FileStatus | undefined {
  const result = readStatus(sys, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW);
  if (result === -errno.ENOENT || result === -errno.ENOTDIR) return undefined;
  if (typeof result === "number") check(result, "statx", shown(path));
  return result as FileStatus;
}

/** The status of what is behind `path` (links are followed), relative to `at`; or undefined. */
export function targetStatus(sys: Sys, at: number, path: Path): FileStatus | undefined {
  const result = readStatus(sys, at, path, 0);
  return typeof result === "number" ? undefined : result;
}

/** The state of what is behind `path` (links are followed), or undefined when it cannot be had. */
export function stateOf(sys: Sys, path: Path): FileState | undefined {
  stateBuffer ??= allocate(statx.size);
  const result = sys.statx(AT_FDCWD, cPath(path), 0, STATX_BASIC_STATS, stateBuffer);
  return result < 0 ? undefined : stateIn(stateBuffer);
}
/** What one call gives: many files are asked for in a row, and a new one costs more than asking. */
let stateBuffer: Memory | undefined;

/** How many names what is behind `path` has; for a directory, two and those in it. */
export function linkCount(sys: Sys, path: Path): number {
  stateBuffer ??= allocate(statx.size);
  check(sys.statx(AT_FDCWD, cPath(path), 0, STATX_BASIC_STATS, stateBuffer), "statx", shown(path));
  return statx.get(stateBuffer, "stx_nlink");
}

export function stateOfFd(sys: Sys, fd: RawFd): FileState {
  const buffer = allocate(statx.size);
  check(sys.statx(fd, cPath(""), AT_EMPTY_PATH, STATX_BASIC_STATS, buffer), "statx");
  return stateIn(buffer);
}

export function statusOfFd(sys: Sys, fd: RawFd): FileStatus {
  const result = readStatus(sys, fd, "", AT_EMPTY_PATH);
  if (typeof result === "number") check(result, "statx");
  return result as FileStatus;
}

function kindOf(type: number): FileStatus["kind"] {
  switch (type) {
    case S_IFREG:
      return "file";
    case S_IFDIR:
      return "directory";
    case S_IFCHR:
      return "character";
    case S_IFSOCK:
      return "socket";
    default:
      return "other";
  }
}

function readStatus(sys: Sys, at: number, path: Path, flags: number): FileStatus | number {
  const buffer = allocate(statx.size);
  const result = sys.statx(at, cPath(path), flags, STATX_BASIC_STATS, buffer);
  return result < 0 ? result : statusIn(buffer);
}

function stateIn(buffer: Memory): FileState {
  const status = statusIn(buffer);
  const size = statx.get(buffer, "stx_size");
  const [seconds, nanoseconds] = [statx.get(buffer, "ctime_sec"), statx.get(buffer, "ctime_nsec")];
  const modified = `${statx.get(buffer, "mtime_sec")}.${statx.get(buffer, "mtime_nsec")}`;
  return {
    ...status,
    size,
    version: `${status.identity} ${size} ${modified} ${seconds}.${nanoseconds}`,
    changedMs: seconds * 1000 + nanoseconds / 1e6,
  };
}

function statusIn(buffer: Memory): FileStatus {
  const mode = statx.get(buffer, "stx_mode");
  const device = `${statx.get(buffer, "stx_dev_major")}:${statx.get(buffer, "stx_dev_minor")}`;
  return {
    uid: statx.get(buffer, "stx_uid"),
    permissions: mode & 0o7777,
    kind: kindOf(mode & S_IFMT),
    identity: `${device}:${statx.get(buffer, "stx_ino")}`,
  };
}

/** Whether something has this name. */
export function exists(sys: Sys, path: string): boolean {
  return sys.faccessat(AT_FDCWD, cPath(path), F_OK, 0) === 0;
}

/** Whether we could execute `path`, relative to the directory `at`: 0, or the negated errno. */
export function executeAccess(sys: Sys, at: number, path: Path): number {
  return sys.faccessat(at, cPath(path), X_OK, AT_EACCESS);
}

/** Reads to the end, from where the descriptor stands, or until there is more than `bytesMax`. */
export function readToEnd(
  sys: Sys,
  fd: RawFd,
  bytesMax: number = Number.POSITIVE_INFINITY,
): Uint8Array<ArrayBuffer> {
  chunk ??= allocate(64 * 1024);
  let whole = new Uint8Array(new ArrayBuffer(0));
  for (;;) {
    const room = chunk;
    const count = check(retry(sys.read, fd, room, room.length), "read");
    if (count === 0 || whole.length > bytesMax) return whole;
    const longer = new Uint8Array(new ArrayBuffer(whole.length + count));
    longer.set(whole);
    longer.set(room.subarray(0, count), whole.length);
    whole = longer;
  }
}
/** What one read gives. */
let chunk: Memory | undefined;

export function readFile(sys: Sys, path: Path): Uint8Array<ArrayBuffer> {
  using file = open(sys, path, O_RDONLY);
  return readToEnd(sys, file.raw);
}

/** Writes all of `bytes`. @throws SystemError EPIPE, ENOSPC and the like. */
export function writeAll(sys: Sys, fd: RawFd, bytes: Uint8Array): void {
  const memory = copyOf(bytes);
  let written = 0;
  while (written < memory.length) {
    const rest = memory.from(written);
    written += check(retry(sys.write, fd, rest, rest.length), "write");
  }
}

export function writeText(sys: Sys, fd: RawFd, text: string): void {
  writeAll(sys, fd, fromUtf8(text));
}

/** Removes a name. That it is gone already is fine. */
export function removeFile(sys: Sys, path: Path): void {
  const result = sys.unlinkat(AT_FDCWD, cString(path), 0);
  if (result !== -errno.ENOENT) check(result, "unlink", shown(path));
}

/**
 * Removes a name on the way out. That it cannot be removed is ignored: what stays behind is
 * replaced by the next daemon, and an error thrown while cleaning up would hide the first one.
 */
export function removeFileIfPossible(sys: Sys, path: Path): void {
  sys.unlinkat(AT_FDCWD, cString(path), 0);
}

/** Whether `path` names the file of `identity`; false when that cannot be told. */
export function isFile(sys: Sys, path: Path, identity: string): boolean {
  const result = readStatus(sys, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW);
  return typeof result !== "number" && result.identity === identity;
}

/** The one path without links of what is open, as far as the kernel can tell it. */
export function realPathOf(sys: Sys, fd: RawFd): string | undefined {
  const path = descriptorTarget(sys, fd);
  return path?.startsWith("/") ? path : undefined;
}

export function rename(sys: Sys, from: string, to: string): void {
  check(sys.renameat(AT_FDCWD, cString(from), AT_FDCWD, cString(to)), "rename", to);
}

/** Makes a private directory, and those above it that are not there. */
export function makePrivateDirectories(sys: Sys, path: string): void {
  if (exists(sys, path)) return;
  const above = path.slice(0, path.lastIndexOf("/"));
  if (above !== "") makePrivateDirectories(sys, above);
  makePrivateDirectory(sys, path);
}

/** Makes a private directory. That it exists already is fine: verify it afterwards. */
export function makePrivateDirectory(sys: Sys, path: string): void {
  const result = sys.mkdirat(AT_FDCWD, cString(path), 0o700);
  if (result !== -errno.EEXIST) check(result, "mkdir", path);
}

/** What a descriptor of ours leads to, as /proc tells it; undefined when it is not open. */
export function descriptorTarget(sys: Sys, number: number): string | undefined {
  return linkTarget(sys, `/proc/self/fd/${number}`);
}

/** What a link says; undefined when there is none, or it may not be read. */
export function linkTarget(sys: Sys, path: string): string | undefined {
  target ??= allocate(4096);
  const size = sys.readlinkat(AT_FDCWD, cPath(path), target, target.length);
  return size < 0 ? undefined : utf8(target.subarray(0, size));
}
let target: Memory | undefined;

/** The descriptors of this process, in order. See proc(5). */
export function descriptorNumbers(sys: Sys): number[] {
  return numbersIn(sys, "/proc/self/fd");
}

/** The names in a directory of /proc that are numbers; without the descriptor that was used to list them. */
export function numbersIn(sys: Sys, path: string): number[] {
  const numbers: number[] = [];
  using directory = open(sys, path, O_DIRECTORY);
  const entries = allocate(4096);
  const [sizeOffset, nameOffset] = [
    linuxDirent64.offset("d_reclen"),
    linuxDirent64.offset("d_name"),
  ];
  for (;;) {
    const size = check(sys.getdents64(directory.raw, entries, entries.length), "getdents64");
    if (size === 0) break;
    for (let at = 0; at < size; at += entries.view.getUint16(at + sizeOffset, true)) {
      const number = numberAt(entries, at + nameOffset);
      if (number >= 0 && number !== directory.raw) numbers.push(number);
    }
  }
  return numbers;
}

/** The number that stands at `at` in digits, ended by a NUL; -1 when it is none ("." and ".."). */
function numberAt(bytes: Uint8Array, at: number): number {
  let number = -1;
  for (let index = at; ; index++) {
    const digit = (bytes[index] ?? 0) - 48;
    if (digit < 0 || digit > 9) return number;
    number = Math.max(number, 0) * 10 + digit;
  }
}

/** Puts `replacement` where `number` is; the replacement stays open under its own number too. */
export function replaceFd(sys: Sys, replacement: RawFd, number: number, flags = 0): void {
  check(retry(sys.dup3, replacement, number, flags), "dup3");
}

/** /dev/null, for reading and writing. */
export function openNull(sys: Sys): Fd {
  return open(sys, "/dev/null", O_RDWR);
}

/** The two ends of a new pipe. */
export function openPipe(sys: Sys): { readEnd: Fd; writeEnd: Fd } {
  const pair = allocate(8);
  check(sys.pipe2(pair, O_CLOEXEC), "pipe2");
  return {
    readEnd: new Fd(sys, pair.view.getInt32(0, true)),
    writeEnd: new Fd(sys, pair.view.getInt32(4, true)),
  };
}

/** Marks all descriptors from `lowest` on: none of them outlives exec(2). */
export function closeOnExec(sys: Sys, lowest: number): void {
  const result = sys.close_range(SYS_close_range, lowest, 0xffff_ffff, CLOSE_RANGE_CLOEXEC);
  check(result, "close_range");
}

/** Closes every descriptor of the process except those with the numbers in `kept`. */
export function closeOthers(sys: Sys, kept: readonly number[]): void {
  let first = 0;
  for (const number of [...new Set(kept)].sort((a, b) => a - b)) {
    if (number > first)
      check(sys.close_range(SYS_close_range, first, number - 1, 0), "close_range");
    first = number + 1;
  }
  check(sys.close_range(SYS_close_range, first, 0xffff_ffff, 0), "close_range");
}
