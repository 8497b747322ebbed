/**
 * Starting a program with exactly these bytes: Bun's own spawn takes argv and environment as text,
 * and cannot say what is not UTF-8, what has no `=`, or what stands there twice.
 */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { allocate, cString, type Memory, pointerArray } from "../../ffi/memory.ts";
import { spawnFileActionsSize } from "../../ffi/structs.ts";
import type { End, Sandbox } from "./sandbox.ts";
import { check, Descriptor, sys } from "./seqpacket.ts";

/** Bytes, or a text that stands for its UTF-8 bytes. */
export type Bytes = string | Uint8Array;

export interface ExactEnded {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly end: End;
  /** It left a core file. */
  readonly core: boolean;
}

/** Runs `argv` with `env` in the sandbox's working directory. Blocks until it has ended. */
export function runExactly(
  box: Sandbox,
  path: string,
  argv: readonly Bytes[],
  env: readonly Bytes[],
): ExactEnded {
  using stdin = Descriptor.open("/dev/null");
  using stdout = Descriptor.open(box.path("exact.stdout"), "w");
  using stderr = Descriptor.open(box.path("exact.stderr"), "w");
  using directory = Descriptor.open(box.work);
  const actions = allocate(spawnFileActionsSize);
  check(sys.posix_spawn_file_actions_init(actions), "posix_spawn_file_actions_init");
  sys.posix_spawn_file_actions_addfchdir_np(actions, directory.number);
  for (const [number, { number: source }] of [stdin, stdout, stderr].entries()) {
    sys.posix_spawn_file_actions_adddup2(actions, source, number);
  }
  const pid = allocate(4);
  const words = argv.map(cString);
  const variables = env.map(cString);
  const spawned = sys.posix_spawn(
    pid,
    cString(path),
    actions,
    null,
    pointerArray(words),
    pointerArray(variables),
  );
  sys.posix_spawn_file_actions_destroy(actions);
  check(spawned, `posix_spawn ${path}`);
  const status = allocate(4);
  check(sys.wait4(pid.view.getInt32(0, true), status, 0, null), "wait4");
  return {
    stdout: new Uint8Array(readFileSync(box.path("exact.stdout"))),
    stderr: new Uint8Array(readFileSync(box.path("exact.stderr"))),
    end: endOf(status),
    core: (status.view.getInt32(0, true) & 0x80) !== 0,
  };
}

/** The sandbox's environment as entries. */
export function entriesOf(env: Readonly<Record<string, string>>): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}

/** Strings as the kernel keeps them: each ended by a NUL. */
export function nulTerminated(strings: readonly Bytes[]): Uint8Array {
  return new Uint8Array(Buffer.concat(strings.map((text) => Buffer.from(cString(text)))));
}

function endOf(status: Memory): End {
  const word = status.view.getInt32(0, true);
  const signal = word & 0x7f;
  if (signal === 0) return (word >> 8) & 0xff;
  const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0];
  return name as NodeJS.Signals;
}
