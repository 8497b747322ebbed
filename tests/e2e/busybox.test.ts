/**
 * A real suite through prefork: some of BusyBox's own tests, directly and with every call of BusyBox
 * going through `prefork run --wait`. None may pass directly and fail through. They come from the
 * distribution's package archive: where that cannot be had, this fails. `bun run test:busybox` has
 * all of them.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { Comparer, complaintsOf } from "../busybox/compare.ts";
import { fetchSuite } from "../busybox/fetch.ts";
import { count, failedParts } from "../busybox/results.ts";
import { findUnits, type Unit } from "../busybox/side.ts";

// Apt may have to wait for its archive.
setDefaultTimeout(300_000);

/** Quick ones, for what they do with stdin, pipes, descriptors, statuses, processes and files. */
const names = [
  "cat",
  "false",
  "start-stop-daemon",
  "test",
  "xargs",
  "ash-heredoc",
  "ash-quoting",
  "ash-redir",
];

let comparer: Comparer;
let units: readonly Unit[];
beforeAll(async () => {
  const suite = await fetchSuite();
  units = await findUnits(suite);
  comparer = await Comparer.open(suite);
});
afterAll(async () => await comparer?.[Symbol.asyncDispose]());

test.each(names)("BusyBox's tests of %s find no difference", async (name) => {
  const unit = units.find((each) => each.name === name);
  if (unit === undefined) throw new Error(`BusyBox has no tests of ${name}`);
  const jobsBefore = await comparer.jobCount();
  const comparison = await comparer.compare(unit);
  const complaints = complaintsOf(comparison);
  if (complaints.length > 0) {
    const shown = failedParts(comparison.outputs?.through ?? "");
    throw new Error(`${complaints.join("\n")}\n\nwhat they printed:\n${shown}`);
  }
  // They were run, and through prefork.
  expect(count(comparison.through, "PASS")).toBeGreaterThan(0);
  expect(await comparer.jobCount()).toBeGreaterThan(jobsBefore);
});
