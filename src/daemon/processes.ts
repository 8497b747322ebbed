/** The processes of ours that a daemon starts: what each is called, is given and is told first. */
import * as errno from "../../ffi/errno.ts";
import type { Sys } from "../../ffi/sys.ts";
import { ownDescriptorsMin, signalMaskSize } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import { fromLatin1, fromUtf8, type StringList, stringList } from "../base/strings.ts";
import {
  commandProcessName,
  imageLogNumber,
  imageName,
  imageProbeNumbers,
  imageSocketNumber,
  scriptName,
  starterName,
  starterSocketNumber,
  starterWordNumber,
} from "../domain/builtins.ts";
import type { Orders, StreamKind } from "../domain/warmth.ts";
import { SystemError } from "../os/errors.ts";
import { type Fd, type RawFd, standard } from "../os/fd.ts";
import { openNull } from "../os/files.ts";
import { oneThreadEnvironment, scriptEnvironment } from "../os/one-thread.ts";
import { openPlaceholder } from "../os/placeholder.ts";
import { ownEnvironment, ownExecutable } from "../os/process.ts";
import { socketPair } from "../os/socket.ts";
import { type Program, trySpawn } from "../os/spawn.ts";
import { sendMessage } from "../transport/channel.ts";

/** What is started, given the descriptors it is to have. */
export type ProcessBuild = (sys: Sys, given: Given) => Program;

interface Given {
  readonly socket: RawFd;
  readonly nothing: RawFd;
  /** Closes what is opened for the process, when it has been started. */
  readonly owned: Scope;
}

/**
 * Starts a process. @returns its pid, and our end of the socket it is spoken to. @throws
 * SystemError
 */
export function spawnProcess(sys: Sys, build: ProcessBuild): { pid: number; socket: Fd } {
  const pair = socketPair(sys);
  using ours = pair.ours;
  using theirs = pair.theirs;
  using nothing = openNull(sys);
  using owned = new Scope();
  const pid = trySpawn(sys, build(sys, { socket: theirs.raw, nothing: nothing.raw, owned }));
  if (pid < 0) throw new SystemError("posix_spawn", -pid, ownExecutable);
  return { pid, socket: ours.move() };
}

/** The first message to a process for scripts. @throws SystemError */
export function sendOrders(sys: Sys, socket: RawFd, orders: Orders): void {
  const message = { type: "orders", json: JSON.stringify(orders) } as const;
  const outcome = sendMessage(sys, socket, { id: 0, message }, [], { wait: false });
  // A process that has not got them would wait for them.
  if (outcome === "again") throw new SystemError("sendmsg", errno.EAGAIN);
  if (outcome === "gone") throw new SystemError("sendmsg", errno.EPIPE);
}

/** A starter of programs, which shares the memory file `word` with us. It takes no signals. */
export function programStarterProcess(word: RawFd): ProcessBuild {
  return (sys, { socket, nothing }) => ({
    path: ownExecutable,
    argv: stringList(fromLatin1(`${starterName}\0`)),
    env: oneThreadEnvironment(ownEnvironment(sys), "image"),
    descriptors: new Map([
      ...standardDescriptors(nothing),
      [starterSocketNumber, socket],
      [starterWordNumber, word],
    ]),
    blockedSignals: new Uint8Array(signalMaskSize).fill(0xff),
  });
}

/** For one built-in command. Who leads a group cannot begin a session: it stays in ours. */
export const commandProcess: ProcessBuild = (sys, { socket, nothing }) => ({
  path: ownExecutable,
  argv: stringList(fromLatin1(`${commandProcessName}\0`)),
  env: oneThreadEnvironment(ownEnvironment(sys), "image"),
  descriptors: new Map([...standardDescriptors(nothing), [starterSocketNumber, socket]]),
  joinsGroup: true,
});

/** An image of the built-in commands, which shares the memory file `word` with us. */
export function baseImageProcess(word: RawFd): ProcessBuild {
  return (sys, { socket, nothing }) => ({
    path: ownExecutable,
    argv: stringList(fromLatin1(`${imageName}\0base\0`)),
    env: oneThreadEnvironment(ownEnvironment(sys), "image"),
    descriptors: new Map([
      ...standardDescriptors(nothing),
      [starterSocketNumber, socket],
      [starterWordNumber, word],
    ]),
  });
}

/** What a process for a script takes over from the job it is made for. */
export interface ScriptContext {
  readonly env: StringList;
  readonly directory: RawFd;
}

/**
 * A fresh process for one job, which has the job's own streams (those of 0, 1 and 2 that it has)
 * from the beginning.
 */
export function freshScriptProcess(
  script: string,
  context: ScriptContext,
  job: { streams: ReadonlyMap<number, RawFd>; blockedSignals: Uint8Array },
): ProcessBuild {
  return (_, { socket, nothing }) => ({
    ...scriptProgram(script, context, { socket, nothing, isImage: false }, job.streams),
    joinsGroup: true, // who leads a group cannot begin a session
    blockedSignals: job.blockedSignals, // all threads of it are to have the mask
  });
}

/** An image, which has something of the same kind as a job's streams at 0, 1 and 2. */
export function scriptImageProcess(
  script: string,
  context: ScriptContext,
  kinds: readonly StreamKind[],
): ProcessBuild {
  return (sys, { socket, nothing, owned }) => {
    const descriptors = new Map<number, RawFd>([[imageLogNumber, standard.error]]);
    for (const [slot, number] of imageProbeNumbers.entries()) {
      const { stream, probe } = openPlaceholder(sys, kinds[slot] ?? "file", slot);
      descriptors.set(slot, owned.use(stream).raw);
      descriptors.set(number, owned.use(probe).raw);
    }
    return scriptProgram(script, context, { socket, nothing, isImage: true }, descriptors);
  };
}

/**
 * In the directory and with the environment of a job. Numbers below `ownDescriptorsMin` are taken
 * while the process starts, so that the runtime opens its own above them.
 */
function scriptProgram(
  script: string,
  { env, directory }: ScriptContext,
  { socket, nothing, isImage }: { socket: RawFd; nothing: RawFd; isImage: boolean },
  own: ReadonlyMap<number, RawFd>,
): Program {
  const descriptors = new Map<number, RawFd>();
  for (let number = imageSocketNumber; number < ownDescriptorsMin; number++) {
    descriptors.set(number, nothing);
  }
  for (const [number, fd] of own) descriptors.set(number, fd);
  descriptors.set(imageSocketNumber, socket);
  return {
    path: ownExecutable,
    argv: stringList(fromUtf8(`${scriptName}\0${script}\0`)),
    env: scriptEnvironment(env, { isImage }),
    descriptors,
    directory,
  };
}

/** Standard error is the daemon's log. */
function standardDescriptors(nothing: RawFd): [number, RawFd][] {
  return [
    [0, nothing],
    [1, nothing],
    [2, standard.error],
  ];
}
