/** The contexts of fixed-cases.ts and known-limits.ts, directly and through the client. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Sandbox } from "../helpers/sandbox.ts";
import { complaintsOf, differences } from "./comparison.ts";
import { fixedCases } from "./fixed-cases.ts";
import { knownLimits } from "./known-limits.ts";
import { Launcher } from "./launcher.ts";
import { describeFailure } from "./reproduction.ts";

const box = new Sandbox();
let launcher: Launcher;

beforeAll(async () => {
  await box.serve();
  launcher = new Launcher(box);
});

afterAll(async () => {
  await launcher[Symbol.asyncDispose]();
  await box[Symbol.asyncDispose]();
});

describe("the same directly and through prefork", () => {
  test.each([...fixedCases])("$name", async ({ context }) => {
    const pair = await launcher.runBoth(context);
    const found = differences(context, pair);
    const told = found.map((difference) => describeFailure(context, difference));
    const [first] = told;
    if (first === undefined) return;
    throw new Error(`${told.join("\n")}\nstderr: ${complaintsOf(context, pair.viaClient)}`);
  });
});

describe("known to differ where the client is Bun's", () => {
  test.each([...knownLimits])("$name", async ({ context, differing }) => {
    const found = differences(context, await launcher.runBoth(context));
    expect(found.map(({ aspect }) => aspect)).toEqual([...differing]);
  });
});
