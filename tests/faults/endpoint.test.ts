/** The daemon's place in the file system, and the client's context, with each step failing. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLibc } from "../../ffi/libc.ts";
import type { Sys, SysName } from "../../ffi/sys.ts";
import { Scope } from "../../src/base/scope.ts";
import { type Caller, capture, type JobOptions } from "../../src/client/capture.ts";
import { OccupiedError, openEndpoint } from "../../src/daemon/endpoint.ts";
import { openPipe } from "../../src/os/files.ts";
import { openConnector, tryConnect } from "../../src/os/socket.ts";
import {
  openPseudoTerminal,
  rawSettings,
  terminalSettings,
  trySetTerminal,
} from "../../src/os/terminal.ts";
import { explored, type Fault, impatient, must, words } from "../helpers/faults.ts";
import { noSignals, policy } from "../helpers/requests.ts";

const real = impatient(openLibc());
const base = mkdtempSync(join(tmpdir(), "prefork-faults-"));
let directory = base;

beforeEach(() => {
  directory = mkdtempSync(join(base, "e-"));
});
afterAll(() => {
  rmSync(base, { recursive: true });
});

/** Who cannot lock a file, look at it or remove it has to leave it; all others leave none. */
const namesMayStay: ReadonlySet<SysName> = new Set(["unlinkat", "statx", "flock"]);

function namesLeft(fault: Fault | undefined): string[] {
  const names = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
  for (const name of names) rmSync(name);
  return fault && namesMayStay.has(fault.name) ? [] : names;
}

const endpointCalls: readonly SysName[] = [
  "openat",
  "flock",
  "statx",
  "ftruncate",
  "pwrite",
  "unlinkat",
  "socket",
  "bind",
  "listen",
  "renameat",
  "inotify_init1",
  "inotify_add_watch",
  "close",
];

test("an endpoint is opened, reached and taken away", () => {
  const path = join(directory, "pfd.sock");
  const run = (sys: Sys) => {
    using endpoint = openEndpoint(sys, path);
    must(endpoint.isInPlace(), "in place");
    using socket = openConnector(real, 1000);
    must(tryConnect(real, socket.raw, path) === "connected", "connect");
  };
  expect(explored(real, { run, state: namesLeft }, endpointCalls)).toEqual([]);
});

test("an endpoint with a path too long for a socket's address, and a PID file elsewhere", () => {
  const deep = join(directory, "deep".repeat(30));
  const pidFile = join(directory, "elsewhere.pid");
  mkdirSync(deep);
  const run = (sys: Sys) => {
    using endpoint = openEndpoint(sys, join(deep, "pfd.sock"), pidFile);
    must(existsSync(pidFile), "the PID file");
    must(endpoint.isInPlace(), "in place");
  };
  expect(explored(real, { run, state: namesLeft }, endpointCalls)).toEqual([]);
});

test.each(["the socket", "the PID file"])("an endpoint is refused when %s is held", (what) => {
  const pidFile = join(directory, "elsewhere.pid");
  const run = (sys: Sys) => {
    const path = join(directory, "pfd.sock");
    using _holder = openEndpoint(real, join(directory, "holder.sock"), pidFile);
    using _socketHolder = what === "the socket" ? openEndpoint(real, path) : undefined;
    try {
      using _endpoint = openEndpoint(sys, path, pidFile);
    } catch (error) {
      if (error instanceof OccupiedError) return;
      throw error;
    }
    throw new TypeError("a held endpoint was opened");
  };
  expect(explored(real, { run, state: namesLeft }, ["openat", "flock", "read"])).toEqual([]);
});

const caller: Caller = {
  argv: words("true"),
  env: words("A=1"),
  closed: new Set([2]),
  workingDirectory: "/",
  inherited: [],
  blockedSignals: noSignals,
};
/** What is told of every client. */
const always: readonly SysName[] = ["openat", "getpriority", "read", "close"];

test.each<[string, Partial<JobOptions>, readonly SysName[]]>([
  ["that waits", { wait: true }, always],
  ["that leaves, without a terminal", {}, [...always, "isatty"]],
  ["that leaves, with its terminal", { stdin: "keep" }, always],
  ["without standard input, elsewhere", { stdin: "null", directory: "/tmp" }, always],
])("the context of a client %s", (_, options, calls) => {
  const run = (sys: Sys) => {
    using owned = new Scope();
    const { readEnd, writeEnd } = openPipe(real);
    owned.use(readEnd);
    owned.use(writeEnd);
    const descriptors = [
      { own: readEnd.raw, number: 7 },
      { own: writeEnd.raw, number: 8 },
      { own: readEnd.raw, number: 8 }, // the later of two
    ];
    const job: JobOptions = {
      wait: false,
      warm: false,
      stdin: "default",
      descriptors,
      policy,
      directory: undefined,
    };
    const captured = capture(sys, caller, { ...job, ...options }, { owned, terminals: {} });
    must(captured.fds.length === 5, "directory, two standard ones and two more");
    must(captured.fds[4] === readEnd.raw, "the later one");
  };
  expect(explored(real, { run }, calls)).toEqual([]);
});

test("the context of a client whose job gets a terminal", () => {
  const run = (sys: Sys) => {
    using owned = new Scope();
    const { master, slave } = openPseudoTerminal(sys);
    owned.use(master);
    owned.use(slave);
    const settings = terminalSettings(sys, slave.raw);
    must(settings !== undefined, "its settings");
    must(trySetTerminal(sys, slave.raw, rawSettings(settings)), "other settings");
    const terminals = {
      controlling: slave.raw,
      guarded: { terminal: slave.raw, settings, expected: rawSettings(settings) },
    };
    const job = {
      wait: true,
      warm: false,
      stdin: "default",
      descriptors: [],
      policy,
      directory: "/",
    } as const;
    const { fds, request } = capture(sys, caller, job, { owned, terminals });
    must(fds.length === 5 && request.terminalGuard?.index === 4, "three times and once more");
  };
  const calls: SysName[] = ["openat", "ioctl", "ioctl_number", "fcntl", "close"];
  expect(explored(real, { run }, calls)).toEqual([]);
});
