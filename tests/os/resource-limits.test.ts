import { describe, expect, test } from "bun:test";
import * as errno from "../../ffi/errno.ts";
import { openLibc } from "../../ffi/libc.ts";
import {
  RLIMIT_CORE,
  RLIMIT_CPU,
  RLIMIT_DATA,
  RLIMIT_NOFILE,
  RLIMIT_STACK,
} from "../../ffi/linux/constants.ts";
import { allocate, type Memory } from "../../ffi/memory.ts";
import { rlimit } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { resourceLimitCount, resourceLimitSize, runtimeFilesMax } from "../../src/base/limits.ts";
import { SystemError } from "../../src/os/errors.ts";
import {
  applyLimits,
  inheritedLimits,
  resourceLimits,
  withoutSoftLimit,
} from "../../src/os/resource-limits.ts";

const real = openLibc();
const unlimited = 0xffff_ffff_ffff_ffffn;

type Limit = readonly [soft: bigint, hard: bigint];

/** A block in which each resource has 1000 and 2000, or what is given for it. */
function block(given: Readonly<Record<number, Limit>> = {}): Memory {
  const limits = allocate(resourceLimitCount * resourceLimitSize);
  for (let resource = 0; resource < resourceLimitCount; resource++) {
    put(limits, resource, given[resource] ?? [1000n, 2000n]);
  }
  return limits;
}

function put(limits: Memory, resource: number, [soft, hard]: Limit): void {
  limits.view.setBigUint64(resource * resourceLimitSize, soft, true);
  limits.view.setBigUint64(resource * resourceLimitSize + 8, hard, true);
}

function limitIn(limits: Memory, resource: number): Limit {
  const at = resource * resourceLimitSize;
  return [limits.view.getBigUint64(at, true), limits.view.getBigUint64(at + 8, true)];
}

/** A kernel with limits of its own, which does not let a user without rights raise a hard one. */
function kernelWith(own: Memory, refuses: ReadonlySet<number> = new Set()): Sys {
  return Object.assign(Object.create(real) as Sys, {
    getrlimit: (resource, value) => {
      value?.set(own.subarray(resource * resourceLimitSize, (resource + 1) * resourceLimitSize));
      return 0;
    },
    prlimit: (pid, resource, value, old) => {
      if (pid !== 0 || refuses.has(resource)) return -errno.EINVAL;
      const before = limitIn(own, resource);
      if (value) {
        const [soft, hard] = limitIn(value, 0);
        if (soft > hard) return -errno.EINVAL;
        if (hard > before[1]) return -errno.EPERM;
        put(own, resource, [soft, hard]);
      }
      if (old) put(old, 0, before);
      return 0;
    },
  } satisfies Partial<Sys>);
}

test("a struct rlimit is as large as stated", () => {
  expect(rlimit.size).toBe(resourceLimitSize);
});

test("our own limits are what the shell's ulimit says of them", () => {
  const limits = resourceLimits(real);
  const names = { c: RLIMIT_CORE, s: RLIMIT_STACK, t: RLIMIT_CPU, n: RLIMIT_NOFILE };
  const unit: Readonly<Record<string, bigint>> = { c: 512n, s: 1024n };
  const script = Object.keys(names)
    .map((letter) => `ulimit -H${letter}`)
    .join("; ");
  const said = Bun.spawnSync(["sh", "-c", script]).stdout.toString().trimEnd().split("\n");
  const expected = Object.entries(names).map(([letter, resource]) => {
    const [, hard] = limitIn(limits, resource);
    return hard === unlimited ? "unlimited" : `${hard / (unit[letter] ?? 1n)}`;
  });
  expect(said).toEqual(expected);
});

describe("the limits we were started with", () => {
  const raised = BigInt(runtimeFilesMax);
  /** What /proc says of our parent is real: its limits on open files. */
  const [parentSoft, parentHard] = parentFiles();

  function parentFiles(): Limit {
    const line = Bun.spawnSync(["sh", "-c", `grep 'Max open files' /proc/${process.pid}/limits`])
      .stdout.toString()
      .slice("Max open files".length)
      .trim()
      .split(/ +/);
    const toNumber = (text = ""): bigint => (text === "unlimited" ? unlimited : BigInt(text));
    return [toNumber(line[0]), toNumber(line[1])];
  }

  const softGiven = (files: Limit, parent: number): bigint =>
    limitIn(
      inheritedLimits(kernelWith(block({ [RLIMIT_NOFILE]: files })), parent),
      RLIMIT_NOFILE,
    )[0];
  const min = (a: bigint, b: bigint): bigint => (a < b ? a : b);
  const noProcess = 0x7fff_ffff;

  test("are those we have, but for open files", () => {
    const own = block({ [RLIMIT_STACK]: [1n, 2n], [RLIMIT_NOFILE]: [5n, 9n] });
    expect(inheritedLimits(kernelWith(own), process.pid)).toEqual(own);
  });

  test.each([
    { what: "not raised as far as may be", files: [5n, 9n] },
    { what: "higher than Bun raises it", files: [raised + 1n, raised + 2n] },
  ] as const)("have our own open files when the limit is $what", ({ files }) => {
    expect(softGiven(files, process.pid)).toBe(files[0]);
  });

  test("have a parent's open files when its hard limit is the same", () => {
    const soft = min(parentHard, raised);
    expect(softGiven([soft, parentHard], process.pid)).toBe(min(parentSoft, parentHard));
  });

  test("have our own open files when the hard limit was set on the way", () => {
    const hard = parentHard === 77n ? 78n : 77n;
    expect(softGiven([hard, hard], process.pid)).toBe(hard);
  });

  test.each([
    { what: "of another pid namespace", parent: 0 },
    { what: "that is gone", parent: noProcess },
  ])("have the usual open files with a parent $what", ({ parent }) => {
    expect(softGiven([raised, raised * 2n], parent)).toBe(1024n);
    expect(softGiven([100n, 100n], parent)).toBe(100n);
  });
});

describe("limits that a process takes on", () => {
  test("are set as they are", () => {
    const own = block();
    const wanted = block({ [RLIMIT_STACK]: [5n, 6n], [RLIMIT_NOFILE]: [0n, 2000n] });
    applyLimits(kernelWith(own), wanted);
    expect(own).toEqual(wanted);
  });

  test.each([
    { what: "a hard limit over ours", wanted: [1500n, 3000n], expected: [1500n, 2000n] },
    { what: "both over ours", wanted: [2500n, 3000n], expected: [2000n, 2000n] },
    { what: "no limit at all", wanted: [unlimited, unlimited], expected: [2000n, 2000n] },
    { what: "no hard limit", wanted: [0n, unlimited], expected: [0n, 2000n] },
  ] as const)("are set as near as may be: $what", ({ wanted, expected }) => {
    const own = block();
    applyLimits(kernelWith(own), block({ [RLIMIT_STACK]: wanted }));
    expect(own).toEqual(block({ [RLIMIT_STACK]: expected }));
  });

  test("are not set where they are those we have", () => {
    const kernel = kernelWith(block(), new Set([RLIMIT_DATA]));
    applyLimits(kernel, block());
    expect(resourceLimits(kernel)).toEqual(block());
  });

  test("are refused with another error as it is", () => {
    const kernel = kernelWith(block(), new Set([RLIMIT_DATA]));
    const wanted = block({ [RLIMIT_DATA]: [1n, 2n] });
    expect(() => applyLimits(kernel, wanted)).toThrow(SystemError);
  });
});

test("a soft limit is as high as the hard one, and then as before", () => {
  const own = block();
  let seen: Limit | undefined;
  withoutSoftLimit(kernelWith(own), RLIMIT_CORE, () => {
    seen = limitIn(own, RLIMIT_CORE);
  });
  expect(seen).toEqual([2000n, 2000n]);
  expect(own).toEqual(block());
});
