/** Which face am I? The name we were called by decides, then the first word. */
import type { Sys } from "../../ffi/sys.ts";
import { dropStrings, firstString, latin1, type StringList } from "../base/strings.ts";
import { ownArguments } from "../os/process.ts";
import type { Face } from "./output.ts";

/** How this process was called. */
export interface Calling {
  /** The last part of the name. */
  readonly name: string;
  readonly face: Face;
  /** The words for a client, if one is wanted: those behind `pfc` or `prefork run`. */
  readonly clientWords: StringList | undefined;
}

export function howCalled(sys: Sys): Calling {
  // `process` is not asked: it is made when it is first used, and takes its time.
  const words = ownArguments(sys);
  const called = latin1(firstString(words));
  const name = called.slice(called.lastIndexOf("/") + 1);
  if (name === "pfc") return { name, face: name, clientWords: dropStrings(words, 1) };
  const face = name === "pfd" ? name : "prefork";
  const isRun = face === "prefork" && latin1(firstString(dropStrings(words, 1))) === "run";
  return { name, face, clientWords: isRun ? dropStrings(words, 2) : undefined };
}
