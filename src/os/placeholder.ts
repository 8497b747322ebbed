/**
 * Something to stand where a job's stream will be: a runtime looks at its standard descriptors when
 * it starts, and has to find there what is of the same kind.
 */
import { MFD_CLOEXEC } from "../../ffi/linux/constants.ts";
import { cString } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { duplicate, type Fd, own } from "./fd.ts";
import { openPipe } from "./files.ts";
import { openPseudoTerminal } from "./terminal.ts";

export interface Placeholder {
  readonly stream: Fd;
  /** Its other side, where one sees whether something was written; a file is its own. */
  readonly probe: Fd;
}

/** For descriptor `slot` (0, 1 or 2). @throws SystemError */
export function openPlaceholder(
  sys: Sys,
  kind: "terminal" | "pipe" | "file",
  slot: number,
): Placeholder {
  if (kind === "terminal") {
    const { master, slave } = openPseudoTerminal(sys);
    return { stream: slave, probe: master };
  }
  if (kind === "pipe") {
    const { readEnd, writeEnd } = openPipe(sys);
    return slot === 0 ? { stream: readEnd, probe: writeEnd } : { stream: writeEnd, probe: readEnd };
  }
  const stream = own(sys, sys.memfd_create(cString(`stream-${slot}`), MFD_CLOEXEC), "memfd_create");
  try {
    return { stream, probe: duplicate(sys, stream.raw) };
  } catch (error) {
    stream[Symbol.dispose]();
    throw error;
  }
}
