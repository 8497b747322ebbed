/** How much memory is left to us: of the machine's, and of what our control groups may have. */
import type { Sys } from "../../ffi/sys.ts";
import { latin1 } from "../base/strings.ts";
import { SystemError } from "./errors.ts";
import { readFile } from "./files.ts";

export interface MemoryRoom {
  readonly owner: string;
  readonly availableKiB: number;
  readonly totalKiB: number;
}

/** Of everything that has a bound; what cannot be read has none. See proc(5), cgroups(7). */
export function memoryRooms(sys: Sys): MemoryRoom[] {
  const machine = machineRoom(tryReadText(sys, "/proc/meminfo") ?? "");
  const groups = groupsOf(tryReadText(sys, "/proc/self/cgroup") ?? "").map((group) =>
    groupRoom(sys, group),
  );
  return [machine, ...groups].filter((room) => room !== undefined);
}

function machineRoom(meminfo: string): MemoryRoom | undefined {
  const [availableKiB, totalKiB] = [field(meminfo, "MemAvailable:"), field(meminfo, "MemTotal:")];
  if (availableKiB === undefined || totalKiB === undefined) return undefined;
  return { owner: "the machine", availableKiB, totalKiB };
}

/** Our group of the unified hierarchy and all above it: a bound holds for what is below, too. */
function groupsOf(membership: string): string[] {
  const own = /^0::(\/.*)$/m.exec(membership)?.[1];
  if (own === undefined) return [];
  const groups = [own];
  for (let at = own; at !== "/"; groups.push(at)) at = at.slice(0, at.lastIndexOf("/")) || "/";
  return groups;
}

/** What a group has in caches of files it can do without, as the machine can. */
function groupRoom(sys: Sys, group: string): MemoryRoom | undefined {
  const at = `/sys/fs/cgroup${group === "/" ? "" : group}`;
  const total = Number.parseInt(tryReadText(sys, `${at}/memory.max`) ?? "", 10);
  const used = Number.parseInt(tryReadText(sys, `${at}/memory.current`) ?? "", 10);
  if (Number.isNaN(total) || Number.isNaN(used)) return undefined; // "max" is no bound
  const uses = tryReadText(sys, `${at}/memory.stat`) ?? "";
  const cached = (field(uses, "active_file") ?? 0) + (field(uses, "inactive_file") ?? 0);
  const available = Math.max(0, total - used + cached);
  return {
    owner: `the control group ${group}`,
    availableKiB: Math.round(available / 1024),
    totalKiB: Math.round(total / 1024),
  };
}

/** The number in the line that begins with `name`. */
function field(text: string, name: string): number | undefined {
  const start = `\n${text}`.indexOf(`\n${name} `);
  return start < 0 ? undefined : Number.parseInt(text.slice(start + name.length), 10);
}

function tryReadText(sys: Sys, path: string): string | undefined {
  try {
    return latin1(readFile(sys, path));
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
}
