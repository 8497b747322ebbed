/**
 * `bun compile.ts CONTRACT OUT`: compiles the head with the C compiler inside Bun, takes the code out of memory, and writes it
 * to OUT. A process of its own: the compiler may end the process that it runs in, and the build compares what two processes
 * have made. The code holds no address, so it is the same wherever it was compiled.
 */
import { cc, toArrayBuffer } from "bun:ffi";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Head } from "./elf.ts";

/** The last text of ours; what the compiler has put behind it (tables for a debugger) is left out. */
const endMark = "PREFORK-HEAD-END\0";
/** Where the head begins is a multiple of this, so that what it has aligned is aligned. */
const alignment = 16n;

if (process.arch !== "x64") {
  // Its code for arm64 takes each address out of a table of absolute ones: see docs/head.md.
  throw new Error(
    `Bun's C compiler makes no code for ${process.arch} that runs wherever it is put`,
  );
}
const [contractPath = "", outPath = ""] = process.argv.slice(2);
const where = { returns: "i64", args: [] } as const;
const { symbols } = cc({
  source: join(import.meta.dir, "../../ffi/head/head.c"),
  include: [dirname(contractPath)],
  // No libc is looked for: a machine need not have the one to link with.
  flags: ["-nostdlib"],
  symbols: {
    pf_where_code: where,
    pf_where_entry: where,
    pf_where_parameters: where,
    pf_where_client: where,
    pf_where_lend: where,
    pf_where_end: where,
  },
});
const code = symbols.pf_where_code();
const start = code - (code % alignment);
const end = symbols.pf_where_end() + BigInt(endMark.length);
// Both ends are in memory that the compiler has mapped: only there do the functions just called have their code.
if (!isMapped(start, end)) throw new Error("the code is not where it was expected");
const bytes = new Uint8Array(
  toArrayBuffer(Number(start) as never, 0, Number(end - start)).slice(0),
);
bytes.fill(0, 0, Number(code - start));
const head: Head = {
  bytes: Buffer.from(bytes).toString("base64"),
  entry: Number(symbols.pf_where_entry() - start),
  parameters: Number(symbols.pf_where_parameters() - start),
  client: Number(symbols.pf_where_client() - start),
  lend: Number(symbols.pf_where_lend() - start),
};
await Bun.write(outPath, JSON.stringify(head));

/** Whether all of a range is mapped and can be read. */
function isMapped(from: bigint, to: bigint): boolean {
  let reached = from;
  for (const line of readFileSync("/proc/self/maps", "utf8").split("\n")) {
    const [, low, high] = /^([0-9a-f]+)-([0-9a-f]+) r/.exec(line) ?? [];
    if (low === undefined || high === undefined) continue;
    if (BigInt(`0x${low}`) <= reached && reached < BigInt(`0x${high}`))
      reached = BigInt(`0x${high}`);
  }
  return reached >= to;
}
