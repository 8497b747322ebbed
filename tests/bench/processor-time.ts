/**
 * The processor time of a daemon with everything below it, or of all clients. A control group counts it to the
 * microsecond, also of processes that have ended. Where none can be made (it takes root, or a delegated one) the times
 * in /proc are added up, which count in hundredths of a second: enough for many jobs together.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { descendantsOf } from "../helpers/process.ts";

export interface Account {
  /** Calls `start`; the processes that it starts at once count from then on, and so do theirs. */
  enter<Result>(start: () => Result): Result;
  /** Processor time until now, in µs. `root` is the process that `enter` has started. */
  readUs(root: number): number;
}

export type AccountSource = "cgroup" | "/proc";

/** Opens accounts; all of them are of one kind. */
export class Accounts implements Disposable {
  readonly source: AccountSource;
  readonly #home: string | undefined;
  readonly #groups: string[] = [];

  constructor() {
    this.#home = usableGroup();
    this.source = this.#home === undefined ? "/proc" : "cgroup";
  }

  open(name: string): Account {
    if (this.#home === undefined) return processTree;
    const group = join(this.#home, `prefork-bench-${process.pid}-${name}`);
    mkdirSync(group);
    this.#groups.push(group);
    return new GroupAccount(group, this.#home);
  }

  /** The processes must have ended. */
  [Symbol.dispose](): void {
    for (const group of this.#groups) rmdirSync(group);
  }
}

class GroupAccount implements Account {
  readonly #group: string;
  readonly #home: string;

  constructor(group: string, home: string) {
    this.#group = group;
    this.#home = home;
  }

  enter<Result>(start: () => Result): Result {
    moveTo(this.#group);
    try {
      return start();
    } finally {
      moveTo(this.#home);
    }
  }

  readUs(): number {
    const text = readFileSync(join(this.#group, "cpu.stat"), "latin1");
    return Number(/^usage_usec (\d+)$/m.exec(text)?.[1]);
  }
}

/** USER_HZ, which is the same everywhere by now. See proc_pid_stat(5). */
const ticksPerSecond = 100;

const processTree: Account = {
  enter: (start) => start(),
  readUs: (root) => {
    const pids = [root, ...descendantsOf(root).map(({ pid }) => pid)];
    return pids.reduce((total, pid) => total + ticksOf(pid), 0) * (1e6 / ticksPerSecond);
  },
};

/** Its own time and that of the children it has waited for. */
function ticksOf(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return fields.slice(11, 15).reduce((total, field) => total + Number(field), 0);
  } catch {
    return 0; // ignoring it: it has ended, and counts in its parent
  }
}

function moveTo(group: string): void {
  writeFileSync(join(group, "cgroup.procs"), `${process.pid}`);
}

/** Our own group (version 2), if groups with processes can be made in it; it needs no controller. */
function usableGroup(): string | undefined {
  const mount = /^\S+ \S+ \S+ \S+ (\S+) .*- cgroup2 /m.exec(
    readFileSync("/proc/self/mountinfo", "latin1"),
  )?.[1];
  const path = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "latin1"))?.[1];
  if (mount === undefined || path === undefined) return undefined;
  const home = join(mount, path);
  const trial = join(home, `prefork-bench-${process.pid}`);
  try {
    mkdirSync(trial);
    if (!existsSync(join(trial, "cpu.stat"))) return undefined;
    moveTo(trial);
    moveTo(home);
    return home;
  } catch {
    return undefined; // not allowed
  } finally {
    if (existsSync(trial)) rmdirSync(trial);
  }
}
