/**
 * A daemon, and a client with a daemon, with each of their calls failing in turn: nobody waits for
 * ever, nothing is left open, and the next request is served. See fixtures/harness.ts.
 */
import { afterAll, expect, test } from "bun:test";
import { Bundles } from "./exploration.ts";

const bundles = new Bundles();
afterAll(() => bundles[Symbol.dispose]());
const none: readonly string[] = [];
const limitMs = 600_000;

/** Those that take longest come first. */
const explorations = [
  ["serving", "runs a script cold"],
  ["serving", "runs a script whose spare dies with its job"],
  ["serving", "runs a script warm"],
  ["opening", "runs a built-in command warm"],
  ["serving", "runs a built-in command warm"],
  ["serving", "loses a client"],
  ["opening", "runs a program"],
  ["serving", "runs a program"],
  ["serving", "runs a detached program"],
  ["serving", "runs a program with a large environment"],
  ["serving", "runs two at once"],
  ["serving", "runs a built-in command cold"],
  ["serving", "runs a program with another nice value"],
  ["serving", "runs a program whose starter is stopped"],
  ["serving", "runs a program whose starter is killed"],
  ["serving", "runs a program on a terminal of its own"],
  ["serving", "runs a program with other limits"],
  ["serving", "loses a client whose job is to be killed then"],
  ["serving", "ends a program that takes too long"],
  ["serving", "kills what a program leaves in its group"],
  ["serving", "tells of a stop"],
  ["serving", "refuses what is not there"],
  ["serving", "refuses garbage with descriptors"],
  ["serving", "tells about itself"],
  ["serving", "relays a signal"],
  ["serving", "starts an image that dies, again and again"],
  ["serving", "runs a built-in command while its images die"],
  ["closing", "runs a program"],
  ["closing", "runs a built-in command warm"],
].map(([phase = "", play = ""]) => ({
  phase,
  play,
  // All are started here, so that some run at the same time.
  problems: bundles.explore("daemon", phase, play, bundles.path("own-process")),
}));

test.each(explorations)(
  "a daemon that $play, with faults while $phase",
  async ({ problems }) => {
    expect(await problems).toEqual(none);
  },
  limitMs,
);

const clients = [
  "runs a detached program",
  "waits for a program",
  "is refused",
  "relays a signal",
  "waits for a program that is killed, on a terminal",
  "gives a program a terminal",
  "gives a program a terminal, and has none",
  "asks for status",
].map((play) => ({
  play,
  problems: bundles.explore("client", play, bundles.path("own-process")),
}));

test.each(clients)(
  "a client that $play, with faults",
  async ({ problems }) => {
    expect(await problems).toEqual(none);
  },
  limitMs,
);

test(
  "descriptors that do not fit into the receiver are all closed",
  async () => {
    expect(await bundles.explore("few-descriptors")).toEqual(none);
  },
  limitMs,
);
