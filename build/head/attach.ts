/**
 * Makes the head and puts it into the executable: the C header out of the TypeScript sources, the code by two processes that
 * must agree, the new file, and a run of it. A build that cannot have a head goes on without: all works then, slower.
 */
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { contract } from "./contract.ts";
import { type Head, withHead } from "./elf.ts";

/** Eleven pages. The same sources have half of that when gcc compiles them for size: docs/head.md. */
const headBytesMax = 44 * 1024;

/** Compiles the head by this Bun, for the architecture it runs on. `directory` is for what is made on the way. @throws Error */
export function compileHead(directory: string): Head {
  mkdirSync(directory, { recursive: true });
  const header = join(directory, "contract.h");
  writeFileSync(header, contract());
  const [first, second] = ["first", "second"].map((name) => {
    const out = join(directory, `${name}.json`);
    rmSync(out, { force: true });
    run([process.execPath, join(import.meta.dir, "compile.ts"), header, out]);
    return readFileSync(out, "utf8");
  });
  if (first === undefined || first !== second) {
    throw new Error("two processes have compiled different code");
  }
  const head = JSON.parse(first) as Head; // our own process has written it
  const size = Buffer.from(head.bytes, "base64").length;
  if (size > headBytesMax)
    throw new Error(`the head has ${size} bytes, and may have ${headBytesMax}`);
  return head;
}

/** Puts a head into `executable`, in place. @returns why there is none; undefined: there is one. */
export function attachHead(executable: string): string | undefined {
  const candidate = `${executable}.head`;
  try {
    const head = compileHead(join(dirname(executable), "modules/head"));
    writeFileSync(candidate, withHead(readFileSync(executable), head));
    chmodSync(candidate, 0o755);
    // The way through the head to Bun, and the head's own refusal to do what is not its business.
    run([candidate, "version"]);
    run([candidate, "run", "--help"]);
    renameSync(executable, `${executable}-without-head`); // to compare with
    renameSync(candidate, executable);
    return undefined;
  } catch (error) {
    rmSync(candidate, { force: true });
    return error instanceof Error ? error.message : String(error);
  }
}

function run(command: string[]): void {
  const { exitCode, signalCode, stderr } = Bun.spawnSync(command);
  if (exitCode === 0) return;
  const lines = stderr.toString().trim().split("\n");
  const words = lines.find((line) => line.includes("error:")) ?? lines.at(-1) ?? "";
  throw new Error(
    `${command.slice(0, 2).join(" ")} ended with ${signalCode ?? exitCode}: ${words}`,
  );
}
