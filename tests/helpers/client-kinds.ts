/** What the client in the binary under test is made of: native code at its front, or Bun alone. */
import { closeSync, openSync, readSync } from "node:fs";
import { binary, clientVariable } from "./sandbox.ts";

export type ClientKind = "head" | "bun";

/** Which clients the binary has, the one it uses by itself first. */
export const clientKinds: readonly ClientKind[] = hasHead(binary) ? ["head", "bun"] : ["bun"];

/** What the environment says to have such a client. */
export function environmentFor(kind: ClientKind): Record<string, string | undefined> {
  return { [clientVariable]: kind === "bun" && clientKinds.includes("head") ? "bun" : undefined };
}

/** A program without an interpreter (PT_INTERP) begins with code of ours. See elf(5). */
function hasHead(path: string): boolean {
  const interpreter = 3;
  const file = openSync(path, "r");
  try {
    const page = new DataView(new ArrayBuffer(4096));
    readSync(file, page, 0, page.byteLength, 0);
    const tableAt = Number(page.getBigUint64(32, true));
    const [entrySize, count] = [page.getUint16(54, true), page.getUint16(56, true)];
    for (let index = 0; index < count; index++) {
      if (page.getUint32(tableAt + index * entrySize, true) === interpreter) return false;
    }
    return true;
  } finally {
    closeSync(file);
  }
}
