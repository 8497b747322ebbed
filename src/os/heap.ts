/** The memory of a process that forks, and of its children. docs/fork-safety.md */
import {
  MADV_COLLAPSE,
  MADV_DOFORK,
  MADV_HUGEPAGE,
  MADV_NOHUGEPAGE,
  MADV_POPULATE_WRITE,
  O_RDONLY,
} from "../../ffi/linux/constants.ts";
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
 * child without it dies at its first step. See madvise(2).
 */
export class InheritedHeap {
  readonly #sys: Sys;
  /** Where the runtime has marked something so far. */
  #zones: readonly Mapping[] = [];
  /** The size of our memory when that was found out. */
  #size = -1;

  constructor(sys: Sys) {
    this.#sys = sys;
  }

  /**
   * To be called before each fork. A part of the heap that is new is marked anew: inside of a zone
   * that is known the mark is taken away unseen, and another zone makes our memory larger.
   */
  renew(): void {
    const size = memoryPages(this.#sys);
    if (size === this.#size) {
      // That a part of it has been unmapped is ignored: what is left has lost its mark.
      for (const zone of this.#zones) advise(this.#sys, zone, MADV_DOFORK);
      return;
    }
    const marked = mappings(this.#sys).filter(({ flags }) => flags.includes(" dc"));
    for (const { from, to } of marked) {
      check(this.#sys.madvise(from, to - from, MADV_DOFORK), "madvise");
    }
    this.#zones = [...this.#zones, ...marked];
    this.#size = memoryPages(this.#sys);
  }
}

/** How much is mapped. See statm in proc(5). */
function memoryPages(sys: Sys): number {
  return Number.parseInt(latin1(readFile(sys, "/proc/self/statm")), 10);
}

/** What the kernel can map as one page, and from how many of its small pages on that is worth its memory. */
const hugeSize = 2 * 1024 * 1024;
const pagesForHugeMin = 128;

/**
 * In a forked child: makes its own copy of what it shares with its parent and could write to, at once and not page by
 * page as it is first written to. Where it is dense the copy is in huge pages: a child's first *reading* of a small page
 * costs as well, most of all in a virtual machine (docs/fork-safety.md has figures). `isWanted` is asked again and
 * again: what has not been copied when the child has something better to do, is copied as ever. On kernels before 6.1
 * there are no huge pages, before 5.14 nothing happens. See madvise(2), and pagemap in proc(5).
 */
export function copyHeapAhead(sys: Sys, isWanted: () => boolean): void {
  using pagemap = open(sys, "/proc/self/pagemap", O_RDONLY);
  const entries = allocate((hugeSize / pageSize) * 8);
  for (const mapping of mappings(sys)) {
    if (!mapping.isWritable || !mapping.isPrivate || mapping.residentKiB === 0) continue;
    const isKeptSmall = mapping.flags.includes(" nh"); // by the runtime, for what it maps later
    if (isKeptSmall) advise(sys, mapping, MADV_HUGEPAGE);
    for (let from = mapping.from; from < mapping.to; ) {
      if (!isWanted()) return;
      const to = Math.min(mapping.to, from - (from % hugeSize) + hugeSize);
      const length = ((to - from) / pageSize) * 8;
      check(sys.pread(pagemap.raw, entries, length, (from / pageSize) * 8), "pread");
      copyPages(sys, from, presence(entries.subarray(0, length)));
      from = to;
    }
    if (isKeptSmall) advise(sys, mapping, MADV_NOHUGEPAGE);
  }
}

/** Of each page whether it is there, from its entries in pagemap. */
function presence(entries: Uint8Array): boolean[] {
  return Array.from(
    { length: entries.length / 8 },
    (_, page) => ((entries[page * 8 + 7] ?? 0) & 0x80) !== 0,
  );
}

/** Copies those of the pages at `address` that are there; `isPresent` is for no more than one huge page. */
function copyPages(sys: Sys, address: number, isPresent: readonly boolean[]): void {
  const count = isPresent.filter(Boolean).length;
  const isWhole = isPresent.length === hugeSize / pageSize;
  if (isWhole && count >= pagesForHugeMin && sys.madvise(address, hugeSize, MADV_COLLAPSE) === 0) {
    return;
  }
  for (let page = 0; page < isPresent.length; ) {
    const start = isPresent.indexOf(true, page);
    if (start < 0) return;
    const end = isPresent.indexOf(false, start);
    page = end < 0 ? isPresent.length : end;
    sys.madvise(address + start * pageSize, (page - start) * pageSize, MADV_POPULATE_WRITE);
  }
}

/** For what need not succeed. */
function advise(sys: Sys, { from, to }: Pick<Mapping, "from" | "to">, advice: number): void {
  sys.madvise(from, to - from, advice);
}
