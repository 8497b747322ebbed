/** Where daemons are, for this caller: the rules of domain/discovery.ts applied to this machine. */
import type { Sys } from "../../ffi/sys.ts";
import { environmentValue, type StringList } from "../base/strings.ts";
import { connectFirst, type Daemon } from "../client/connect.ts";
import { ClientError } from "../client/errors.ts";
import {
  type Candidate,
  candidates,
  DiscoveryError,
  type DiscoveryRequest,
  type Mode,
  type Surroundings,
} from "../domain/discovery.ts";
import { exists, makePrivateDirectory, statusOf } from "../os/files.ts";
import { workingDirectory } from "../os/process.ts";

type Warn = (message: string) => void;

/** Connects to the first daemon there is. @throws ClientError when there is none. */
export function reachDaemon(
  sys: Sys,
  places: { request: DiscoveryRequest; around: Surroundings },
  warn: Warn,
): Daemon {
  const tried: string[] = [];
  const daemon = connectFirst(sys, noting(candidates(places.request, places.around), tried), warn);
  if (daemon) return daemon;
  throw new ClientError(
    `no daemon: nobody answers at ${tried.join(", ") || "any place of that mode"} ` +
      "(start one with 'prefork serve -d', or use 'prefork run --create')",
  );
}

function* noting(all: Iterable<Candidate>, tried: string[]): Generator<Candidate> {
  for (const candidate of all) {
    tried.push(candidate.socketPath);
    yield candidate;
  }
}

/** The request as options and variables make it; options win. */
export function discoveryRequest(
  options: { socket?: string | undefined; mode?: string | undefined; project?: string | undefined },
  env: StringList,
): DiscoveryRequest {
  const { socket, mode, project } = options;
  return {
    // A forced mode is about the places of that mode, whatever the environment names.
    socket: socket ?? (mode === undefined ? variable(env, "PFD_SOCKET") : undefined),
    mode: mode as Mode | undefined, // checked against the option's table
    project: project ?? variable(env, "PFD_PROJECT"),
  };
}

export function surroundings(sys: Sys, env: StringList, warn: Warn): Surroundings {
  let runtimeDirectory: string | undefined;
  return {
    directory: workingDirectory(sys),
    exists: (path) => exists(sys, path),
    runtimeDirectory: () => {
      runtimeDirectory ??= findRuntimeDirectory(sys, env, warn);
      return runtimeDirectory;
    },
  };
}

/**
 * $XDG_RUNTIME_DIR, else /run/user/<uid>, else a private directory under the system's temporary
 * one: the first that is a directory of ours in which nobody else can write.
 */
function findRuntimeDirectory(sys: Sys, env: StringList, warn: Warn): string {
  const uid = sys.geteuid();
  const named = variable(env, "XDG_RUNTIME_DIR");
  if (named !== undefined) {
    const flaw = flawOf(sys, named, uid);
    if (flaw === undefined) return named;
    warn(`ignoring XDG_RUNTIME_DIR=${named}: ${flaw}`);
  }
  const usual = `/run/user/${uid}`;
  if (flawOf(sys, usual, uid) === undefined) return usual;
  const temporary = variable(env, "TMPDIR") ?? "/tmp";
  const fallback = `${temporary.replace(/\/+$/, "")}/prefork-${uid}`;
  makePrivateDirectory(sys, fallback);
  const flaw = flawOf(sys, fallback, uid);
  if (flaw === undefined) return fallback;
  throw new DiscoveryError(
    `no safe runtime directory: ${fallback}: ${flaw} (set XDG_RUNTIME_DIR to a private directory)`,
  );
}

/** Why a directory is not fit to hold our sockets; undefined when it is. */
function flawOf(sys: Sys, path: string, uid: number): string | undefined {
  if (!path.startsWith("/")) return "it is not an absolute path";
  const status = statusOf(sys, path);
  if (!status) return "it does not exist";
  if (status.kind !== "directory") return "it is not a directory";
  if (status.uid !== uid) return `it belongs to user ${status.uid}`;
  if ((status.permissions & 0o022) !== 0) return "others can write to it";
  return undefined;
}

/** The value of a variable; an empty one counts as not set. */
function variable(env: StringList, name: string): string | undefined {
  const value = environmentValue(env, name);
  return value && value.length > 0
    ? new TextDecoder("utf-8", { ignoreBOM: true }).decode(value)
    : undefined;
}
