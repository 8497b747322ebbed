import { describe, expect, test } from "bun:test";
import {
  allSignals,
  type SignalName,
  signalMax,
  signalName,
  signalNumbers,
  signalSet,
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
