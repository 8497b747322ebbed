/**
 * A daemon that sees another machine than there is: files of the test's stand over files of the
 * kernel's, in a mount namespace of the daemon's own. See unshare(1), mount_namespaces(7).
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { binary, quoted, type Sandbox } from "./sandbox.ts";

/** Whether we may make namespaces here; tests that need one are skipped otherwise. */
export const canDisguise: boolean = isPossible();

function isPossible(): boolean {
  if (Bun.which("unshare") === null) return false;
  const words = ["unshare", "-rm", "mount", "--bind", "/proc/uptime", "/proc/loadavg"];
  return Bun.spawnSync(words, { stderr: "ignore" }).success;
}

/**
 * Daemons of `box` see our files in place of those that are named, by their paths, and what is
 * written to ours from then on. `setUp` is run in their namespace first, as its root.
 */
export function disguise(
  box: Sandbox,
  files: Readonly<Record<string, string>>,
  setUp: readonly string[] = [],
): void {
  const mounts = Object.entries(files).map(
    ([seen, ours]) => `mount --bind ${quoted(ours)} ${quoted(seen)}`,
  );
  const inside = [...setUp, ...mounts, `exec -a pfd ${quoted(binary)} "$@"`].join(" && ");
  const pfd = join(box.bin, "pfd");
  rmSync(pfd);
  box.write("bin/pfd", `#!/bin/sh\nexec unshare -rm bash -c ${quoted(inside)} pfd "$@"\n`, 0o755);
}
