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

/** A file, or a tool of the nearest node_modules/.bin; links are followed, as the runtime does. */
export function findScript(name: string, directory: string): string | undefined {
  if (name.includes("/")) return realFile(path.resolve(directory, name));
  for (let at = directory; ; at = path.dirname(at)) {
    const found = realFile(path.join(at, "node_modules", ".bin", name));
    if (found !== undefined || at === "/") return found;
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
