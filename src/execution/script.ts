/**
 * Which file a script's name stands for, and how it is to be run. The daemon makes its images by this, and
 * `prefork commands` asks for them by the same.
 */
import fs from "node:fs";
import path from "node:path";
import { sparesDefault } from "../base/limits.ts";
import { environmentValue, latin1, type StringList } from "../base/strings.ts";
import type { CommandConfiguration } from "../domain/configuration.ts";
import { hashOf } from "./trust.ts";

/** How a script is to be run; without configuration all but the path is what `--warm` means. */
export interface Recipe {
  /** The configured command's name, or the script's path. */
  readonly name: string;
  readonly path: string;
  /** Arguments before the caller's. */
  readonly prefix: readonly string[];
  /** What is loaded ahead; undefined: what the first run has loaded. */
  readonly preload: readonly string[] | undefined;
  /** From where names of packages in it are looked up. */
  readonly from: string;
  readonly warmup: string | undefined;
  readonly spares: number;
  readonly isCold: boolean;
}

export function recipeOf(file: string, command: CommandConfiguration | undefined): Recipe {
  const { name = file, preload = "auto", args = [], warmup } = command ?? {};
  return {
    name,
    path: file,
    prefix: args,
    preload: preload === "auto" ? undefined : preload,
    from: path.dirname(command?.file ?? file),
    warmup,
    spares: command?.spares ?? sparesDefault,
    isCold: command?.cold ?? false,
  };
}

/**
 * By all that makes a script's images what they are: the recipe, and the values in `env` of the
 * variables it names. Hashed, since `status` shows it and values may be secrets.
 */
export function identityOf(recipe: Recipe, env: StringList, names: readonly string[]): string {
  const values = names.map((name) => {
    const value = environmentValue(env, name);
    return value ? latin1(value) : null;
  });
  return hashOf(JSON.stringify([recipe, values]));
}

/** What a name stands for: a script, or a tool that is none and runs as any program does. */
export interface Found {
  readonly path: string;
  readonly isProgram: boolean;
}

/** A file, or a tool of the nearest node_modules/.bin; links are followed, as the runtime does. */
export function findScript(name: string, directory: string): Found | undefined {
  if (name.includes("/")) {
    const file = realFile(path.resolve(directory, name));
    return file === undefined ? undefined : { path: file, isProgram: false };
  }
  for (let at = directory; ; at = path.dirname(at)) {
    const found = realFile(path.join(at, "node_modules", ".bin", name));
    if (found !== undefined) return toolAt(found);
    if (at === "/") return undefined;
  }
}

/** What stands in node_modules/.bin is a script, a shell script that calls one by node (pnpm writes those), or something else. */
function toolAt(file: string): Found {
  const text = beginningOf(file);
  if (isJavaScript(text)) return { path: file, isProgram: false };
  const [, target] = nodeCall.exec(text) ?? [];
  const real = target === undefined ? undefined : realFile(path.join(path.dirname(file), target));
  if (real !== undefined && isJavaScript(beginningOf(real)))
    return { path: real, isProgram: false };
  return { path: file, isProgram: true };
}

/** The line by which such a shell script becomes the tool: `exec node  "$basedir/../eslint/bin/eslint.js" "$@"`. */
const nodeCall: RegExp = /^ *exec node +"\$basedir\/([^"$]+)" +"\$@"$/m;

/** As far as it is not told otherwise by its first bytes. */
function isJavaScript(text: string): boolean {
  if (text.startsWith("\u{7f}ELF")) return false;
  return !text.startsWith("#!") || /^#!.*\b(node|nodejs|bun|deno|tsx|ts-node)\b/.test(text);
}

/** Enough of it to find that line. */
function beginningOf(file: string): string {
  try {
    const handle = fs.openSync(file, "r");
    try {
      const bytes = Buffer.alloc(16 * 1024);
      return bytes.toString("latin1", 0, fs.readSync(handle, bytes, 0, bytes.length, 0));
    } finally {
      fs.closeSync(handle);
    }
  } catch {
    return ""; // who runs it says why it cannot be read
  }
}

function realFile(file: string): string | undefined {
  try {
    const real = fs.realpathSync(file);
    return fs.statSync(real).isFile() ? real : undefined;
  } catch {
    return undefined;
  }
}
