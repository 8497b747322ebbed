import { describe, expect, test } from "bun:test";
import * as errno from "../../ffi/errno.ts";
import { openLibc } from "../../ffi/libc.ts";
import type { Sys, SysName } from "../../ffi/sys.ts";
import { schedAttrSize } from "../../src/base/limits.ts";
import { type Attributes, applyAttributes, readAttributes } from "../../src/os/attributes.ts";
import { niceValue } from "../../src/os/process.ts";

const real = openLibc();
const own: Attributes & { nice: number } = { ...readAttributes(real), nice: niceValue(real) };

/** The calls that change something; a prctl and a personality only by what they are asked. */
const setters: readonly SysName[] = [
  ...(["setpriority", "ioprio_set", "sched_setattr", "sched_setaffinity"] as const),
  ...(["write", "prctl", "personality"] as const),
];
const PR_GET_NO_NEW_PRIVS = 39;
const askForPersonality = 0xffff_ffff;

/** The real system, but that nothing is changed: what would be is denied, and told to `asked`. */
function denying(asked: string[], number: number): Sys {
  const sys: Record<string, unknown> = Object.create(real);
  for (const name of setters) {
    const call = real[name] as (...values: unknown[]) => number;
    sys[name] = (...values: unknown[]): number => {
      const isQuestion = values[0] === PR_GET_NO_NEW_PRIVS || values[0] === askForPersonality;
      if (isQuestion) return call(...values);
      asked.push(name);
      return -number;
    };
  }
  return sys as Sys;
}

test("all of this process are known", () => {
  expect(own.oomScoreAdj).toBeWithin(-1000, 1001);
  expect(own.coredumpFilter).toBeWithin(0, 0x200);
  expect(own.personality).toBeWithin(0, 0xffff_ffff);
  expect(own.ioPriority).toBeWithin(0, 0x1_0000);
  expect(own.timerSlackNs).toBeGreaterThan(0n);
  expect(own.scheduling.length).toBe(schedAttrSize);
  expect(own.affinity.some((byte) => byte !== 0)).toBe(true);
});

test("what it has already is not set again", () => {
  const asked: string[] = [];
  applyAttributes(denying(asked, errno.EPERM), own);
  expect(asked).toEqual([]);
});

test("what is not known is left alone", () => {
  const asked: string[] = [];
  applyAttributes(denying(asked, errno.EPERM), {
    nice: own.nice,
    oomScoreAdj: undefined,
    coredumpFilter: undefined,
    personality: undefined,
    noNewPrivs: false,
    ioPriority: undefined,
    timerSlackNs: 0n,
    scheduling: new Uint8Array(),
    affinity: new Uint8Array(),
  });
  expect(asked).toEqual([]);
});

test("an I/O priority without a class is one like another", () => {
  const asked: string[] = [];
  const sys: Sys = Object.assign(denying(asked, errno.EPERM), { ioprio_get: () => 4 });
  applyAttributes(sys, { ...own, ioPriority: 0 });
  expect(asked).toEqual([]);
});

describe.each([
  { denial: "EPERM", number: errno.EPERM },
  { denial: "EACCES", number: errno.EACCES },
  { denial: "EINVAL", number: errno.EINVAL },
])("denied with $denial", ({ number }) => {
  const batch = Uint8Array.from(own.scheduling);
  batch[4] = 3;
  test.each([
    { what: "a nice value", call: "setpriority", wanted: { nice: own.nice > 0 ? 0 : 5 } },
    { what: "an OOM score", call: "write", wanted: { oomScoreAdj: 999 } },
    { what: "a choice of what is dumped", call: "write", wanted: { coredumpFilter: 0 } },
    { what: "a personality", call: "personality", wanted: { personality: 0x0100_0000 } },
    { what: "no new privileges", call: "prctl", wanted: { noNewPrivs: true } },
    { what: "an I/O priority", call: "ioprio_set", wanted: { ioPriority: 0x6000 } },
    { what: "a timer slack", call: "prctl", wanted: { timerSlackNs: 0xffff_ffff_ffff_ffffn } },
    { what: "a policy", call: "sched_setattr", wanted: { scheduling: batch } },
    {
      what: "other CPUs",
      call: "sched_setaffinity",
      wanted: { affinity: Uint8Array.from({ length: 128 }, (_, index) => (index === 127 ? 1 : 0)) },
    },
  ])("$what is left as it is", ({ call, wanted }) => {
    const asked: string[] = [];
    applyAttributes(denying(asked, number), { ...own, ...wanted });
    expect(new Set(asked)).toEqual(new Set([call]));
  });
});
