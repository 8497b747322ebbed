/** How a command's name becomes the paths to try, as execvp(3) does it, on bytes. */
import { fromLatin1, latin1 } from "../base/strings.ts";

/** What execvp(3) uses when there is no PATH. */
const defaultPath = fromLatin1("/bin:/usr/bin");
const slash = "/".charCodeAt(0);
const colon = ":".charCodeAt(0);

/** Whether the name is a path, which is not looked up in PATH. */
export function isPath(name: Uint8Array): boolean {
  return name.includes(slash);
}

/**
 * The paths at which `name` may be, in order; relative ones are relative to the caller's directory.
 * An empty element of PATH means that directory itself. What has no name is nowhere.
 */
export function* executableCandidates(
  name: Uint8Array,
  path: Uint8Array = defaultPath,
): Generator<Uint8Array> {
  if (isPath(name)) {
    yield name;
    return;
  }
  if (name.length === 0) return; // and not the directories themselves
  let start = 0;
  while (start <= path.length) {
    const next = path.indexOf(colon, start);
    const end = next < 0 ? path.length : next;
    if (end === start)
      yield name; // and not "./name", as a script would learn
    else yield fromLatin1(`${latin1(path.subarray(start, end))}/${latin1(name)}`);
    start = end + 1;
  }
}
