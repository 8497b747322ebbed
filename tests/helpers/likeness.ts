/**
 * Likeness: the same is done at a shell's prompt with a command itself and with prefork in front of
 * it, and the same must be seen. So a test shows what is so, not what we believe.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Daemon, Sandbox } from "./sandbox.ts";
import { Shell, type ShellName, shellNames } from "./terminal.ts";

/** What stands in front of a command. */
export const prefixes = { waiting: "pfc -w ", onTerminal: "pfc -t " } as const;

export type Way = keyof typeof prefixes;

/** Where something is tried: an interactive shell at a terminal, in a sandbox with a daemon. */
export interface Seat {
  readonly box: Sandbox;
  readonly daemon: Daemon;
  readonly shellName: ShellName;
  readonly shell: Shell;
  /** Nothing, or prefork, in front of a command. */
  readonly prefix: string;
}

export interface LikenessOptions {
  readonly shells?: readonly ShellName[];
  readonly ways?: readonly Way[];
}

/** A sandbox with a daemon for all tests of a file, with these scripts of sh in its PATH. */
export function sharedSandbox(
  scripts: Readonly<Record<string, string>> = {},
): () => { box: Sandbox; daemon: Daemon } {
  let shared: { box: Sandbox; daemon: Daemon } | undefined;
  beforeAll(async () => {
    const box = new Sandbox();
    for (const [name, text] of Object.entries(scripts)) {
      box.write(`bin/${name}`, `#!/bin/sh\n${text}\n`, 0o755);
    }
    shared = { box, daemon: await box.serve() };
  });
  afterAll(async () => await shared?.box[Symbol.asyncDispose]());
  return () => {
    if (shared === undefined) throw new Error("the tests have not begun");
    return shared;
  };
}

/**
 * Declares a test for each shell and each way: `act` must return the same with prefork as without.
 * What it returns may hold the prefix, which is taken out of all texts before they are compared.
 */
export function testLikeness<Sight>(
  what: string,
  shared: () => { box: Sandbox; daemon: Daemon },
  act: (seat: Seat) => Promise<Sight>,
  { shells = shellNames, ways = ["waiting", "onTerminal"] }: LikenessOptions = {},
): void {
  for (const shellName of shells) {
    const tryWith = async (prefix: string): Promise<Sight> => {
      await using shell = await Shell.open(shared().box, shellName);
      return without(prefix, await act({ ...shared(), shellName, shell, prefix }));
    };
    let direct: Promise<Sight> | undefined;
    for (const way of ways) {
      const prefix = prefixes[way];
      test(`${shellName}, ${prefix.trimEnd()}: ${what}`, async () => {
        direct ??= tryWith("");
        const expected = await direct;
        expect(await tryWith(prefix)).toEqual(expected);
      });
    }
  }
}

function without<Value>(prefix: string, value: Value): Value {
  if (prefix === "") return value;
  if (typeof value === "string") return value.replaceAll(prefix, "") as Value;
  if (Array.isArray(value)) return value.map((item) => without(prefix, item)) as Value;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, without(prefix, item)]),
  ) as Value;
}
