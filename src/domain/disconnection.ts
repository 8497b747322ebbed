/** What a waited-for job gets when the client, or the daemon between them, is gone. */
import type { Disconnection } from "../protocol/messages.ts";

const SIGHUP = 1;
const SIGKILL = 9;
const SIGTERM = 15;
const SIGCONT = 18;

/** The signals for its process group; CONT lets a stopped job act on the other. */
export const signalsWhenGone: Readonly<Record<Disconnection, readonly number[]>> = {
  hangup: [SIGHUP, SIGCONT],
  continue: [],
  term: [SIGTERM, SIGCONT],
  kill: [SIGKILL],
};
