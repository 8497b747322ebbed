/**
 * Where a daemon's socket may be: pure rules over the caller's directory and variables.
 * The first place at which a daemon answers wins; the shells (client, daemon) do the asking.
 */

/** The three kinds of place, in the order in which they are tried. */
export const modes = ["local", "project", "runtime"] as const;
export type Mode = (typeof modes)[number];

/** A place where a socket may be. */
export interface Candidate {
  readonly mode: Mode | "explicit";
  readonly socketPath: string;
}

/** What the caller asked for. */
export interface DiscoveryRequest {
  /** `--socket`, else $PFD_SOCKET: the only place then. */
  readonly socket?: string | undefined;
  /** `--mode`: the only mode then. */
  readonly mode?: Mode | undefined;
  /** `--project`, else $PFD_PROJECT, else found from the directory. */
  readonly project?: string | undefined;
}

/** What the rules need to know of the world. */
export interface Surroundings {
  /** The working directory, or undefined when it has no path any more. */
  readonly directory: string | undefined;
  readonly runtimeDirectory: () => string;
  readonly exists: (path: string) => boolean;
}

/** The request makes no sense; `message` says why and how to mend it. */
export class DiscoveryError extends Error {
  override readonly name = "DiscoveryError";
}

export const localNames = ["pfd.sock", ".pfd.sock"] as const;
export const projectMarkers = [".git", "package.json", "prefork.toml"] as const;
const projectNamePattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/;

/**
 * Calls `attempt` with one place after the other until it succeeds; a place is worked out only when
 * those before it have failed.
 * @throws DiscoveryError for a project name that is not one.
 */
export function findCandidate<Found>(
  request: DiscoveryRequest,
  around: Surroundings,
  attempt: (candidate: Candidate) => Found | undefined,
): Found | undefined {
  if (request.project !== undefined) validateProjectName(request.project);
  if (request.socket !== undefined) {
    return attempt(explicitCandidate(request.socket, request, around));
  }
  for (const mode of request.mode === undefined ? modes : [request.mode]) {
    for (const candidate of candidatesOf(mode, request, around)) {
      const found = attempt(candidate);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** The one place for a new daemon: of the mode that is forced, else of the runtime mode. */
export function creationCandidate(request: DiscoveryRequest, around: Surroundings): Candidate {
  if (request.project !== undefined) validateProjectName(request.project);
  if (request.socket !== undefined) return explicitCandidate(request.socket, request, around);
  const mode = request.mode ?? "runtime";
  const [first] = candidatesOf(mode, request, around);
  if (first) return first;
  throw new DiscoveryError(
    mode === "project"
      ? `no project here: no directory up to / holds ${projectMarkers.join(", ")} (name one with --project)`
      : "the working directory has no path any more (use --mode runtime)",
  );
}

/** Refuses a project name that could be anything but one file name of modest size. */
export function validateProjectName(name: string): string {
  if (projectNamePattern.test(name)) return name;
  throw new DiscoveryError(
    `'${name}' is not a project name: use 1 to 64 of A-Z a-z 0-9 . _ - and no leading dot (--project NAME)`,
  );
}

/** The PID file beside a socket: X.sock → X.pid, else X → X.pid. */
export function pidPathOf(socketPath: string): string {
  return `${stem(socketPath)}.pid`;
}

/** The log of a daemonized daemon that was given no other. */
export function logPathOf(socketPath: string): string {
  return `${stem(socketPath)}.log`;
}

function stem(socketPath: string): string {
  return socketPath.replace(/\.sock$/, "");
}

/** The socket that was named; a mode beside it says what kind of place that is. */
function explicitCandidate(
  socket: string,
  { mode = "explicit" as const }: { mode?: Mode | "explicit" | undefined },
  around: Surroundings,
): Candidate {
  if (socket === "") throw new DiscoveryError("the socket's path is empty (--socket PATH)");
  return { mode, socketPath: absolute(socket, around) };
}

function candidatesOf(mode: Mode, request: DiscoveryRequest, around: Surroundings): Candidate[] {
  switch (mode) {
    case "local":
      if (around.directory === undefined) return [];
      return localCandidates(around.directory);
    case "project": {
      const name = request.project ?? findProjectName(around);
      if (name === undefined) return [];
      const file = `pfd.${validateProjectName(name)}.sock`;
      return [{ mode, socketPath: join(around.runtimeDirectory(), file) }];
    }
    case "runtime":
      return [{ mode, socketPath: join(around.runtimeDirectory(), "pfd.sock") }];
    default:
      return mode satisfies never;
  }
}

function localCandidates(directory: string): Candidate[] {
  const candidates: Candidate[] = [];
  for (const name of localNames) {
    candidates.push({ mode: "local", socketPath: join(directory, name) });
  }
  return candidates;
}

/** The name of the nearest ancestor that is a project's root. The root directory is none. */
function findProjectName({ directory, exists }: Surroundings): string | undefined {
  let at = directory ?? "";
  while (at.length > 1) {
    if (projectMarkers.some((marker) => exists(join(at, marker)))) {
      return at.slice(at.lastIndexOf("/") + 1);
    }
    at = at.slice(0, at.lastIndexOf("/"));
  }
  return undefined;
}

/** An absolute form of `path`, so that it can be shown and survives a change of directory. */
export function absolute(path: string, around: Pick<Surroundings, "directory">): string {
  if (path.startsWith("/")) return path;
  if (around.directory === undefined) {
    throw new DiscoveryError(
      `'${path}' is relative, and the working directory has no path any more`,
    );
  }
  return join(around.directory, path.replace(/^(\.\/+)+/, ""));
}

function join(directory: string, name: string): string {
  return directory.endsWith("/") ? directory + name : `${directory}/${name}`;
}
