/** The processes of ours that a daemon starts: what each is called, is given and is told first. */
import type { Sys } from "../../ffi/sys.ts";
import { ownDescriptorsMin } from "../base/limits.ts";
import { fromLatin1, type StringList, stringList } from "../base/strings.ts";
import {
  imageName,
  imageSocketNumber,
  scriptName,
  starterName,
  starterSocketNumber,
} from "../domain/builtins.ts";
import type { Orders } from "../domain/warmth.ts";
import { SystemError } from "../os/errors.ts";
import { type Fd, type RawFd, standard } from "../os/fd.ts";
import { openNull } from "../os/files.ts";
import { oneThreadEnvironment, scriptEnvironment } from "../os/one-thread.ts";
import { ownEnvironment, ownExecutable } from "../os/process.ts";
import { socketPair } from "../os/socket.ts";
import { type Program, trySpawn } from "../os/spawn.ts";
import { sendMessage } from "../transport/channel.ts";

/** What is started, given the descriptors it is to have. */
export type ProcessBuild = (sys: Sys, given: { socket: RawFd; nothing: RawFd }) => Program;

/** Starts a process. @returns its pid, and our end of the socket it is spoken to. @throws SystemError */
export function spawnProcess(sys: Sys, build: ProcessBuild): { pid: number; socket: Fd } {
  const pair = socketPair(sys);
  using ours = pair.ours;
  using theirs = pair.theirs;
  using nothing = openNull(sys);
  const pid = trySpawn(sys, build(sys, { socket: theirs.raw, nothing: nothing.raw }));
  if (pid < 0) throw new SystemError("posix_spawn", -pid, ownExecutable);
  return { pid, socket: ours.move() };
}

/** The first message to a process for scripts. @throws SystemError */
export function sendOrders(sys: Sys, socket: RawFd, orders: Orders): void {
  const message = { type: "orders", json: JSON.stringify(orders) } as const;
  sendMessage(sys, socket, { id: 0, message }, [], { wait: false });
}

/** A starter of one job. Who leads a group cannot begin a session: it stays in ours. */
export const starterProcess: ProcessBuild = (sys, { socket, nothing }) => ({
  path: ownExecutable,
  argv: stringList(fromLatin1(`${starterName}\0`)),
  env: oneThreadEnvironment(ownEnvironment(sys)),
  descriptors: new Map([...standardDescriptors(nothing), [starterSocketNumber, socket]]),
  joinsGroup: true,
});

/** The image of the built-in commands. */
export const baseImageProcess: ProcessBuild = (sys, { socket, nothing }) => ({
  path: ownExecutable,
  argv: stringList(fromLatin1(`${imageName}\0base\0`)),
  env: oneThreadEnvironment(ownEnvironment(sys)),
  descriptors: new Map([...standardDescriptors(nothing), [imageSocketNumber, socket]]),
});

/**
 * A process for a script, in the directory and with the environment of a job. Numbers below
 * `ownDescriptorsMin` are taken while it starts, so that the runtime opens its own above them.
 */
export function scriptProcess(
  script: string,
  { env, directory, joinsGroup }: { env: StringList; directory: RawFd; joinsGroup: boolean },
): ProcessBuild {
  return (_, { socket, nothing }) => {
    const descriptors = new Map<number, RawFd>(standardDescriptors(nothing));
    for (let number = imageSocketNumber; number < ownDescriptorsMin; number++) {
      descriptors.set(number, nothing);
    }
    descriptors.set(imageSocketNumber, socket);
    return {
      path: ownExecutable,
      argv: stringList(fromLatin1(`${scriptName}\0${script}\0`)),
      env: scriptEnvironment(env),
      descriptors,
      directory,
      joinsGroup,
    };
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
