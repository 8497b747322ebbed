/** SOCK_SEQPACKET sockets in the file system: listen, connect, and who is on the other side. */

import * as errno from "../../ffi/errno.ts";
import {
  AF_UNIX,
  O_DIRECTORY,
  O_PATH,
  SO_PEERCRED,
  SO_SNDTIMEO,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_SEQPACKET,
  SOL_SOCKET,
} from "../../ffi/linux/constants.ts";
import { allocate, type Memory } from "../../ffi/memory.ts";
import { sockaddrUn, timeval, ucred } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { listenBacklog, socketPathBytesMax } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import { fromUtf8 } from "../base/strings.ts";
import { check, retry, SystemError } from "./errors.ts";
import { Fd, own, type RawFd } from "./fd.ts";
import { open } from "./files.ts";

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Why nobody could be reached at a path. */
export type Unreachable = "missing" | "refused" | "denied" | "not-a-daemon" | "busy";

function unreachable(number: number): Unreachable | undefined {
  switch (number) {
    case errno.ENOENT:
    case errno.ENOTDIR:
      return "missing";
    case errno.ECONNREFUSED:
      return "refused";
    case errno.EACCES:
    case errno.EPERM:
      return "denied";
    case errno.EPROTOTYPE:
    case errno.ELOOP:
      return "not-a-daemon";
    case errno.EAGAIN:
      return "busy";
    default:
      return undefined;
  }
}

/**
 * Calls `use` with the socket address of `path`. A path over the 107 bytes of sun_path is reached
 * through a handle on its directory, /proc/self/fd/N/name, which lives as long as the call.
 */
function withAddress<Result>(
  sys: Sys,
  path: string,
  use: (address: Memory, size: number) => Result,
): Result {
  const bytes = fromUtf8(path);
  if (bytes.length <= socketPathBytesMax) return use(...addressOf(bytes));
  const slash = path.lastIndexOf("/");
  using directory = open(sys, slash < 0 ? "." : path.slice(0, slash + 1), O_PATH | O_DIRECTORY);
  const short = fromUtf8(`/proc/self/fd/${directory.raw}/${path.slice(slash + 1)}`);
  if (short.length > socketPathBytesMax) throw new SystemError("reach", errno.ENAMETOOLONG, path);
  return use(...addressOf(short));
}

/** Valid until the next call: a client tries several places in a row. */
function addressOf(path: Uint8Array): [Memory, number] {
  address ??= allocate(sockaddrUn.size);
  sockaddrUn.set(address, "sun_family", AF_UNIX);
  const start = sockaddrUn.offset("sun_path");
  address.set(path, start);
  address[start + path.length] = 0;
  return [address, start + path.length + 1];
}
let address: Memory | undefined;

/** A non-blocking listening socket named `path`, which must not exist. Mode 0600 from birth. */
export function listenAt(sys: Sys, path: string): Fd {
  using owned = new Scope();
  const flags = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const socket = owned.use(own(sys, sys.socket(AF_UNIX, flags, 0), "socket"));
  const before = sys.umask(0o177);
  try {
    withAddress(sys, path, (address, size) => {
      check(sys.bind(socket.raw, address, size), "bind", path);
    });
  } finally {
    sys.umask(before);
  }
  check(sys.listen(socket.raw, listenBacklog), "listen", path);
  owned.move();
  return socket;
}

/** A blocking socket to connect with, which waits for room in a full backlog for `timeoutMs`. */
export function openConnector(sys: Sys, timeoutMs: number): Fd {
  using owned = new Scope();
  const flags = SOCK_SEQPACKET | SOCK_CLOEXEC;
  const socket = owned.use(own(sys, sys.socket(AF_UNIX, flags, 0), "socket"));
  const limit = allocate(timeval.size);
  timeval.set(limit, "tv_sec", Math.floor(timeoutMs / 1000));
  timeval.set(limit, "tv_usec", (timeoutMs % 1000) * 1000);
  check(sys.setsockopt(socket.raw, SOL_SOCKET, SO_SNDTIMEO, limit, limit.length), "setsockopt");
  owned.move();
  return socket;
}

/** Connects `socket` to `path`. After a failure it can be tried with another path. */
export function tryConnect(sys: Sys, socket: RawFd, path: string): "connected" | Unreachable {
  let result: number;
  try {
    result = withAddress(sys, path, (address, size) => retry(sys.connect, socket, address, size));
  } catch (error) {
    if (!(error instanceof SystemError)) throw error; // the directory of a long path
    result = -error.errno;
  }
  if (result >= 0) return "connected";
  const why = unreachable(-result);
  if (!why) throw new SystemError("connect", -result, path);
  return why;
}

/** The next connection, non-blocking; "again" when none waits or it has gone already. */
export function tryAccept(sys: Sys, listener: RawFd): Fd | "again" {
  const result = retry(sys.accept4, listener, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (result === -errno.EAGAIN) return "again";
  return own(sys, result, "accept");
}

/** Who made the other end: the connecting client, or the daemon when it began to listen. */
export function peerCredentials(sys: Sys, socket: RawFd): PeerCredentials {
  asked ??= { credentials: allocate(ucred.size), size: allocate(4) };
  const { credentials, size } = asked;
  size.view.setUint32(0, credentials.length, true);
  check(sys.getsockopt(socket, SOL_SOCKET, SO_PEERCRED, credentials, size), "getsockopt");
  return {
    pid: ucred.get(credentials, "pid"),
    uid: ucred.get(credentials, "uid"),
    gid: ucred.get(credentials, "gid"),
  };
}

/** What one call gives. */
let asked: { readonly credentials: Memory; readonly size: Memory } | undefined;

/** Two connected SEQPACKET sockets, close-on-exec and blocking. */
export function socketPair(sys: Sys): { ours: Fd; theirs: Fd } {
  const pair = allocate(8);
  check(sys.socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "socketpair");
  return {
    ours: new Fd(sys, pair.view.getInt32(0, true)),
    theirs: new Fd(sys, pair.view.getInt32(4, true)),
  };
}
