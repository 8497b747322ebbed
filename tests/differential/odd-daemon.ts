/** A daemon that was started in a state of which nothing may reach its jobs. */
import { readFileSync, realpathSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Daemon, quoted, type Sandbox } from "../helpers/sandbox.ts";

/** Soft limits only, and no nice value: not every user could undo the others. */
const script = (binary: string): string => `#!/usr/bin/env bash
umask 077
trap '' HUP USR1 USR2 CHLD 40
ulimit -Sn 700; ulimit -Ss 4096; ulimit -Sc 0; ulimit -Sl 32; ulimit -Si 1000
cd /proc
exec 7</etc/passwd 8>/dev/null 20<.
export OF_THE_DAEMON=1
exec env --block-signal=TERM,USR2,WINCH,45 bash -c 'exec -a pfd ${quoted(binary)} "$@"' bash "$@"
`;

/** Starts it in the place of the sandbox's own. */
export async function serveOddly(box: Sandbox): Promise<Daemon> {
  const path = join(box.bin, "pfd");
  const binary = realpathSync(path);
  rmSync(path);
  box.write("bin/pfd", script(binary), 0o755);
  const daemon = await box.serve();
  // It is as odd as it was to be.
  const status = readFileSync(`/proc/${daemon.pid}/status`, "latin1");
  if (!/^Umask:\t0077$/m.test(status)) throw new Error("the daemon is not odd");
  return daemon;
}
