/** That the generator makes all that it can make, and makes the same of the same seed. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { contexts } from "./arbitrary.ts";
import { type Context, programs, resources } from "./context.ts";
import { encodeRequest } from "./request.ts";

const sample: readonly Context[] = fc.sample(contexts, { seed: 1, numRuns: 1000 });

/** What occurs in the sample, each once, sorted. */
function occurring<Value>(of: (context: Context) => readonly Value[]): Value[] {
  return [...new Set(sample.flatMap(of))].sort();
}

test("every kind of program, directory, thing, act and end, and every resource", () => {
  const kinds: string[] = occurring(({ command }) =>
    command.programs.map(({ program }) => program),
  );
  expect(kinds).toEqual([...programs].sort());
  const places: string[] = occurring(({ directory }) => [directory.kind]);
  expect(places).toEqual(["deep", "deleted", "inside", "linked", "mode", "moved", "outside"]);
  // biome-ignore format: a list
  expect(occurring(({ things }) => things.map(({ kind }) => kind))).toEqual([
    "directory", "fifo", "file", "internet", "memory", "outside", "place", "process", "sink", "socket",
    "source", "terminal", "timer", "watcher",
  ]);
  expect(occurring(({ acts }) => acts.map(({ kind }) => kind))).toEqual(["make", "read", "write"]);
  expect(occurring(({ ending }) => [ending.kind])).toEqual(["exit", "signal"]);
  const limited: string[] = occurring(({ limits }) => limits.map(({ resource }) => resource));
  expect(limited).toEqual(Object.keys(resources).sort());
});

test("every descriptor from 0 to 20, open and closed; some lead to one description", () => {
  const numbers = Array.from({ length: 21 }, (_, number) => number);
  const has = ({ descriptors }: Context, wanted: number): boolean =>
    descriptors.some(({ number }) => number === wanted);
  for (const number of numbers) {
    expect(sample.some((context) => has(context, number))).toBe(true);
    expect(sample.some((context) => !has(context, number))).toBe(true);
  }
  const thingAt = ({ descriptors }: Context, wanted: number): number | undefined =>
    descriptors.find(({ number }) => number === wanted)?.thing;
  const areOne = sample.filter(
    (one) => thingAt(one, 1) !== undefined && thingAt(one, 1) === thingAt(one, 2),
  );
  expect(areOne.length).toBeGreaterThan(0);
});

test("most that may be ignored and blocked is, and most signals end a program", () => {
  expect(occurring(({ ignored }) => ignored).length).toBeGreaterThan(45);
  expect(occurring(({ blocked }) => blocked).length).toBeGreaterThan(55);
  const deadly = occurring(({ ending }) => (ending.kind === "signal" ? [ending.signal] : []));
  expect(deadly.length).toBeGreaterThan(50);
});

test("arguments and entries with every byte, many and long ones", () => {
  const bytes = occurring(({ args, environment }) =>
    [...args, ...environment].flatMap((text) => [...text]),
  );
  expect(bytes.length).toBe(255);
  expect(sample.some(({ args }) => args.length > 1000)).toBe(true);
  expect(sample.some(({ args }) => args.some((text) => text.length > 70_000))).toBe(true);
  expect(sample.some(({ environment }) => environment.length > 1000)).toBe(true);
});

test("the same seed, the same requests", () => {
  const again = fc.sample(contexts, { seed: 1, numRuns: 50 });
  const places = { case: "/case", observer: "/observer" };
  const request = (context: Context): string => encodeRequest(context, ["/program"], places);
  expect(again.map(request)).toEqual(sample.slice(0, 50).map(request));
});
