/** Where daemons are, for this caller: the rules of domain/discovery.ts applied to this machine. */
import type { Sys } from "../../ffi/sys.ts";
import { type StringList, utf8 } from "../base/strings.ts";
import { Connector, type Daemon, type Warn } from "../client/connect.ts";
import { ClientError } from "../client/errors.ts";
import {
  DiscoveryError,
  type DiscoveryRequest,
  findCandidate,
  type Mode,
  type Surroundings,
} from "../domain/discovery.ts";
import { exists, makePrivateDirectory, statusOf } from "../os/files.ts";
import { workingDirectory } from "../os/process.ts";

/** A daemon, if one could be reached, and where was looked on the way. */
export interface Search {
  readonly daemon: Daemon | undefined;
  readonly tried: readonly string[];
}

export function findDaemon(
  sys: Sys,
  places: { request: DiscoveryRequest; around: Surroundings },
  warn: Warn,
): Search {
  using connector = new Connector(sys, warn);
  const tried: string[] = [];
  const daemon = findCandidate(places.request, places.around, (candidate) => {
    tried.push(candidate.socketPath);
    return connector.tryReach(candidate);
  });
  return { daemon, tried };
}

export function noDaemon(tried: readonly string[]): ClientError {
  return new ClientError(
    `no daemon: nobody answers at ${tried.join(", ") || "any place of that mode"} ` +
      "(start one with 'prefork serve -d', or use 'prefork run --create')",
  );
}

/** The environment by name, as text; an empty value counts as not set. */
export type Variables = (name: string) => string | undefined;

export function ownVariables(name: string): string | undefined {
  return process.env[name] || undefined;
}

/** Those of `env`; the first one of a name wins, as in getenv(3). */
export function variablesOf({ bytes }: StringList): Variables {
  const text = `\0${utf8(bytes)}`;
  return (name) => {
    const found = text.indexOf(`\0${name}=`);
    if (found < 0) return undefined;
    const start = found + name.length + 2;
    return text.slice(start, text.indexOf("\0", start)) || undefined;
  };
}

/** The request as options and variables make it; options win. */
export function discoveryRequest(
  options: { socket?: string | undefined; mode?: string | undefined; project?: string | undefined },
  variable: Variables,
): DiscoveryRequest {
  const { mode } = options;
  // A forced mode is about the places of that mode, whatever the environment names.
  const socket = options.socket ?? (mode === undefined ? variable("PFD_SOCKET") : undefined);
  const looksForProject = socket === undefined && (mode === undefined || mode === "project");
  return {
    socket,
    mode: mode as Mode | undefined, // checked against the option's table
    project: options.project ?? (looksForProject ? variable("PFD_PROJECT") : undefined),
  };
}

export function surroundings(
  sys: Sys,
  variable: Variables,
  warn: (message: string) => void,
): Surroundings {
  let runtimeDirectory: string | undefined;
  return {
    directory: workingDirectory(sys),
    exists: (path) => exists(sys, path),
    runtimeDirectory: () => {
      runtimeDirectory ??= findRuntimeDirectory(sys, variable, warn);
      return runtimeDirectory;
    },
  };
}

/**
 * $XDG_RUNTIME_DIR, else /run/user/<uid>, else a private directory under the system's temporary
 * one: the first that is a directory of ours in which nobody else can write.
 */
function findRuntimeDirectory(
  sys: Sys,
  variable: Variables,
  warn: (message: string) => void,
): string {
  const uid = sys.geteuid();
  const named = variable("XDG_RUNTIME_DIR");
  if (named !== undefined) {
    const flaw = flawOf(sys, named, uid);
    if (flaw === undefined) return named;
    warn(`ignoring XDG_RUNTIME_DIR=${named}: ${flaw}`);
  }
  const usual = `/run/user/${uid}`;
  if (flawOf(sys, usual, uid) === undefined) return usual;
  const temporary = variable("TMPDIR") ?? "/tmp";
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
