/**
 * Whether any configured command can be meant. The client looks, since a look into its directory may hang, on a file system
 * that does not answer: then it hangs alone, and not the daemon with everybody else's jobs.
 */
import type { Sys } from "../../ffi/sys.ts";
import { environmentValue, firstString, latin1, type StringList, utf8 } from "../base/strings.ts";
import { isBuiltin } from "../domain/builtins.ts";
import { projectFiles, projectRootMark, userFile } from "../domain/configuration-files.ts";
import { isPath } from "../domain/lookup.ts";
import type { RawFd } from "../os/fd.ts";
import { descriptorTarget, exists } from "../os/files.ts";

/** `directory` is the job's. What is there may be no configuration after all: the daemon finds out. */
export function isUnconfigured(
  sys: Sys,
  { argv, env }: { readonly argv: StringList; readonly env: StringList },
  directory: RawFd,
): boolean {
  const name = firstString(argv);
  if (isPath(name) || isBuiltin(latin1(name))) return true;
  const here = descriptorTarget(sys, directory) ?? "";
  const isProjectRoot = (path: string): boolean => exists(sys, `${path}/${projectRootMark}`);
  for (const path of projectFiles(here, isProjectRoot)) if (exists(sys, path)) return false;
  const own = userFile((variable) => {
    const value = environmentValue(env, variable);
    return value && utf8(value);
  });
  return own === undefined || !exists(sys, own);
}
