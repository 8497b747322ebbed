/** Memory of processes, in KiB. See proc_pid_smaps(5). */
import { readFileSync } from "node:fs";
import { childrenOf, descendantsOf, processStat, statusField } from "../helpers/process.ts";
import type { Sandbox } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";

export interface ClientMemory {
  /** Pages in RAM while it waits, shared ones included. */
  readonly residentKiB: number;
  /** The most it has had. The kernel counts it in batches of pages, so a small process may show less than it has. */
  readonly peakKiB: number;
}

/** Processes of one name. */
export interface GroupMemory {
  readonly name: string;
  readonly count: number;
  readonly rssKiB: number;
  /** A page that n processes share counts 1/n in each. */
  readonly pssKiB: number;
}

/** Of a client of the daemon `daemonPid` that waits for its job. `words` run `cat` through it. */
export async function clientMemory(
  box: Sandbox,
  words: readonly string[],
  daemonPid: number,
): Promise<ClientMemory> {
  const client = box.start([...words, "/bin/cat"], { stdin: "pipe" });
  await until("the job runs", () => childrenOf(daemonPid).some(({ name }) => name === "cat"));
  // The client may still be on its way to its wait.
  await until("the client waits", () => processStat(client.pid)?.state === "S");
  const memory = {
    residentKiB: rollup(client.pid, "Rss"),
    peakKiB: Number.parseInt(statusField(client.pid, "VmHWM"), 10),
  };
  await client.closeInput();
  await client.ended;
  return memory;
}

/** A daemon and everything below it, by name. */
export function treeMemory(pid: number): GroupMemory[] {
  const own = processStat(pid);
  const all = [...(own ? [own] : []), ...descendantsOf(pid)];
  return [...Map.groupBy(all, ({ name }) => name)].map(([name, members]) => ({
    name,
    count: members.length,
    rssKiB: members.reduce((total, member) => total + rollup(member.pid, "Rss"), 0),
    pssKiB: members.reduce((total, member) => total + rollup(member.pid, "Pss"), 0),
  }));
}

function rollup(pid: number, field: "Rss" | "Pss"): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
  const kib = new RegExp(`^${field}: +(\\d+) kB$`, "m").exec(text)?.[1];
  if (kib === undefined) throw new Error(`/proc/${pid}/smaps_rollup has no ${field}`);
  return Number(kib);
}
