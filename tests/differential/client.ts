/** Which client the contexts go through: that of the head, which is like any launcher, or that of Bun, which is not. */
import { binary, clientChoice, clientVariable } from "../helpers/sandbox.ts";

/** Whether a Bun process captures the context: asked for, or the binary has no head. */
export const isClientOfBun: boolean =
  clientChoice[clientVariable] === "bun" ||
  !Bun.spawnSync([binary, "version", "--verbose"]).stdout.includes("head: native");
