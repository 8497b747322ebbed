/**
 * The user's scripts: which image a job of one may use, and what happens when it may use none. The
 * first run of a script is cold and tells which modules it has loaded; behind it an image is made
 * that loads them ahead. A job whose circumstances differ from those that the modules have seen
 * gets another image after its second miss, and runs cold until then. Warm or cold, the result is
 * the same.
 */
import {
  imageFailuresMax,
  prepareRoundsMax,
  prepareTimeoutMs,
  scriptImagesMax,
  scriptsMax,
  upkeepMs,
} from "../base/limits.ts";
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
import { rebuildDelayMs, sparesKept } from "../domain/load.ts";
import {
  type Circumstances,
  type Exclusion,
  firstDifference,
  type Orders,
  type Prepared,
  type StreamKind,
} from "../domain/warmth.ts";
import { errorRefused } from "../execution/program.ts";
import { findScript, identityOf, type Recipe, recipeOf } from "../execution/script.ts";
import { SystemError } from "../os/errors.ts";
import { duplicate, type Fd, type RawFd, standard } from "../os/fd.ts";
import { descriptorTarget, openPlace, stateOf, statusOfFd } from "../os/files.ts";
import { isTerminal } from "../os/terminal.ts";
import type { Timer } from "../os/timers.ts";
import type { RunRequest } from "../protocol/messages.ts";
import { type Fork, Image, type ImageParts, type ImageStatus } from "./images.ts";
import type { Loop } from "./loop.ts";
import { freshScriptProcess, scriptImageProcess } from "./processes.ts";
import { lost, type Start } from "./starters.ts";
import type { Watches } from "./watches.ts";

/** A script, for `status` and `why`. */
export interface ScriptReport {
  /** See identityOf of execution/script.ts. */
  readonly identity: string;
  /** The name it was configured under, or its path. */
  readonly name: string;
  readonly script: string;
  /** Jobs that ran out of an image, and those that did not. */
  readonly warm: number;
  readonly cold: number;
  /** Why the last job that ran cold did. */
  readonly reason: string | undefined;
  readonly quarantined: string | undefined;
  readonly variants: readonly VariantReport[];
  /** Jobs that go on, though their image was let go. */
  readonly orphans: readonly Fork[];
}

export interface VariantReport extends ImageStatus {
  readonly modules: number;
  readonly inputs: number;
  readonly excluded: readonly Exclusion[];
  readonly notes: readonly Exclusion[];
  readonly guard: Prepared["guard"] | undefined;
}

/** One image of a script, made for the circumstances of one job. */
interface Variant {
  readonly image: Image;
  /** Its own, as long as it is there: it may have to be made anew. */
  readonly model: Model;
  prepared: Prepared | undefined;
  usedMs: number;
  /** How often it was made anew since a job used it. */
  rebuilt: number;
  excluded: readonly Exclusion[];
  /** Its jobs tell what they have loaded: nobody has before. */
  readonly isRecorded: boolean;
  /** Of its files. */
  watching: Disposable | undefined;
  /** It is made anew then, unless its files go on changing. */
  rebuild: Timer | undefined;
}

/** How often it was tried to make an image, this time included, and what it replaces. */
interface Attempt {
  readonly round: number;
  readonly usedMs: number;
  readonly rebuilt: number;
}

interface Script {
  readonly recipe: Recipe;
  variants: Variant[];
  /** Images that were let go, and of which jobs were running then. */
  former: readonly Image[];
  /** The modules to be loaded ahead; undefined until a run has told. */
  modules: readonly string[] | undefined;
  excluded: readonly Exclusion[];
  warm: number;
  cold: number;
  reason: string | undefined;
  /** Jobs that found an image, but none for them, since one was made last. */
  misses: number;
  /** Images that failed in a row; see `imageFailuresMax`. */
  failures: number;
  quarantined: { readonly reason: string; readonly version: string } | undefined;
  /** One is being made. */
  isBuilding: boolean;
}

/** What an image is made from: a job's own context, kept until the image has started. */
interface Model {
  readonly env: StringList;
  readonly directory: Fd;
  readonly circumstances: Circumstances;
}

interface ScriptsParts extends ImageParts {
  readonly watches: Watches;
}

export class Scripts implements Disposable {
  readonly #loop: Loop;
  readonly #parts: ScriptsParts;
  readonly #scripts = new Map<string, Script>();
  /** Of jobs that run cold and have not ended: images are to be made of them then. */
  readonly #models = new Set<Model>();
  #upkeep: Timer | undefined;
  #isClosed = false;

  constructor(loop: Loop, parts: ScriptsParts) {
    this.#loop = loop;
    this.#parts = parts;
  }

  report(): ScriptReport[] {
    return [...this.#scripts].map(([identity, script]) => ({
      identity,
      name: script.recipe.name,
      script: script.recipe.path,
      warm: script.warm,
      cold: script.cold,
      reason: script.reason,
      quarantined: script.quarantined?.reason,
      variants: script.variants.map(({ image, prepared, excluded }) => ({
        ...image.status,
        modules: prepared?.moduleCount ?? 0,
        inputs: prepared?.inputCount ?? 0,
        excluded,
        notes: prepared?.notes ?? [],
        guard: prepared?.guard,
      })),
      orphans: script.former.flatMap((image) => image.status.forks),
    }));
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
    const file = findScript(name, here);
    if (file === undefined) {
      const what = name.includes("/") ? "no such file" : "not found in any node_modules/.bin";
      const place = command ? ` (${command.file}:${command.line})` : "";
      const reason = `${called}: ${name === called ? "" : `${name}: `}${what}${place}`;
      return start.onRefused({ code: "notFound", errno: 0, reason });
    }
    const script = this.#scriptOf(recipeOf(file, command), start, command?.env ?? []);
    if (script.quarantined && script.quarantined.version !== this.#versionOf(script)) {
      script.quarantined = undefined;
      script.failures = 0;
    }
    const circumstances = this.#circumstances(start, here, script.recipe.prefix);
    const { variant, reason } = this.#choose(script, circumstances);
    if (!variant) return this.#runCold(script, start, { directory, circumstances, reason });
    variant.usedMs = this.#loop.nowMs();
    variant.rebuilt = 0;
    this.#keep(script, variant); // it may have had no spares, for want of jobs
    const fallBack = (why: string): void =>
      this.#runCold(script, start, { directory, circumstances, reason: why });
    const recording = {
      onRecorded: (json: string) => {
        // Another job may have told before.
        if (script.modules || script.isBuilding || !script.variants.includes(variant)) return;
        script.modules = recordedModules(script, json);
        const { usedMs, rebuilt } = variant;
        this.#rebuild(script, variant, { round: 1, usedMs, rebuilt });
      },
    };
    variant.image.run({
      ...start,
      ...(variant.isRecorded ? recording : {}),
      onStarted: (pid) => {
        script.warm += 1;
        script.failures = 0;
        start.onStarted(pid);
      },
      onRefused: (refused) => {
        // While the daemon ends, it may be us who have killed the child: nothing is begun any more.
        if (refused.code !== "lost" || this.#isClosed) return start.onRefused(refused);
        // It had not said that it has started: nothing of the script has run.
        this.#drop(script, variant);
        this.#failed(script, "a child died before it started");
        fallBack("the child that was to run it died");
      },
      onUnavailable: () => fallBack("its image was not able to fork"),
      onUnfit: (why) => {
        this.#drop(script, variant);
        script.modules = script.recipe.preload; // what it loads may have changed
        script.quarantined = undefined;
        fallBack(why);
      },
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
    const file = findScript(command.script ?? command.bin ?? command.name, here);
    if (file === undefined) return log.warn(`${command.name}: no image is made: not found`);
    const own = withoutRuntimeSettings(env);
    const recipe = recipeOf(file, command);
    const script = this.#scriptOf(recipe, { request: { env: own } }, command.env);
    const circumstances: Circumstances = {
      env: environmentMap(own),
      cwd: here,
      args: recipe.prefix,
      streams: [standard.input, standard.output, standard.error].map((fd) => this.#streamKind(fd)),
    };
    if (!this.#wantsImage(script, circumstances)) return;
    const attempt = { round: 1, usedMs: this.#loop.nowMs(), rebuilt: 0 };
    this.#build(script, { env: own, directory, circumstances }, attempt);
  }

  /** Lets all images go. Running jobs are not touched. */
  close(): void {
    this.#isClosed = true;
    this.#upkeep?.cancel();
    for (const script of this.#scripts.values()) {
      for (const variant of script.variants) this.#drop(script, variant);
    }
    for (const { directory } of this.#models) directory[Symbol.dispose]();
    this.#models.clear();
  }

  /** Closes everything, also what jobs about to start are waiting for. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const { variants } of this.#scripts.values()) {
      for (const { image } of variants) image[Symbol.dispose]();
    }
    this.close();
  }

  /** By all that makes it what it is: the recipe, and the values of the variables it names. */
  #scriptOf(
    recipe: Recipe,
    { request }: { readonly request: Pick<RunRequest, "env"> },
    variables: readonly string[],
  ): Script {
    const identity = identityOf(recipe, request.env, variables);
    const known = this.#scripts.get(identity);
    if (known) return known;
    const script: Script = {
      recipe,
      variants: [],
      former: [],
      modules: recipe.preload,
      excluded: [],
      warm: 0,
      cold: 0,
      reason: undefined,
      misses: 0,
      failures: 0,
      quarantined: undefined,
      isBuilding: false,
    };
    this.#forgetOldest();
    this.#scripts.set(identity, script);
    return script;
  }

  /** At the bound, scripts without an image are forgotten, the first that were run first. */
  #forgetOldest(): void {
    for (const [identity, { variants, isBuilding }] of this.#scripts) {
      if (this.#scripts.size < scriptsMax) return;
      if (variants.length === 0 && !isBuilding) this.#scripts.delete(identity);
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

  /** The image a job may use, or why there is none. */
  #choose(
    script: Script,
    circumstances: Circumstances,
  ): { variant: Variant | undefined; reason: string } {
    if (script.recipe.isCold) {
      return { variant: undefined, reason: "it is configured to run cold" };
    }
    let reason: string | undefined;
    let isMiss = false;
    for (const variant of script.variants) {
      if (!variant.prepared || !variant.image.isReady) continue;
      const difference = firstDifference(variant.prepared.guard, circumstances);
      if (difference === undefined) return { variant, reason: "" };
      if (!isMiss) reason = difference;
      isMiss = true;
    }
    if (isMiss) script.misses += 1;
    return { variant: undefined, reason: reason ?? this.#whyNone(script) };
  }

  #whyNone({ quarantined, isBuilding }: Script): string {
    if (quarantined) return `its images fail: ${quarantined.reason}`;
    if (isBuilding) return "its image is being made";
    return this.#parts.machine.shortage() ?? "it has no image yet";
  }

  /** In a fresh process; afterwards an image is made, if there should be one. */
  #runCold(
    script: Script,
    start: Start,
    job: { directory: RawFd; circumstances: Circumstances; reason: string },
  ): void {
    const { log } = this.#loop;
    script.cold += 1;
    script.reason = job.reason;
    log.debug(`job ${start.id} (${script.recipe.path}) runs cold: ${job.reason}`);
    const { env } = start.request;
    const model = this.#keepModel(script, env, job);
    let recorded: string | undefined;
    const finish = (hasRun: boolean): void => {
      if (!model) return;
      using _directory = model.directory;
      this.#models.delete(model);
      // Another that ran at the same time may have ended first.
      if (!hasRun || !this.#wantsImage(script, job.circumstances)) return;
      if (!script.modules) {
        script.excluded = [];
        // One that was killed has not told: then each job loads them, in a runtime that is there
        // already.
        script.modules = recorded === undefined ? [] : recordedModules(script, recorded);
      }
      this.#build(script, model, { round: 1, usedMs: this.#loop.nowMs(), rebuilt: 0 });
    };
    const orders: Orders = {
      script: script.recipe.path,
      prefix: script.recipe.prefix,
      args: job.circumstances.args,
      preload: [],
      isPreloadChosen: false,
      excluded: [],
      from: script.recipe.from,
      warmup: undefined,
      isImage: false,
      isRecorded: model !== undefined && !script.modules,
      streams: job.circumstances.streams,
    };
    const recording = {
      onRecorded: (json: string) => {
        recorded = json;
      },
    };
    const cold: Start = {
      ...start,
      ...(orders.isRecorded ? recording : {}),
      onRefused: (refused) => {
        finish(false);
        start.onRefused(refused);
      },
      onUnfit: (why) => {
        finish(false);
        const reason = `${utf8(firstString(start.request.argv))}: cannot be started: ${why}`;
        start.onRefused({ code: "failed", errno: 0, reason });
      },
      onExit: (exit) => {
        start.onExit(exit);
        finish(true);
      },
    };
    try {
      const build = freshScriptProcess(
        script.recipe.path,
        { env, directory: job.directory },
        {
          streams: streamsOf(start),
          blockedSignals: start.request.attributes.blockedSignals,
        },
      );
      const starter = this.#parts.starters.spawn(build, orders);
      if (starter?.handOver(cold)) return;
      cold.onRefused(lost(start.request, "the process that was to run it died"));
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      cold.onRefused(errorRefused(start.request, error));
    }
  }

  /**
   * What an image is to be made of when the job has ended, if there should be one. For want of a
   * descriptor there is none: the job, which may have failed to run warm by now, runs all the same.
   */
  #keepModel(
    script: Script,
    env: StringList,
    { directory, circumstances }: { directory: RawFd; circumstances: Circumstances },
  ): Model | undefined {
    if (!this.#wantsImage(script, circumstances)) return undefined;
    const { sys, log } = this.#loop;
    try {
      const model = { env, directory: duplicate(sys, directory), circumstances };
      this.#models.add(model);
      return model;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      log.warn(`no image of ${script.recipe.path} is made after this run: ${error.message}`);
      return undefined;
    }
  }

  /** Whether one should be made for circumstances in which none could be used. */
  #wantsImage(script: Script, { env }: Circumstances): boolean {
    if (script.recipe.isCold) return false;
    if (script.isBuilding || this.#isClosed || script.quarantined) return false;
    if ([...env.keys()].some((name) => name.startsWith("BUN_"))) return false; // never fits
    if (script.variants.length > 0 && script.misses < 2) return false;
    return this.#parts.machine.shortage() === undefined;
  }

  /** Consumes the model's directory. */
  #build(script: Script, model: Model, attempt: Attempt): void {
    const own = { ...model, directory: model.directory.move() };
    script.isBuilding = true;
    this.#makeRoom();
    const { log } = this.#loop;
    const { circumstances } = model;
    const { round, usedMs, rebuilt } = attempt;
    const isLastRound = round === prepareRoundsMax;
    const { excluded } = script;
    const isRecorded = script.modules === undefined;
    const variant: Variant = {
      prepared: undefined,
      usedMs,
      rebuilt,
      excluded,
      model: own,
      isRecorded,
      watching: undefined,
      rebuild: undefined,
      image: new Image(this.#loop, this.#parts, {
        name: `${script.recipe.path} (${round})`,
        build: scriptImageProcess(
          script.recipe.path,
          { env: model.env, directory: own.directory.raw },
          circumstances.streams,
        ),
        orders: {
          script: script.recipe.path,
          prefix: script.recipe.prefix,
          args: circumstances.args,
          preload: script.modules ?? [],
          isPreloadChosen: script.recipe.preload !== undefined,
          excluded: excluded.map(({ module }) => module),
          from: script.recipe.from,
          warmup: script.recipe.warmup,
          isImage: true,
          isRecorded,
          streams: circumstances.streams,
        },
        readyTimeoutMs: prepareTimeoutMs,
        spares: script.recipe.spares,
        onPrepared: (prepared) => {
          script.isBuilding = false;
          if (prepared.changed !== undefined) {
            log.debug(`an image of ${script.recipe.path} is of no use: ${prepared.changed}`);
            if (!isLastRound) {
              this.#rebuild(script, variant, { ...attempt, round: round + 1 });
              return false;
            }
            script.modules = script.recipe.preload;
            this.#drop(script, variant);
            return false;
          }
          if (prepared.flaw !== undefined) {
            this.#drop(script, variant);
            this.#failed(script, prepared.flaw);
            return false;
          }
          if (prepared.excluded.length > 0 && !isLastRound) {
            const without = new Set(prepared.excluded.map(({ module }) => module));
            script.excluded = [...script.excluded, ...prepared.excluded];
            script.modules = script.modules?.filter((module) => !without.has(module));
            this.#rebuild(script, variant, { ...attempt, round: round + 1 });
            return false;
          }
          if (prepared.excluded.length > 0) {
            this.#drop(script, variant);
            this.#failed(script, `${prepared.excluded[0]?.module} ${prepared.excluded[0]?.reason}`);
            return false;
          }
          script.misses = 0;
          variant.prepared = prepared;
          variant.watching = this.#parts.watches.watch(prepared.inputNames, (file) =>
            this.#inputChanged(script, variant, file),
          );
          this.#scheduleUpkeep();
          return true;
        },
        onGone: (reason) => {
          this.#drop(script, variant);
          this.#failed(script, reason);
        },
      }),
    };
    script.variants.push(variant);
    const count = script.modules?.length ?? "its own";
    log.debug(`making an image of ${script.recipe.path} with ${count} modules`);
    variant.image.open();
  }

  /** Makes an image in place of `variant`, which is let go. */
  #rebuild(script: Script, variant: Variant, attempt: Attempt): void {
    const directory = variant.model.directory.move();
    this.#drop(script, variant);
    this.#build(script, { ...variant.model, directory }, attempt);
  }

  /**
   * A job would find that out, and run cold. If none comes for a while in which nothing else
   * changes, there is a new image for the next one.
   */
  #inputChanged(script: Script, variant: Variant, file: string): void {
    variant.rebuild?.cancel();
    variant.rebuild = this.#loop.timers.after(rebuildDelayMs(variant.rebuilt), () => {
      if (script.isBuilding) return this.#inputChanged(script, variant, file);
      const { log } = this.#loop;
      if (this.#parts.machine.shortage()) return this.#drop(script, variant);
      log.info(`${file} has changed: making the image of ${script.recipe.path} anew`);
      // What could not be loaded ahead may be another matter by now.
      const excluded = script.excluded.map(({ module }) => module);
      script.modules =
        script.recipe.preload ?? (script.modules && [...script.modules, ...excluded]);
      script.excluded = [];
      const { usedMs, rebuilt } = variant;
      this.#rebuild(script, variant, { round: 1, usedMs, rebuilt: rebuilt + 1 });
    });
  }

  #failed(script: Script, reason: string): void {
    script.failures += 1;
    this.#loop.log.warn(`an image of ${script.recipe.path} failed: ${reason}`);
    if (script.failures < imageFailuresMax) return;
    this.#loop.log.error(`${script.recipe.path} runs cold until it changes: ${reason}`);
    script.quarantined = { reason, version: this.#versionOf(script) };
  }

  /** What its files are, as far as they are known without an image. */
  #versionOf({ recipe, modules = [] }: Script): string {
    const files = [recipe.path, ...modules].filter((file) => file.startsWith("/"));
    return files.map((file) => stateOf(this.#loop.sys, file)?.version ?? "").join("\n");
  }

  #drop(script: Script, variant: Variant): void {
    script.variants = script.variants.filter((other) => other !== variant);
    script.former = [...script.former, variant.image].filter(({ hasJobs }) => hasJobs);
    if (!variant.prepared) script.isBuilding = false;
    variant.rebuild?.cancel();
    variant.watching?.[Symbol.dispose]();
    variant.model.directory[Symbol.dispose]();
    variant.image.close();
  }

  /** At the bound, the image that was used least lately is let go. */
  #makeRoom(): void {
    const all = [...this.#scripts.values()].flatMap((script) =>
      script.variants.map((variant) => ({ script, variant })),
    );
    if (all.length < scriptImagesMax) return;
    const oldest = all.reduce((a, b) => (a.variant.usedMs <= b.variant.usedMs ? a : b));
    this.#drop(oldest.script, oldest.variant);
  }

  /** Lets images and spares go that nobody has used for long, or for which there is no room. */
  #scheduleUpkeep(): void {
    this.#upkeep ??= this.#loop.timers.after(upkeepMs, () => {
      this.#upkeep = undefined;
      this.#parts.machine.shortage();
      for (const script of this.#scripts.values()) {
        for (const variant of script.variants) this.#keep(script, variant);
      }
      if ([...this.#scripts.values()].some(({ variants }) => variants.length > 0)) {
        this.#scheduleUpkeep();
      }
    });
  }

  #keep(script: Script, variant: Variant): void {
    const idleMs = this.#loop.nowMs() - variant.usedMs;
    const isShort = this.#parts.machine.wasShort;
    const spares = sparesKept({ spares: script.recipe.spares, idleMs, isShort });
    if (spares === undefined) this.#drop(script, variant);
    else variant.image.keepSpares(spares);
  }
}

/** What a job has loaded besides its script; from a process of the same binary. */
function recordedModules({ recipe }: Script, json: string): string[] {
  return (JSON.parse(json) as string[]).filter((module) => module !== recipe.path);
}

/** The daemon's own variables are a caller's, but for those with which we have started it. */
function withoutRuntimeSettings(env: StringList): StringList {
  const kept = strings(env).filter((entry) => !latin1(entry).startsWith("BUN_"));
  return stringList(fromLatin1(kept.map((entry) => `${latin1(entry)}\0`).join("")));
}

/** The job's standard descriptors, as far as it has them. */
function streamsOf({ request, fds }: Start): Map<number, RawFd> {
  const streams = new Map<number, RawFd>();
  for (const { number, index } of request.descriptors) {
    if (number <= 2) streams.set(number, fds[index] as RawFd); // the decoder checked the index
  }
  return streams;
}
