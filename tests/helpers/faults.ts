/**
 * Making each step fail in turn. `Faults` wraps a `Sys` so that a chosen call fails; `explore` runs
 * a scenario with every call it makes failing, and reports what was not as it must be: a crash, a
 * hang, a descriptor, a child, a C object or a umask left behind, a next run that does not work.
 */
import { readdirSync, readlinkSync } from "node:fs";
import * as errno from "../../ffi/errno.ts";
import type { ErrnoName } from "../../ffi/errno-names.ts";
import { P_PID, WEXITED, WNOHANG, WNOWAIT } from "../../ffi/linux/constants.ts";
import { allocate, type Memory } from "../../ffi/memory.ts";
import { siginfo } from "../../ffi/structs.ts";
import { type Sys, type SysName, signatures } from "../../ffi/sys.ts";
import { type StringList, stringList } from "../../src/base/strings.ts";
import { ClientError } from "../../src/client/errors.ts";
import { OccupiedError } from "../../src/daemon/endpoint.ts";
import { DiscoveryError } from "../../src/domain/discovery.ts";
import { SystemError } from "../../src/os/errors.ts";
import { ProtocolError } from "../../src/protocol/wire.ts";

const numberOf: ReadonlyMap<string, number> = new Map(Object.entries(errno));

/** Which call fails, from which time on, and how. */
export interface Fault {
  readonly name: SysName;
  /** Counted from 1, since the plan was made. */
  readonly nth: number;
  readonly error: ErrnoName;
  readonly forEver: boolean;
}

export function faultText({ name, nth, error, forEver }: Fault): string {
  return `${name} #${nth}${forEver ? " and all after it" : ""}: ${error}`;
}

/**
 * Plausible failures of each call. The first one is also tried for ever. Calls that are not here
 * cannot fail (getpid, umask) or end the process.
 */
const plausible: Readonly<Partial<Record<SysName, readonly [ErrnoName, ...ErrnoName[]]>>> = {
  close: ["EIO", "EINTR"],
  read: ["EIO", "EAGAIN", "EINTR"],
  write: ["ENOSPC", "EPIPE", "EINTR"],
  pwrite: ["ENOSPC", "EIO"],
  pread: ["EIO", "EINTR"],
  openat: ["EMFILE", "EACCES", "ENOENT"],
  fcntl: ["EMFILE", "EPERM"],
  dup3: ["EBUSY", "EINTR"],
  close_range: ["ENOMEM"],
  pipe2: ["EMFILE"],
  memfd_create: ["EMFILE", "ENOMEM"],
  ftruncate: ["EIO"],
  statx: ["EACCES", "ENOMEM"],
  faccessat: ["EACCES"],
  mkdirat: ["EACCES"],
  unlinkat: ["EACCES", "ENOENT"],
  renameat: ["EACCES"],
  flock: ["ENOMEM", "EAGAIN", "EINTR"],
  readlinkat: ["ENOENT", "EACCES"],
  getdents64: ["ENOENT"],
  fchdir: ["EACCES"],
  isatty: ["EIO"],
  ioctl: ["EIO", "EINTR"],
  ioctl_number: ["EIO", "ENOMEM"],
  socket: ["EMFILE", "ENOMEM"],
  socketpair: ["EMFILE"],
  bind: ["EACCES", "EADDRINUSE"],
  listen: ["EADDRINUSE"],
  connect: ["ECONNREFUSED", "EAGAIN", "EACCES", "ENOMEM", "EINTR"],
  accept4: ["EMFILE", "ENOMEM", "EAGAIN", "EINTR"],
  getsockopt: ["ENOMEM"],
  setsockopt: ["ENOMEM"],
  sendmsg: ["ENOMEM", "EPIPE", "EAGAIN", "ETOOMANYREFS", "EINTR"],
  recvmsg: ["ENOMEM", "ECONNRESET", "EAGAIN", "EINTR"],
  epoll_create1: ["EMFILE"],
  epoll_ctl: ["ENOMEM", "ENOSPC"],
  epoll_wait: ["EINVAL", "EINTR"],
  poll: ["ENOMEM", "EINTR"],
  timerfd_create: ["EMFILE"],
  timerfd_settime: ["EINVAL"],
  signalfd: ["EMFILE"],
  inotify_init1: ["EMFILE"],
  inotify_add_watch: ["ENOSPC"],
  inotify_rm_watch: ["EINVAL"],
  setsid: ["EPERM"],
  setpgid: ["EACCES"],
  kill: ["EPERM", "ESRCH"],
  pidfd_open: ["EMFILE", "ENOMEM"],
  wait4: ["EINVAL", "EINTR"],
  waitid: ["EINVAL", "EINTR"],
  prlimit: ["EPERM", "EINVAL"],
  getpriority: ["ESRCH"],
  setpriority: ["EACCES", "ESRCH"],
  sigprocmask: ["EINVAL"],
  rt_sigaction: ["EINVAL"],
  posix_spawn: ["EAGAIN", "ENOMEM", "EACCES", "ENOENT"],
  posix_spawn_file_actions_init: ["ENOMEM"],
  posix_spawn_file_actions_destroy: ["EINVAL"],
  posix_spawn_file_actions_adddup2: ["ENOMEM"],
  posix_spawn_file_actions_addclose: ["ENOMEM"],
  posix_spawn_file_actions_addfchdir_np: ["ENOMEM"],
  posix_spawnattr_init: ["ENOMEM"],
  posix_spawnattr_destroy: ["EINVAL"],
  posix_spawnattr_setflags: ["EINVAL"],
  posix_spawnattr_setpgroup: ["EINVAL"],
  posix_spawnattr_setsigmask: ["EINVAL"],
  posix_spawnattr_setsigdefault: ["EINVAL"],
};

/** A failing call of these has done its work all the same. */
const doneAnyway: ReadonlySet<SysName> = new Set([
  "close",
  "posix_spawn_file_actions_destroy",
  "posix_spawnattr_destroy",
]);

/** Far more calls than any scenario makes: more means that it goes round for ever. */
const callsMax = 20_000;

/** The code under test does not come to an end. */
export class HangError extends Error {
  override readonly name = "HangError";
}

type Call = (...values: unknown[]) => number;

/** A `Sys` in which one call at a time can be made to fail, and which remembers what it was asked. */
export class Faults {
  /** The table to hand to the code under test. */
  readonly sys: Sys;
  readonly #real: Sys;
  /** Calls since the last plan, by name. */
  readonly counts = new Map<SysName, number>();
  /** Children started and not known to be reaped. */
  readonly children = new Set<number>();
  #fault: Fault | undefined;
  #met = 0;
  #total = 0;
  #isUnseen = false;
  /** Successful init calls less destroy calls, of file actions and of attributes. */
  #objects = 0;

  constructor(real: Sys) {
    this.#real = real;
    const table: Partial<Record<SysName, Call>> = {};
    for (const name of Object.keys(signatures) as SysName[]) {
      table[name] = (...values) => this.#call(name, values);
    }
    this.sys = table as unknown as Sys;
  }

  /** How often the planned fault was met. */
  get met(): number {
    return this.#met;
  }

  /** C objects that were made and not destroyed. */
  get objects(): number {
    return this.#objects;
  }

  /** Counts from zero again; from now on `fault` happens, or none. */
  plan(fault?: Fault): void {
    this.counts.clear();
    this.#fault = fault;
    this.#met = 0;
    this.#total = 0;
  }

  /** From now on nothing fails; what has been counted stays. */
  lift(): void {
    this.#fault = undefined;
    this.#total = 0;
  }

  /** The code under test has come back: what it does from now on is counted anew. */
  beat(): void {
    this.#total = 0;
  }

  /** What a test wants to know for itself: its calls do not count, and none of them fails. */
  unseen<T>(look: () => T): T {
    this.#isUnseen = true;
    try {
      return look();
    } finally {
      this.#isUnseen = false;
    }
  }

  /** Children that have neither been reaped nor are running. */
  zombies(): number[] {
    return [...this.children].filter((pid) => {
      const info = allocate(siginfo.size);
      const result = this.#real.waitid(P_PID, pid, info, WEXITED | WNOHANG | WNOWAIT);
      if (result < 0) this.children.delete(pid);
      return result === 0 && siginfo.get(info, "si_pid") === pid;
    });
  }

  #call(name: SysName, values: unknown[]): number {
    if (this.#isUnseen) return (this.#real[name] as Call)(...values);
    const nth = (this.counts.get(name) ?? 0) + 1;
    this.counts.set(name, nth);
    if (++this.#total > callsMax) {
      this.#total = 0; // who cleans up after this may make calls, too
      throw new HangError(`more than ${callsMax} calls, now ${name}`);
    }
    if (name.endsWith("_destroy")) this.#objects -= 1;
    const fault = this.#fault;
    if (fault?.name === name && (fault.forEver ? nth >= fault.nth : nth === fault.nth)) {
      this.#met += 1;
      if (doneAnyway.has(name)) (this.#real[name] as Call)(...values);
      return -(numberOf.get(fault.error) ?? 0);
    }
    // Looked up for each call: an entry of the real table replaces itself on its first.
    const result = (this.#real[name] as Call)(...values);
    if (result === 0 && name.startsWith("posix_spawn") && name.endsWith("_init")) {
      this.#objects += 1;
    }
    if (result === 0 && name === "posix_spawn") {
      this.children.add((values[0] as Memory).view.getInt32(0, true));
    }
    return result;
  }
}

/**
 * Has every fault on `names` tried. `attempt` says whether the fault was met: each call fails the
 * first time, the second, and so on, until a run does not make it so often. A brief exploration
 * fails each call in one way only, and for ever only from the first time on. No call fails later than its time `timesMax`.
 * @returns how many faults were met.
 */
export function failEach(
  names: Iterable<SysName>,
  attempt: (fault: Fault) => boolean,
  { brief = false, timesMax = Number.POSITIVE_INFINITY } = {},
): number {
  let tried = 0;
  for (const name of names) {
    const [first, ...others] = plausible[name] ?? [];
    if (first === undefined) continue;
    const attemptFrom1 = (error: ErrnoName, forEver: boolean, nthMax: number): number => {
      let nth = 1;
      while (nth <= nthMax && attempt({ name, nth, error, forEver })) nth++;
      tried += nth - 1;
      return nth - 1;
    };
    const count = attemptFrom1(first, false, timesMax);
    attemptFrom1(first, true, brief ? 1 : count);
    if (!brief) for (const error of others) attemptFrom1(error, false, count);
  }
  return tried;
}

/**
 * Has a sample of at most `sampleMax` faults tried, spread evenly over all calls of a run and all their times: each once,
 * and the first also for ever. `counts` is how often a run without a fault makes each call. @returns how many were met.
 */
export function failSample(
  counts: ReadonlyMap<SysName, number>,
  attempt: (fault: Fault) => boolean,
  sampleMax: number,
): number {
  const faults = [...counts].flatMap(([name, count]): Fault[] => {
    const error = plausible[name]?.[0];
    if (error === undefined) return [];
    const once = Array.from({ length: count }, (_, index) => index + 1).map((nth): Fault => {
      return { name, nth, error, forEver: false };
    });
    return [...once, { name, nth: 1, error, forEver: true }];
  });
  const step = Math.max(1, faults.length / sampleMax);
  let tried = 0;
  for (let at = 0; at < faults.length; at += step) {
    const fault = faults[Math.floor(at)];
    if (fault && attempt(fault)) tried += 1;
  }
  return tried;
}

/** The open descriptors, as `number target`; not the one that lists them. */
export function openDescriptors(): string[] {
  const open: string[] = [];
  for (const number of readdirSync("/proc/self/fd")) {
    try {
      const target = readlinkSync(`/proc/self/fd/${number}`);
      if (!/^\/proc\/(self|\d+)\/fd$/.test(target)) open.push(`${number} ${target}`);
    } catch {
      // The descriptor of the listing itself, which is closed by now.
    }
  }
  return open.sort();
}

/** What is in `after` and not in `before`, and the other way round; empty when nothing changed. */
export function difference(before: readonly string[], after: readonly string[]): string[] {
  return [
    ...after.filter((entry) => !before.includes(entry)).map((entry) => `leaked ${entry}`),
    ...before.filter((entry) => !after.includes(entry)).map((entry) => `lost ${entry}`),
  ];
}

/** An error that says what went wrong in words made for it. */
export function isTyped(error: unknown): boolean {
  return [SystemError, ClientError, ProtocolError, OccupiedError, DiscoveryError].some(
    (type) => error instanceof type,
  );
}

export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof SuppressedError) {
    return `SuppressedError(${describe(error.error)}, while handling ${describe(error.suppressed)})`;
  }
  return `${error.name}: ${error.message}`;
}

export interface Scenario {
  /** Does it once, cleans up what it made with calls of its own, and throws if it did not work. */
  readonly run: (sys: Sys) => void;
  /** What else must be as before after each run, such as the names in a directory. */
  readonly state?: (fault: Fault | undefined) => readonly string[];
}

export interface Exploration {
  /** Faults that were met, each in a run of its own. */
  readonly tried: number;
  /** The calls a run without faults makes. */
  readonly calls: readonly SysName[];
  /** What was not as it must be, one line each. */
  readonly problems: readonly string[];
}

/** Runs the scenario with each of its calls failing in turn, each way and each time, or with a sample of that. */
export function explore(real: Sys, scenario: Scenario, sampleMax?: number): Exploration {
  const faults = new Faults(real);
  const problems: string[] = [];
  faults.plan();
  scenario.run(faults.sys); // what the runtime itself opens on first use is open from here on
  faults.plan();
  scenario.run(faults.sys);
  const counts = new Map(faults.counts);
  const calls = [...counts.keys()];

  const attempt = (fault: Fault | undefined): boolean => {
    const say = (what: string) => {
      problems.push(`${fault ? faultText(fault) : "without a fault"}: ${what}`);
    };
    const before = openDescriptors();
    const stateBefore = scenario.state?.(fault) ?? [];
    const umaskBefore = umaskOf(real);
    const objectsBefore = faults.objects;
    faults.plan(fault);
    try {
      scenario.run(faults.sys);
    } catch (error) {
      if (!fault) say(`failed: ${describe(error)}`);
      else if (!isTyped(error)) say(`threw ${describe(error)}`);
    }
    const isMet = faults.met > 0;
    faults.plan();
    for (const line of difference(before, openDescriptors())) say(line);
    for (const line of difference(stateBefore, scenario.state?.(fault) ?? [])) say(line);
    for (const pid of faults.zombies()) {
      say(`the child ${pid} was not reaped`);
      real.wait4(pid, allocate(4), 0, null);
    }
    if (faults.objects !== objectsBefore) say("a C object was not destroyed");
    const umask = umaskOf(real);
    if (umask !== umaskBefore) {
      say(`the umask is ${umask.toString(8)}`);
      real.umask(umaskBefore);
    }
    return isMet;
  };

  const attemptTwice = (fault: Fault): boolean => {
    const isMet = attempt(fault);
    if (isMet) attempt(undefined);
    return isMet;
  };
  const tried =
    sampleMax === undefined
      ? failEach(calls, attemptTwice)
      : failSample(counts, attemptTwice, sampleMax);
  return { tried, calls, problems };
}

function umaskOf(real: Sys): number {
  const mask = real.umask(0o077);
  real.umask(mask);
  return mask;
}

/**
 * The problems of an exploration, for a test that expects none. It must have seen each of `calls`
 * fail, so that a scenario which has lost its purpose does not go on passing.
 */
export function explored(real: Sys, scenario: Scenario, calls: readonly SysName[]): string[] {
  const exploration = explore(real, scenario);
  const unseen = calls.filter((call) => !exploration.calls.includes(call));
  const problems = unseen.map((call) => `${call} was never called, so it never failed`);
  if (exploration.tried < calls.length) problems.push(`only ${exploration.tried} faults were met`);
  return [...problems, ...exploration.problems];
}

/**
 * Insists that a step of a scenario came out well. Without a fault that is what is tested; with one
 * it only says that the code under test has noticed in its own way.
 */
export function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new SystemError(what, errno.EIO);
}

export function words(...list: string[]): StringList {
  return stringList(new TextEncoder().encode(list.map((word) => `${word}\0`).join("")));
}

/** The real calls, but a wait for nothing in particular does not take its time. */
export function impatient(real: Sys): Sys {
  // Not a copy: entries of the real table replace themselves when they are first called.
  return Object.assign(Object.create(real) as Sys, {
    poll: (list, count, timeoutMs) => real.poll(list, count, count === 0 ? 0 : timeoutMs),
  } satisfies Partial<Sys>);
}
