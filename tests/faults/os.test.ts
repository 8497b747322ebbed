/** Each call of the safe primitives fails in turn: a typed error or success, and nothing is left. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as errno from "../../ffi/errno.ts";
import { openLibc } from "../../ffi/libc.ts";
import { copyOf } from "../../ffi/memory.ts";
import type { Sys, SysName } from "../../ffi/sys.ts";
import { Receiver, send } from "../../src/os/ancillary.ts";
import { tryReap } from "../../src/os/children.ts";
import { duplicate } from "../../src/os/fd.ts";
import { openNull, openPipe, openPlace } from "../../src/os/files.ts";
import { acquirePidFile, PidFile } from "../../src/os/lock.ts";
import { createSealed, readSealed } from "../../src/os/memfd.ts";
import {
  listenAt,
  openConnector,
  peerCredentials,
  socketPair,
  tryAccept,
  tryConnect,
} from "../../src/os/socket.ts";
import { trySpawn } from "../../src/os/spawn.ts";
import { explored, impatient, must, words } from "../helpers/faults.ts";

const real = impatient(openLibc());
const directory = mkdtempSync(join(tmpdir(), "prefork-faults-"));
/** A path that does not fit into sun_path, and so goes through a handle on its directory. */
const deepDirectory = join(directory, "deep".repeat(20), "er".repeat(40));

beforeAll(() => {
  mkdirSync(deepDirectory, { recursive: true });
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

test("memfd: a sealed body is made and read", () => {
  const body = new Uint8Array(100_000).fill(7);
  const run = (sys: Sys) => {
    using file = createSealed(sys, body);
    const read = readSealed(sys, file.raw, body.length);
    must(read?.length === body.length, "read back");
  };
  expect(explored(real, { run }, ["memfd_create", "write", "fcntl", "pread"])).toEqual([]);
});

test("ancillary: a datagram with descriptors is sent and received", () => {
  const run = (sys: Sys) => {
    using owned = new DisposableStack();
    const { ours, theirs } = socketPair(sys);
    owned.use(ours);
    owned.use(theirs);
    const pipe = openPipe(sys);
    owned.use(pipe.readEnd);
    owned.use(pipe.writeEnd);
    const fds = [pipe.readEnd.raw, pipe.writeEnd.raw];
    must(send(sys, ours.raw, copyOf(new Uint8Array([1, 2, 3])), fds) === "sent", "send");
    const datagram = new Receiver(sys, 16).receive(theirs.raw);
    must(typeof datagram !== "string", "receive");
    for (const fd of datagram.fds) owned.use(fd);
    must(datagram.fds.length === 2 && !datagram.truncated, "both descriptors");
  };
  const calls: SysName[] = ["socketpair", "pipe2", "sendmsg", "recvmsg", "close"];
  expect(explored(real, { run }, calls)).toEqual([]);
});

test("ancillary: a datagram that is cut off still owns its descriptors", () => {
  const run = (sys: Sys) => {
    using owned = new DisposableStack();
    const { ours, theirs } = socketPair(sys);
    owned.use(ours);
    owned.use(theirs);
    const fds = [ours.raw, theirs.raw, ours.raw];
    must(send(sys, ours.raw, copyOf(new Uint8Array(64)), fds) === "sent", "send");
    const datagram = new Receiver(sys, 16).receive(theirs.raw);
    must(typeof datagram !== "string", "receive");
    for (const fd of datagram.fds) owned.use(fd);
    must(datagram.truncated && datagram.fds.length === 3, "cut off");
  };
  expect(explored(real, { run }, ["sendmsg", "recvmsg", "close"])).toEqual([]);
});

function conversation(path: string): (sys: Sys) => void {
  return (sys) => {
    using owned = new DisposableStack();
    owned.defer(() => rmSync(path, { force: true }));
    const listener = owned.use(listenAt(sys, path));
    const socket = owned.use(openConnector(sys, 1000));
    must(tryConnect(sys, socket.raw, `${path}.none`) === "missing", "nobody there");
    must(tryConnect(sys, socket.raw, path) === "connected", "connect");
    const accepted = tryAccept(sys, listener.raw);
    must(accepted !== "again", "accept");
    owned.use(accepted);
    must(peerCredentials(sys, accepted.raw).pid === process.pid, "credentials");
  };
}

test.each([
  ["a short path", () => join(directory, "s.sock"), [] as SysName[]],
  ["a long path", () => join(deepDirectory, "s.sock"), ["openat"] as SysName[]],
])("socket: listen, connect and accept at %s", (_, path, more) => {
  const calls: SysName[] = ["socket", "bind", "listen", "setsockopt", "connect", "accept4"];
  expect(explored(real, { run: conversation(path()) }, [...calls, "getsockopt", ...more])).toEqual(
    [],
  );
});

test("lock: a PID file is acquired, held against another, and released", () => {
  const path = join(directory, "lock.pid");
  const run = (sys: Sys) => {
    using owned = new DisposableStack();
    owned.defer(() => rmSync(path, { force: true }));
    const lock = acquirePidFile(sys, path);
    must(lock instanceof PidFile, "acquire");
    owned.use(lock);
    const second = acquirePidFile(sys, path);
    if (second instanceof PidFile) owned.use(second);
    must(!(second instanceof PidFile) && second.heldBy === process.pid, "held");
  };
  const calls: SysName[] = ["openat", "flock", "statx", "ftruncate", "pwrite", "read", "unlinkat"];
  expect(explored(real, { run }, calls)).toEqual([]);
});

test("lock: a name that vanishes between open and lock is made again", () => {
  const path = join(directory, "vanishing.pid");
  let isFirst = true;
  const vanishing: Sys = Object.assign(Object.create(real) as Sys, {
    flock: (fd, operation) => {
      if (isFirst) rmSync(path);
      isFirst = false;
      return real.flock(fd, operation);
    },
  } satisfies Partial<Sys>);
  using lock = acquirePidFile(vanishing, path) as PidFile;
  expect(lock).toBeInstanceOf(PidFile);
  expect(isFirst).toBe(false);
  expect(existsSync(path)).toBe(true);
});

test("spawn: a program gets descriptors and a directory", () => {
  const run = (sys: Sys) => {
    using owned = new DisposableStack();
    const nothing = owned.use(openNull(sys));
    const high = owned.use(duplicate(sys, nothing.raw, 70));
    const place = owned.use(openPlace(sys, directory));
    const pid = trySpawn(sys, {
      path: "/bin/true",
      argv: words("true"),
      env: words("A=1"),
      // The first stands where a target will be put, and is copied out of the way.
      descriptors: new Map([
        [0, nothing.raw],
        [60, high.raw],
      ]),
      directory: place.raw,
    });
    must(pid > 0, "spawn");
    must(tryReap(real, pid, { wait: true })?.waitStatus === 0, "run");
  };
  const calls: SysName[] = [
    "fcntl",
    "posix_spawn",
    "posix_spawn_file_actions_init",
    "posix_spawn_file_actions_adddup2",
    "posix_spawn_file_actions_addclose",
    "posix_spawn_file_actions_addfchdir_np",
    "posix_spawn_file_actions_destroy",
    "posix_spawnattr_init",
    "posix_spawnattr_setflags",
    "posix_spawnattr_setpgroup",
    "posix_spawnattr_setsigmask",
    "posix_spawnattr_setsigdefault",
    "posix_spawnattr_destroy",
  ];
  expect(explored(real, { run }, calls)).toEqual([]);
});

test("spawn: the verdict on a program that cannot be started", () => {
  const run = (sys: Sys) => {
    using nothing = openNull(sys);
    const descriptors = new Map([[0, nothing.raw]]);
    const program = { path: directory, argv: words("x"), env: words(), descriptors };
    must(trySpawn(sys, program) === -errno.EACCES, "refuse a directory");
  };
  expect(explored(real, { run }, ["posix_spawn", "openat"])).toEqual([]);
});
