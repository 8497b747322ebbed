/** A world for the rules of discovery: a directory, a runtime directory, and files that exist. */
import {
  type Candidate,
  type DiscoveryRequest,
  findCandidate,
  type Surroundings,
} from "../../src/domain/discovery.ts";

export interface World {
  readonly directory?: string | undefined;
  readonly runtimeDirectory?: string;
  readonly files?: readonly string[];
}

export function around({
  directory,
  runtimeDirectory = "/run/user/7",
  files = [],
}: World): Surroundings {
  return {
    directory,
    runtimeDirectory: () => runtimeDirectory,
    exists: (path) => files.includes(path),
  };
}

/** All places, in the order in which they are tried when nobody answers. */
export function allCandidates(request: DiscoveryRequest, there: Surroundings): Candidate[] {
  const all: Candidate[] = [];
  findCandidate(request, there, (candidate) => {
    all.push(candidate);
    return undefined;
  });
  return all;
}
