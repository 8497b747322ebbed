/** The memory of a process that forks, and of its children. docs/fork-safety.md */
import * as errno from "../../ffi/errno.ts";
import { MADV_DOFORK, MADV_POPULATE_WRITE, O_RDONLY } from "../../ffi/linux/constants.ts";
import { allocate } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { latin1 } from "../base/strings.ts";
import { check } from "./errors.ts";
import { open, readFile } from "./files.ts";

const pageSize = 4096;

/** One mapping, as /proc/PID/smaps tells it. See proc(5). */
interface Mapping {
  readonly from: number;
  readonly to: number;
  readonly isWritable: boolean;
  readonly isPrivate: boolean;
  residentKiB: number;
  /** Two letters each; `dc` is "not inherited by a child". */
  flags: string;
}

function mappings(sys: Sys): Mapping[] {
  const all: Mapping[] = [];
  for (const line of latin1(readFile(sys, "/proc/self/smaps")).split("\n")) {
    const [, from, to, access] = /^([0-9a-f]+)-([0-9a-f]+) (\S+) /.exec(line) ?? [];
    if (from !== undefined && to !== undefined) {
      all.push({
        from: Number.parseInt(from, 16),
        to: Number.parseInt(to, 16),
        isWritable: access?.[1] === "w",
        isPrivate: access?.[3] === "p",
        residentKiB: 0,
        flags: "",
      });
      continue;
    }
    const last = all.at(-1);
    if (!last) continue;
    if (line.startsWith("Rss:")) last.residentKiB = Number.parseInt(line.slice(4), 10);
    if (line.startsWith("VmFlags:")) last.flags = line.slice(8);
  }
  return all;
}

/**
 * Lets a forked child inherit all of our memory: JavaScriptCore marks its heap MADV_DONTFORK, and a
 * child without it dies at its first step. To be called before each fork, since new parts of the
 * heap are marked anew. See madvise(2).
 */
export function inheritHeap(sys: Sys): void {
  for (const { from, to, flags } of mappings(sys)) {
    if (flags.includes(" dc")) check(sys.madvise(from, to - from, MADV_DOFORK), "madvise");
  }
}

/**
 * In a forked child: makes its own copy of every page it shares with its parent and could write to,
 * at once and not one by one when it is first written to. Nothing happens on a kernel before 5.14.
 * See madvise(2), and pagemap in proc(5).
 */
export function copyHeapAhead(sys: Sys): void {
  using pagemap = open(sys, "/proc/self/pagemap", O_RDONLY);
  const entries = allocate(64 * 1024);
  for (const { from, to, isWritable, isPrivate, residentKiB } of mappings(sys)) {
    if (!isWritable || !isPrivate || residentKiB === 0) continue;
    let start = -1;
    const populate = (end: number): boolean => {
      const result = start < 0 ? 0 : sys.madvise(start, end - start, MADV_POPULATE_WRITE);
      start = -1;
      return result !== -errno.EINVAL;
    };
    for (let at = from; at < to; ) {
      const wanted = Math.min(entries.length, ((to - at) / pageSize) * 8);
      const offset = (at / pageSize) * 8;
      const size = check(sys.pread(pagemap.raw, entries, wanted, offset), "pread");
      if (size === 0) break;
      for (let entry = 0; entry < size; entry += 8, at += pageSize) {
        const isPresent = ((entries[entry + 7] ?? 0) & 0x80) !== 0;
        if (isPresent && start < 0) start = at;
        else if (!isPresent && !populate(at)) return;
      }
    }
    if (!populate(to)) return;
  }
}
