/** Bytes in a sealed memory file: what is too large for a datagram travels as a descriptor. */

import {
  F_ADD_SEALS,
  F_GET_SEALS,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  RLIMIT_FSIZE,
} from "../../ffi/linux/constants.ts";
import { allocate, cString } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { Scope } from "../base/scope.ts";
import { check, retry } from "./errors.ts";
import { type Fd, own, type RawFd } from "./fd.ts";
import { writeAll } from "./files.ts";
import { withoutSoftLimit } from "./resource-limits.ts";

const sealed = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

/** A memory file that holds `bytes` and can never change again. See memfd_create(2). */
export function createSealed(sys: Sys, bytes: Uint8Array): Fd {
  using owned = new Scope();
  const result = sys.memfd_create(cString("prefork-body"), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  const file = owned.use(own(sys, result, "memfd_create"));
  // A memory file is a file: the limit on file size, which may be the job's, binds it.
  withoutSoftLimit(sys, RLIMIT_FSIZE, () => writeAll(sys, file.raw, bytes));
  check(sys.fcntl(file.raw, F_ADD_SEALS, sealed), "fcntl");
  owned.move();
  return file;
}

/** A memory file of zeros, for processes to share. */
export function createMemoryFile(sys: Sys, name: string, size: number): Fd {
  using owned = new Scope();
  const file = owned.use(own(sys, sys.memfd_create(cString(name), MFD_CLOEXEC), "memfd_create"));
  check(sys.ftruncate(file.raw, size), "ftruncate");
  owned.move();
  return file;
}

/**
 * Reads `size` bytes of a sealed memory file somebody sent.
 * @returns undefined when it is not sealed (its owner could change it under us, or it is no memory
 * file at all and a read could block) or is shorter.
 */
export function readSealed(sys: Sys, fd: RawFd, size: number): Uint8Array<ArrayBuffer> | undefined {
  const seals = sys.fcntl(fd, F_GET_SEALS, 0);
  if (seals < 0 || (seals & sealed) !== sealed) return undefined;
  const memory = allocate(size);
  let filled = 0;
  while (filled < size) {
    const rest = memory.from(filled);
    const count = check(retry(sys.pread, fd, rest, rest.length, filled), "pread");
    if (count === 0) return undefined;
    filled += count;
  }
  return memory;
}
