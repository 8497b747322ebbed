/** A world for the rules of discovery: a directory, a runtime directory, and files that exist. */
import type { Surroundings } from "../../src/domain/discovery.ts";

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
