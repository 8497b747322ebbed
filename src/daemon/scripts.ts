/**
 * The user's scripts: which of them a job names, what its circumstances are, and how many images there may be of all of
 * them together. How a script's jobs run is in script.ts, when its images are made in script-images.ts.
 */
import type { Sys } from "../../ffi/sys.ts";
import { scriptImagesMax, scriptsMax, upkeepMs } from "../base/limits.ts";
import {
  dropStrings,
  firstString,
  fromLatin1,
  latin1,
  type StringList,
  stringList,
  strings,
  utf8,
} from "../base/strings.ts";
import type { CommandConfiguration } from "../domain/configuration.ts";
import { environmentMap } from "../domain/environment.ts";
import type { Circumstances, StreamKind } from "../domain/warmth.ts";
import { commandName } from "../execution/program.ts";
import { findScript, identityOf, type Recipe, recipeOf } from "../execution/script.ts";
import { type RawFd, standard } from "../os/fd.ts";
import { descriptorTarget, openPlace, stateOf, statusOfFd } from "../os/files.ts";
import { isTerminal } from "../os/terminal.ts";
import type { Timer } from "../os/timers.ts";
import type { Loop } from "./loop.ts";
import { Script, type ScriptReport, streamsOf } from "./script.ts";
import type { ScriptImagesParts } from "./script-images.ts";
import type { Start } from "./starters.ts";

export class Scripts implements Disposable {
  readonly #loop: Loop;
  readonly #parts: ScriptImagesParts;
  readonly #scripts = new Map<string, Script>();
  #upkeep: Timer | undefined;

  constructor(loop: Loop, parts: ScriptImagesParts) {
    this.#loop = loop;
    this.#parts = parts;
  }

  report(): ScriptReport[] {
    return [...this.#scripts].map(([identity, script]) => script.report(identity));
  }

  /**
   * Runs the script that a request names, or the configured `command`; warm if that makes no
   * difference.
   */
  run(start: Start, directory: RawFd, command?: CommandConfiguration): void {
    const { sys } = this.#loop;
    const here = descriptorTarget(sys, directory) ?? "/";
    const called = utf8(firstString(start.request.argv));
    const name = command?.script ?? command?.bin ?? called;
    const found = findScript(name, here);
    if (found === undefined) {
      const what = name.includes("/")
        ? whyNoScript(sys, name, here)
        : "not found in any node_modules/.bin";
      const place = command ? ` (${command.file}:${command.line})` : "";
      const reason = `${commandName(start.request)}: ${name === called ? "" : `${name}: `}${what}${place}`;
      return start.onRefused({ code: "notFound", errno: 0, reason });
    }
    const recipe = recipeOf(found.path, command);
    if (found.isProgram) return start.onProgram?.([found.path, ...recipe.prefix]);
    const circumstances = this.#circumstances(start, here, recipe.prefix);
    this.#scriptOf(recipe, start.request.env, command?.env).run({
      start,
      directory,
      circumstances,
    });
  }

  /**
   * Has an image made though no job has come yet, for jobs like one of the daemon itself: in its
   * directory, with its variables, which are `env`, and its streams. The first job tells what the
   * script loads.
   */
  prepare(command: CommandConfiguration, env: StringList): void {
    const { sys, log } = this.#loop;
    using directory = openPlace(sys, ".");
    const here = descriptorTarget(sys, directory.raw) ?? "/";
    const found = findScript(command.script ?? command.bin ?? command.name, here);
    if (found === undefined) return log.warn(`${command.name}: no image is made: not found`);
    if (found.isProgram) return log.warn(`${command.name}: no image is made: it is no script`);
    const own = withoutRuntimeSettings(env);
    const recipe = recipeOf(found.path, command);
    const { images } = this.#scriptOf(recipe, own, command.env);
    const circumstances: Circumstances = {
      env: environmentMap(own),
      cwd: here,
      args: recipe.prefix,
      streams: [standard.input, standard.output, standard.error].map((fd) => this.#streamKind(fd)),
    };
    if (images.wants(circumstances)) images.make({ env: own, directory, circumstances });
  }

  /** Lets all images go. Running jobs are not touched. */
  close(): void {
    this.#upkeep?.cancel();
    for (const script of this.#scripts.values()) script.close();
  }

  /** Closes everything, also what jobs about to start are waiting for. */
  [Symbol.dispose](): void {
    this.#upkeep?.cancel();
    for (const script of this.#scripts.values()) script[Symbol.dispose]();
  }

  /** By all that makes it what it is: the recipe, and the values of the variables it names. */
  #scriptOf(recipe: Recipe, env: StringList, variables: readonly string[] = []): Script {
    const identity = identityOf(recipe, env, variables);
    const known = this.#scripts.get(identity);
    if (known) return known;
    const script = new Script(this.#loop, this.#parts, recipe, () => {
      this.#makeRoom();
      this.#scheduleUpkeep();
    });
    this.#forgetOldest();
    this.#scripts.set(identity, script);
    return script;
  }

  /** At the bound, scripts without an image are forgotten, the first that were run first. */
  #forgetOldest(): void {
    for (const [identity, { images }] of this.#scripts) {
      if (this.#scripts.size < scriptsMax) return;
      if (images.isEmpty) this.#scripts.delete(identity);
    }
  }

  #circumstances(start: Start, cwd: string, prefix: readonly string[]): Circumstances {
    const { request } = start;
    const streams = streamsOf(start);
    return {
      env: environmentMap(request.env),
      cwd,
      args: [...prefix, ...strings(dropStrings(request.argv, 1)).map(utf8)],
      streams: [0, 1, 2].map((number) => this.#streamKind(streams.get(number))),
    };
  }

  #streamKind(fd: RawFd | undefined): StreamKind {
    if (fd === undefined) return "file"; // it is /dev/null
    const { sys } = this.#loop;
    if (isTerminal(sys, fd)) return "terminal";
    const { kind } = statusOfFd(sys, fd);
    return kind === "file" || kind === "character" || kind === "directory" ? "file" : "pipe";
  }

  /** At the bound, the image that was used least lately is let go. */
  #makeRoom(): void {
    const all = [...this.#scripts.values()].flatMap(({ images }) =>
      images.variants.map((variant) => ({ images, variant })),
    );
    if (all.length < scriptImagesMax) return;
    const oldest = all.reduce((a, b) => (a.variant.usedMs <= b.variant.usedMs ? a : b));
    oldest.images.drop(oldest.variant);
  }

  /** Lets images and spares go that nobody has used for long, or for which there is no room. */
  #scheduleUpkeep(): void {
    this.#upkeep ??= this.#loop.timers.after(upkeepMs, () => {
      this.#upkeep = undefined;
      this.#parts.machine.shortage();
      const all = [...this.#scripts.values()].map(({ images }) => images);
      for (const images of all) for (const variant of images.variants) images.keep(variant);
      if (all.some(({ variants }) => variants.length > 0)) this.#scheduleUpkeep();
    });
  }
}

/** Why a path names no script. */
function whyNoScript(sys: Sys, name: string, directory: string): string {
  const file = name.startsWith("/") ? name : `${directory}/${name}`;
  return stateOf(sys, file) ? "is no regular file" : "no such file";
}

/** The daemon's own variables are a caller's, but for those with which we have started it. */
function withoutRuntimeSettings(env: StringList): StringList {
  const kept = strings(env).filter((entry) => !latin1(entry).startsWith("BUN_"));
  return stringList(fromLatin1(kept.map((entry) => `${latin1(entry)}\0`).join("")));
}
