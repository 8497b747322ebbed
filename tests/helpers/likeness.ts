/**
 * Likeness: the same is done at a shell's prompt with a command itself and with prefork in front of
 * it, and the same must be seen. So a test shows what is so, not what we believe.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Daemon, Sandbox } from "./sandbox.ts";
import { type Answer, Shell, type ShellName, shellNames } from "./terminal.ts";

/** What stands in front of a command. */
export const prefixes = { waiting: "pfc -w ", onTerminal: "pfc -t " } as const;

export type Way = keyof typeof prefixes;

/** What the tests of a file have in common. */
export interface Shared {
  readonly box: Sandbox;
  readonly daemon: Daemon;
}

/** Where something is tried: an interactive shell at a terminal, in a sandbox with a daemon. */
export class Seat implements Shared {
  readonly box: Sandbox;
  readonly daemon: Daemon;
  readonly shell: Shell;
  readonly shellName: ShellName;
  /** Nothing, or prefork, in front of a command. */
  readonly prefix: string;

  constructor({ box, daemon }: Shared, shell: Shell, shellName: ShellName, prefix: string) {
    this.box = box;
    this.daemon = daemon;
    this.shell = shell;
    this.shellName = shellName;
    this.prefix = prefix;
  }

  /** Starts a command that says `ready` when it is. */
  async start(command: string): Promise<void> {
    this.shell.enter(`${this.prefix}${command}`);
    await this.shell.until(/ready\r?\n/);
  }

  /** Runs a script with a shell of the same kind, of which some command says `ready`. */
  async startScript(text: string): Promise<void> {
    this.box.write("work/script", text);
    this.shell.enter(`${this.shellName} ./script`);
    await this.shell.until(/ready\r?\n/);
  }

  /** Types a key, and returns what is shown then, up to the prompt. */
  async press(key: string): Promise<Answer> {
    this.shell.type(key);
    return await this.shell.prompt();
  }
}

export interface LikenessOptions {
  readonly shared: () => Shared;
  /** All, unless said otherwise. */
  readonly shells?: readonly ShellName[];
  /** All, unless said otherwise. */
  readonly ways?: readonly Way[];
}

/** Scripts of sh by name. */
export type Scripts = Readonly<Record<string, string>>;

/** Puts scripts into the PATH of a sandbox. */
export function addScripts(box: Sandbox, scripts: Scripts): void {
  for (const [name, text] of Object.entries(scripts)) {
    box.write(`bin/${name}`, `#!/bin/sh\n${text}\n`, 0o755);
  }
}

/** A sandbox with a daemon for all tests of a file, with these scripts of sh in its PATH. */
export function sharedSandbox(scripts: Scripts = {}): () => Shared {
  let shared: Shared | undefined;
  beforeAll(async () => {
    const box = new Sandbox();
    addScripts(box, scripts);
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
  { shared, shells = shellNames, ways = ["waiting", "onTerminal"] }: LikenessOptions,
  act: (seat: Seat) => Promise<Sight>,
): void {
  for (const shellName of shells) {
    const tryWith = async (prefix: string): Promise<Sight> => {
      await using shell = await Shell.open(shared().box, shellName);
      return without(prefix, await act(new Seat(shared(), shell, shellName, prefix)));
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
