/**
 * Which configured commands a caller has: those of the project around its directory, if that file
 * was allowed, and those of the user. The daemon asks for every job, so what was read is kept.
 */
import type { Sys } from "../../ffi/sys.ts";
import { utf8 } from "../base/strings.ts";
import {
  type CommandConfiguration,
  ConfigurationError,
  parseConfiguration,
  printable,
} from "../domain/configuration.ts";
import {
  projectFileName,
  projectFiles,
  projectRootMark,
  userFile,
  type Variables,
} from "../domain/configuration-files.ts";
import { exists } from "../os/files.ts";
import { FileCache, type ReadFile } from "./file-cache.ts";
import { flawOf, hashOf, type KnownFile, Trust } from "./trust.ts";

/** The answer for one name. */
export interface Found {
  readonly command: CommandConfiguration | undefined;
  /** What was passed over and could have mattered: one line each. */
  readonly notices: readonly string[];
}

export interface ListedCommand extends CommandConfiguration {
  readonly kind: "project" | "user";
}

export interface Listing {
  readonly commands: readonly ListedCommand[];
  readonly notices: readonly string[];
}

/** One configuration file, parsed. */
interface ConfigurationFile extends KnownFile {
  /** By name; empty when the file is broken. */
  readonly commands: ReadonlyMap<string, CommandConfiguration>;
  readonly error: ConfigurationError | undefined;
  /** Why it is not fit to be the user's own. */
  readonly flaw: string | undefined;
}

/** A file in its role for one caller. */
interface Source {
  readonly kind: ListedCommand["kind"];
  readonly commands: ReadonlyMap<string, CommandConfiguration>;
  /** Why it is passed over, as a notice; undefined when it counts. */
  readonly ignored: string | undefined;
  /** Nobody knows which commands it names. */
  readonly isBroken: boolean;
}

export class Configurations {
  readonly #sys: Sys;
  readonly #files: FileCache<ConfigurationFile>;
  readonly #trust: Trust;

  constructor(sys: Sys) {
    this.#sys = sys;
    this.#files = new FileCache(sys, (file) => parseFile(sys, file));
    this.#trust = new Trust(sys);
  }

  /**
   * The command of this name for a caller in `directory` (absolute) with these variables. Files
   * that are broken or not allowed are as if they were not there, but for a notice.
   */
  find(name: string, directory: string, variable: Variables): Found {
    const notices: string[] = [];
    for (const source of this.#sources(directory, variable)) {
      const command = source.commands.get(name);
      if (source.ignored === undefined) {
        if (command) return { command, notices };
      } else if (command || source.isBroken) notices.push(source.ignored);
    }
    return { command: undefined, notices };
  }

  /** All of them: the project's first; what it names hides the user's of the same name. */
  all(directory: string, variable: Variables): Listing {
    return listingOf(this.#sources(directory, variable));
  }

  /** The user's alone, whatever directory somebody is in. */
  ofUser(variable: Variables): Listing {
    const user = this.#source("user", () => this.#userSource(variable));
    return listingOf(user ? [user] : []);
  }

  /**
   * Allows the project's file as it is now.
   * @returns its path and what it names.
   * @throws ConfigurationError when there is none, or it is broken; SystemError
   */
  allow(
    directory: string,
    variable: Variables,
  ): { file: string; commands: readonly CommandConfiguration[] } {
    const file = this.#neededProjectFile(directory);
    if (file.error) throw file.error;
    this.#trust.allow(file, variable);
    return { file: file.realPath, commands: [...file.commands.values()] };
  }

  /** @returns the project's file and whether it had been allowed. @throws as `allow` */
  revoke(directory: string, variable: Variables): { file: string; wasAllowed: boolean } {
    const { realPath } = this.#neededProjectFile(directory);
    return { file: realPath, wasAllowed: this.#trust.revoke(realPath, variable) };
  }

  /** Each is looked for only when those before it did not answer. */
  *#sources(directory: string, variable: Variables): Generator<Source> {
    const project = this.#source("project", () => this.#projectSource(directory, variable));
    if (project) yield project;
    const user = this.#source("user", () => this.#userSource(variable));
    if (user) yield user;
  }

  #source(kind: Source["kind"], find: () => Source | undefined): Source | undefined {
    try {
      return find();
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      return brokenSource(kind, error);
    }
  }

  #projectSource(directory: string, variable: Variables): Source | undefined {
    const found = this.#findProjectFile(directory);
    if (!found) return undefined;
    const { path, file } = found;
    if (file.error) return brokenSource("project", file.error);
    const why = {
      allowed: undefined,
      changed: "it has changed since it was allowed",
      unknown: "it is not allowed",
    }[this.#trust.of(file, variable)];
    const mending = "(read it, then run 'prefork allow' there)";
    const ignored =
      why === undefined ? undefined : `ignoring ${printable(path)}: ${why} ${mending}`;
    return { kind: "project", commands: file.commands, ignored, isBroken: false };
  }

  #userSource(variable: Variables): Source | undefined {
    const path = userFile(variable);
    const file = path === undefined ? undefined : this.#files.get(path);
    if (path === undefined || !file) return undefined;
    const { commands, flaw, error } = file;
    if (error && flaw === undefined) return brokenSource("user", error);
    const ignored = flaw === undefined ? undefined : `ignoring ${printable(path)}: ${flaw}`;
    return { kind: "user", commands, ignored, isBroken: error !== undefined };
  }

  #neededProjectFile(directory: string): ConfigurationFile {
    const found = this.#findProjectFile(directory);
    if (found) return found.file;
    throw new ConfigurationError(
      `no ${projectFileName} in ${directory}, nor above it up to the project's root (write one first)`,
    );
  }

  /** The nearest one. */
  #findProjectFile(directory: string): { path: string; file: ConfigurationFile } | undefined {
    const isProjectRoot = (path: string): boolean =>
      exists(this.#sys, `${path}/${projectRootMark}`);
    for (const path of projectFiles(directory, isProjectRoot)) {
      const file = this.#files.get(path);
      if (file) return { path, file };
    }
    return undefined;
  }
}

function listingOf(sources: Iterable<Source>): Listing {
  const commands = new Map<string, ListedCommand>();
  const notices: string[] = [];
  for (const { kind, ignored, commands: named } of sources) {
    if (ignored !== undefined) {
      notices.push(ignored);
      continue;
    }
    for (const [name, command] of named) {
      if (!commands.has(name)) commands.set(name, { ...command, kind });
    }
  }
  return { commands: [...commands.values()], notices };
}

/** Relative paths start beside the file itself: a link to an allowed file leads to its own scripts. */
function parseFile(sys: Sys, { realPath, state, bytes }: ReadFile): ConfigurationFile {
  const file = { realPath, hash: hashOf(bytes), flaw: flawOf(sys, state) };
  try {
    const commands = parseConfiguration(utf8(bytes), realPath);
    const byName = new Map(commands.map((command) => [command.name, command]));
    return { ...file, commands: byName, error: undefined };
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return { ...file, commands: new Map(), error };
  }
}

function brokenSource(kind: Source["kind"], error: ConfigurationError): Source {
  return { kind, commands: new Map(), ignored: `ignoring ${error.message}`, isBroken: true };
}
