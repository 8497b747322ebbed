/** What this process was handed at its start, read before anything changes it: we do, and so does Bun's event loop. */
import type { Sys } from "../../ffi/sys.ts";
import { closedAtStart } from "../os/fd.ts";
import { inheritedDescriptors } from "../os/inherited.ts";
import { holdSignals } from "./signals.ts";

export interface Start {
  /** The signals that were blocked. Those that a client passes on are blocked by now, too. */
  readonly blockedSignals: Uint8Array;
  /** Those of 0, 1 and 2 that were closed. */
  readonly closed: ReadonlySet<number>;
  /** The numbers from 3 on that were open. */
  readonly inherited: readonly number[];
}

/** To be called before all else: see `holdSignals` and `inheritedDescriptors`. */
export function readStart(sys: Sys): Start {
  const blockedSignals = holdSignals(sys);
  return { blockedSignals, closed: closedAtStart(sys), inherited: inheritedDescriptors(sys) };
}
