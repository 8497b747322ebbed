/** Where configurations are looked for. A client looks whether there are any, the daemon reads them. */

/** The value of an environment variable. */
export type Variables = (name: string) => string | undefined;

export const projectFileName = "prefork.toml";

/**
 * The places of a project's file for somebody in `directory`, the nearest first: up to and including the nearest directory
 * that is a project's root, or else up to /. None for a directory that is out of sight: it has no path that means anything.
 */
export function* projectFiles(
  directory: string,
  isProjectRoot: (directory: string) => boolean,
): Generator<string> {
  if (!directory.startsWith("/") || directory.includes("\0")) return;
  let at = directory.replace(/\/+$/, "");
  for (;;) {
    yield `${at}/${projectFileName}`;
    if (at === "" || isProjectRoot(at)) return;
    at = at.slice(0, at.lastIndexOf("/"));
  }
}

/** What marks a directory as a project's root, as a path in it. */
export const projectRootMark = ".git";

/** The user's own file; undefined when there is no place for one. */
export function userFile(variable: Variables): string | undefined {
  const base = baseDirectory(variable, "XDG_CONFIG_HOME", ".config");
  return base === undefined ? undefined : `${base}/prefork/config.toml`;
}

/** One of the XDG base directories; `usual` is below the home directory. Undefined without one. */
export function baseDirectory(
  variable: Variables,
  name: string,
  usual: string,
): string | undefined {
  const [named, home] = [variable(name), variable("HOME")];
  if (named?.startsWith("/")) return named; // the specification: a relative one is ignored
  return home?.startsWith("/") ? `${home}/${usual}` : undefined;
}
