import { describe, expect, test } from "bun:test";
import { openLibc } from "../../ffi/libc.ts";
import type { Sys } from "../../ffi/sys.ts";
import { signalMaskSize, signalMax } from "../../src/base/limits.ts";
import type { ProcessStatus } from "../../src/os/proc.ts";
import {
  allSignals,
  ignoreSignals,
  inheritedBlocked,
  inheritedIgnored,
  isInMask,
  runtimeMask,
  type SignalName,
  signalName,
  signalNumbers,
  signalSet,
  sigsetOf,
} from "../../src/os/signals.ts";
import { nativeCompiler, runC } from "../helpers/c-compiler.ts";

const names = Object.keys(signalNumbers) as SignalName[];

test.each([
  { number: 1, name: "SIGHUP" },
  { number: 28, name: "SIGWINCH" },
  { number: 31, name: "SIGSYS" },
  { number: 0, name: "signal 0" },
  { number: 32, name: "signal 32" },
  { number: 34, name: "signal 34" },
  { number: -1, name: "signal -1" },
])("$number is shown as $name", ({ number, name }) => {
  expect(signalName(number)).toBe(name);
});

test("an empty set has no bit", () => {
  expect(signalSet([]).every((byte) => byte === 0)).toBe(true);
});

test("a signal named twice is in the set once", () => {
  expect([...signalSet(["SIGHUP", "SIGHUP"])]).toEqual([...signalSet(["SIGHUP"])]);
});

test("all signals are those from 1 to the highest", () => {
  const bits = [...allSignals()].reduce(
    (sum, byte) => sum + byte.toString(2).split("1").length - 1,
    0,
  );
  expect(bits).toBe(signalMax);
  expect([...allSignals().subarray(0, signalMax / 8)]).toEqual(new Array(signalMax / 8).fill(255));
});

const numbers = Array.from({ length: signalMax }, (_, index) => index + 1);
const inMask = (mask: Uint8Array): number[] => numbers.filter((number) => isInMask(mask, number));

test.each([[[]], [[1]], [[8, 9]], [[31, 32, 33, 34]], [[64]], [numbers]])(
  "a set holds what was put into it (row %#)",
  (all: number[]) => {
    const mask = signalSet(all).subarray(0, 8);
    expect(inMask(mask)).toEqual(all);
    expect([...sigsetOf(mask)]).toEqual([...signalSet(all)]);
  },
);

test("a number beyond a short set is not in it", () => {
  expect(isInMask(new Uint8Array(1).fill(0xff), 8)).toBe(true);
  expect(isInMask(new Uint8Array(1).fill(0xff), 9)).toBe(false);
  expect(isInMask(new Uint8Array(0), 1)).toBe(false);
});

test.each([
  { digits: "0000000000000000", ignored: [] },
  { digits: "0000000000000001", ignored: [1] },
  { digits: "8000000000000000", ignored: [64] },
  { digits: "0000000180000080", ignored: [8, 32, 33] },
  { digits: "0000000001001000", ignored: [] }, // PIPE and XFSZ, which are Bun's
  { digits: "ffffffffffffffff", ignored: numbers.filter((n) => n !== 13 && n !== 25) },
])("a process of SigIgn $digits was started to ignore those", ({ digits, ignored }) => {
  const status: Pick<ProcessStatus, "field"> = {
    field: (name) => (name === "SigIgn" ? digits : "0000000000000000"),
  };
  const parent: typeof status = { field: () => "ffffffffffffffff" }; // which knows no better
  expect(inMask(inheritedIgnored(status, parent))).toEqual([...ignored]);
});

test.each([
  { what: "nothing is known of the parent", own: [], parent: undefined, ignored: [] },
  { what: "its parent ignores nothing", own: [1], parent: [], ignored: [1] },
  { what: "its parent ignores them", own: [], parent: [2, 15, 1], ignored: [2] },
  { what: "its shell has put it in the background", own: [3], parent: [], ignored: [2, 3] },
])("where Bun handles INT and TERM, and $what", ({ own, parent, ignored }) => {
  const mask = inheritedIgnored(
    statusOf({ SigIgn: own, SigCgt: [2, 15] }),
    parent ? statusOf({ SigIgn: parent }) : undefined,
  );
  expect(inMask(mask)).toEqual([...ignored]);
});

test.each([
  { what: "nothing is known of the parent", own: [1], parent: undefined, blocked: [1] },
  { what: "its parent blocks nothing", own: [1], parent: [], blocked: [1] },
  { what: "its parent blocks PWR as well", own: [1, 2], parent: [1, 2, 30], blocked: [1, 2, 30] },
  { what: "its parent blocks nothing but PWR", own: [], parent: [30], blocked: [30] },
  { what: "it was given another mask than its parent's", own: [1], parent: [30], blocked: [1] },
  { what: "it was given none at all", own: [], parent: [1, 30], blocked: [] },
])("Bun unblocks PWR; $what", ({ own, parent, blocked }) => {
  const mask = inheritedBlocked(
    signalSet(own).subarray(0, signalMaskSize),
    parent ? statusOf({ SigBlk: parent }) : undefined,
  );
  expect(inMask(mask)).toEqual([...blocked]);
});

test("a process of Bun's has PWR, and all else as it was", () => {
  expect(inMask(runtimeMask(signalSet([1, 30, 64])))).toEqual([1, 64]);
});

/** A status with sets of signals. */
function statusOf(sets: Record<string, readonly number[]>): Pick<ProcessStatus, "field"> {
  const digits = (set: readonly number[]): string =>
    set
      .reduce((mask, number) => mask | (1n << BigInt(number - 1)), 0n)
      .toString(16)
      .padStart(16, "0");
  return { field: (name) => digits(sets[name] ?? []) };
}

test("all signals but those that cannot be are ignored when asked for, and no others", () => {
  const ignoredBy = (mask: Uint8Array): number[] => {
    const changed: number[] = [];
    const sys: Sys = Object.assign(Object.create(openLibc()) as Sys, {
      rt_sigaction: (_, number, action) => {
        expect(action?.view.getBigUint64(0, true)).toBe(1n); // SIG_IGN
        changed.push(number);
        return 0;
      },
    } satisfies Partial<Sys>);
    ignoreSignals(sys, mask);
    return changed;
  };
  const fixed: number[] = [signalNumbers.SIGKILL, signalNumbers.SIGSTOP];
  expect(ignoredBy(allSignals())).toEqual(numbers.filter((number) => !fixed.includes(number)));
  expect(ignoredBy(signalSet(["SIGINT", "SIGQUIT"]))).toEqual([2, 3]);
  expect(ignoredBy(new Uint8Array(8))).toEqual([]);
});

describe.skipIf(nativeCompiler === undefined)("as sigaddset(3) makes them (needs cc)", () => {
  const sets: SignalName[][] = [...names.map((name) => [name]), names, ["SIGHUP", "SIGSYS"]];

  test("sets of signals", () => {
    const program = sets.map((set) => {
      const adding = set.map((name) => `sigaddset(&set, ${name});`).join(" ");
      return `sigemptyset(&set); ${adding} show(&set);`;
    });
    const output = runC(
      nativeCompiler ?? "",
      `static void show(const sigset_t *set) {
        for (size_t at = 0; at < sizeof *set; at++) printf("%02x", ((const unsigned char *)set)[at]);
        printf("\\n");
      }
      int main(void) { sigset_t set; ${program.join("\n")} }`,
    );
    const ours = sets.map((set) => Buffer.from(signalSet(set)).toString("hex"));
    expect(ours).toEqual(output.trimEnd().split("\n"));
  });
});
