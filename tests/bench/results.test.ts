import { describe, expect, test } from "bun:test";
import {
  doubtsAbout,
  type Figures,
  figuresOf,
  goalsOf,
  type Memory,
  type Samples,
} from "./results.ts";
import type { Row } from "./rows.ts";
import { verdictOf } from "./statistics.ts";

const plain: Row = {
  key: "direct",
  name: "/bin/true",
  command: ["/bin/true"],
  env: {},
  runs: 1,
  width: 1,
  every: 1,
  unit: "direct",
};

function samples(row: Partial<Row>, measured: Partial<Omit<Samples, "row">>): Samples {
  const none = { timesNs: [], turnsNs: [], processorUs: [], failedTurns: 0 };
  return { row: { ...plain, ...row }, ...none, ...measured };
}

function figuresByKey(all: readonly Samples[]): Map<string, Figures> {
  return new Map(figuresOf(all).map((figures) => [figures.key, figures]));
}

const direct = samples({}, { timesNs: [90, 100, 500], turnsNs: [1, 1, 1], processorUs: [10, 30] });
const reference = samples({ key: "reference" }, { timesNs: [120, 130, 140] });
const ours = samples(
  { key: "wait", reference: "reference" },
  { timesNs: [190, 260, 300], turnsNs: [1, 1, 1], processorUs: [30, 50] },
);

describe("figures of single runs", () => {
  const figures = figuresByKey([direct, reference, ours]);

  test("are medians in medians of the unit", () => {
    expect(figures.get("wait")).toMatchObject({
      medianNs: 260,
      ratio: 2.6,
      p95Ns: 300,
      p95Ratio: 3,
    });
    expect(figures.get("direct")).toMatchObject({ ratio: 1, p95Ratio: 5 });
  });

  test("are compared with the reference, where there is one", () => {
    expect(figures.get("wait")?.ofReference).toBe(2);
    expect(figures.get("direct")?.ofReference).toBeUndefined();
    expect(figuresByKey([direct, ours]).get("wait")?.ofReference).toBeUndefined();
  });

  test("count the mean of the processor time, and none where it was not counted", () => {
    expect(figures.get("wait")).toMatchObject({ processorUs: 40, processorRatio: 2 });
    expect(figures.get("reference")?.processorRatio).toBeUndefined();
  });
});

test("a row under a condition has the direct run under the same condition as its unit", () => {
  const niceDirect = samples({ key: "niceDirect" }, { timesNs: [200] });
  const nice = samples({ key: "nice", unit: "niceDirect" }, { timesNs: [300] });
  const figures = figuresByKey([direct, niceDirect, nice]);
  expect(figures.get("niceDirect")?.ratio).toBe(2);
  expect(figures.get("nice")?.ratio).toBe(1.5);
});

test("of runs that overlap the throughput counts: a lower one is a smaller part of the reference's", () => {
  const load = { runs: 10, width: 16, unit: "loadDirect16" };
  const figures = figuresByKey([
    samples({ ...load, key: "loadDirect16" }, { turnsNs: [1e9] }),
    samples({ ...load, key: "loadReference16" }, { turnsNs: [2e9] }),
    samples(
      { ...load, key: "loadTrue16", reference: "loadReference16" },
      { turnsNs: [4e9, 4e9, 9e9], failedTurns: 1 },
    ),
  ]);
  expect(figures.get("loadTrue16")).toMatchObject({
    jobsPerSecond: 2.5,
    ratio: 4,
    ofReference: 0.5,
    runs: 30,
    failedTurns: 1,
  });
});

test("few rounds and a busy machine are told", () => {
  const calm = samples({}, { timesNs: [100, 110, 190] });
  const busy = samples({}, { timesNs: [100, 110, 230] });
  expect(doubtsAbout(figuresOf([calm]), 20)).toEqual([]);
  expect(doubtsAbout(figuresOf([calm]), 19)).toEqual([
    expect.stringContaining("19 rounds are few"),
  ]);
  expect(doubtsAbout(figuresOf([busy]), 20)).toEqual([expect.stringContaining("is 2.1 medians")]);
});

describe("goals", () => {
  const memory = (residentKiB: number): Memory => ({
    client: { residentKiB, peakKiB: residentKiB },
    referenceClient: undefined,
    daemon: [],
  });
  const verdicts = (all: readonly Samples[], residentKiB: number): Record<string, string> =>
    Object.fromEntries(
      goalsOf(figuresOf(all), memory(residentKiB)).map((goal) => [goal.what, verdictOf(goal)]),
    );

  test("are judged one by one; what has no row was not measured", () => {
    expect(verdicts([direct, reference, ours], 65)).toMatchObject({
      "pfc -w /bin/true": "missed",
      "pfc -w /bin/true, of the C reference": "missed",
      "pfc /bin/true (detached)": "not measured",
      "client resident": "missed",
      "prefork version, of the binary without a head": "not measured",
    });
  });

  test("are met at the limit", () => {
    const exact = samples({ key: "wait", reference: "reference" }, { timesNs: [170] });
    const nearby = samples({ key: "reference" }, { timesNs: [170 / 1.2] });
    expect(verdicts([direct, nearby, exact], 64)).toMatchObject({
      "pfc -w /bin/true": "met",
      "pfc -w /bin/true, of the C reference": "met",
      "client resident": "met",
    });
  });

  test("the throughput is to be at least a part of the reference's", () => {
    const load = { runs: 1, width: 64, unit: "loadDirect64", reference: "loadReference64" };
    const all = (ns: number): Samples[] => [
      samples({ ...load, key: "loadReference64" }, { turnsNs: [300] }),
      samples({ ...load, key: "loadTrue64" }, { turnsNs: [ns] }),
    ];
    const what = "throughput of pfc -w /bin/true, 64 clients, of the C reference";
    expect(verdicts(all(400), 1)[what]).toBe("met");
    expect(verdicts(all(401), 1)[what]).toBe("missed");
  });
});
