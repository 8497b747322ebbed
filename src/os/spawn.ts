/** Starting processes of ours: posix_spawn(3), whose cost does not grow with our memory. */

import {
  POSIX_SPAWN_SETPGROUP,
  POSIX_SPAWN_SETSIGDEF,
  POSIX_SPAWN_SETSIGMASK,
} from "../../ffi/linux/constants.ts";
import {
  allocate,
  copyOf,
  cString,
  type Memory,
  pointerArray,
  stringTable,
} from "../../ffi/memory.ts";
import { spawnAttributesSize, spawnFileActionsSize } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { Scope } from "../base/scope.ts";
import type { StringList } from "../base/strings.ts";
import { check } from "./errors.ts";
import { duplicate, type RawFd } from "./fd.ts";
import { allSignals, sigsetOf } from "./signals.ts";

/** Which of our descriptors a child gets under which number; all others it does not get. */
export type DescriptorMap = ReadonlyMap<number, RawFd>;

export interface Program {
  readonly path: string;
  readonly argv: StringList;
  readonly env: StringList;
  readonly descriptors: DescriptorMap;
  /** Where it starts; our own working directory when left out. */
  readonly directory?: RawFd;
  /** The signals it has blocked; none when left out. */
  readonly blockedSignals?: Uint8Array;
  /** Stays in our process group instead of leading one of its own. */
  readonly joinsGroup?: boolean;
}

/**
 * Starts a program with default signal actions and exactly the descriptors it is given (ours are
 * all close-on-exec).
 * @returns its pid, or the negated errno with which it could not be started.
 */
export function trySpawn(sys: Sys, program: Program): number {
  using owned = new Scope();
  const sources = clearOfTargets(sys, program.descriptors, owned);
  const actions = owned.adopt(fileActions(sys), (memory) => {
    sys.posix_spawn_file_actions_destroy(memory);
  });
  if (program.directory !== undefined) {
    const result = sys.posix_spawn_file_actions_addfchdir_np(actions, program.directory);
    check(result, "posix_spawn_file_actions_addfchdir_np");
  }
  for (const number of [0, 1, 2]) {
    if (program.descriptors.has(number)) continue;
    check(sys.posix_spawn_file_actions_addclose(actions, number), "posix_spawn");
  }
  for (const [number, source] of sources) {
    const result = sys.posix_spawn_file_actions_adddup2(actions, source, number);
    check(result, "posix_spawn_file_actions_adddup2");
  }
  const attributes = owned.adopt(initAttributes(sys), (memory) => {
    sys.posix_spawnattr_destroy(memory);
  });
  setAttributes(sys, attributes, program);
  const pid = allocate(4);
  const path = cString(program.path);
  const [argv, env] = [stringPointers(program.argv), stringPointers(program.env)];
  const result = sys.posix_spawn(pid, path, actions, attributes, argv, env);
  return result < 0 ? result : pid.view.getInt32(0, true);
}

/** argv or envp for libc. */
export function stringPointers(list: StringList): Memory {
  return list.count === 0 ? pointerArray([]) : stringTable(copyOf(list.bytes), list.count);
}

/**
 * Copies those sources that stand where a target will be put, so that installing one descriptor
 * never overwrites another that is still to come. The copies are owned by `owned`.
 */
export function clearOfTargets(
  sys: Sys,
  descriptors: DescriptorMap,
  owned: Scope,
): Map<number, RawFd> {
  const highest = Math.max(2, ...descriptors.keys());
  const clear = new Map<number, RawFd>();
  for (const [number, source] of descriptors) {
    const isClear = source > highest;
    clear.set(number, isClear ? source : owned.use(duplicate(sys, source, highest + 1)).raw);
  }
  return clear;
}

function fileActions(sys: Sys): Memory {
  const actions = allocate(spawnFileActionsSize);
  check(sys.posix_spawn_file_actions_init(actions), "posix_spawn_file_actions_init");
  return actions;
}

function initAttributes(sys: Sys): Memory {
  const attributes = allocate(spawnAttributesSize);
  check(sys.posix_spawnattr_init(attributes), "posix_spawnattr_init");
  return attributes;
}

function setAttributes(sys: Sys, attributes: Memory, program: Program): void {
  const group = program.joinsGroup ? 0 : POSIX_SPAWN_SETPGROUP;
  const flags = group | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
  const mask = sigsetOf(program.blockedSignals ?? noSignals);
  check(sys.posix_spawnattr_setflags(attributes, flags), "posix_spawnattr_setflags");
  check(sys.posix_spawnattr_setpgroup(attributes, 0), "posix_spawnattr_setpgroup");
  check(sys.posix_spawnattr_setsigdefault(attributes, allSignals()), "posix_spawnattr");
  check(sys.posix_spawnattr_setsigmask(attributes, mask), "posix_spawnattr");
}

const noSignals: Uint8Array = new Uint8Array(0);
