/**
 * The images of one script. A job may use one whose guard its circumstances meet; when it meets none for the second time
 * it gets one of its own, made from its context. An image is made anew when its files change, in rounds when something
 * turns out not to be loadable ahead, and not at all any more when images of the script fail again and again.
 */
import { imageFailuresMax, prepareRoundsMax, prepareTimeoutMs } from "../base/limits.ts";
import type { StringList } from "../base/strings.ts";
import { rebuildDelayMs, sparesKept } from "../domain/load.ts";
import {
  type Circumstances,
  type Exclusion,
  firstDifference,
  type Prepared,
} from "../domain/warmth.ts";
import type { Recipe } from "../execution/script.ts";
import type { Fd } from "../os/fd.ts";
import { stateOf } from "../os/files.ts";
import type { Timer } from "../os/timers.ts";
import { type Fork, Image, type ImageParts, type ImageStatus } from "./images.ts";
import type { Loop } from "./loop.ts";
import { scriptImageProcess } from "./processes.ts";
import type { Watches } from "./watches.ts";

/** One of the images, for `status` and `why`. */
export interface VariantReport extends ImageStatus {
  readonly modules: number;
  readonly inputs: number;
  readonly excluded: readonly Exclusion[];
  readonly notes: readonly Exclusion[];
  readonly guard: Prepared["guard"] | undefined;
}

/** What an image is made from: a job's own context, kept until the image has started. */
export interface Model {
  readonly env: StringList;
  readonly directory: Fd;
  readonly circumstances: Circumstances;
}

export interface ScriptImagesParts extends ImageParts {
  readonly watches: Watches;
}

/** One image, made for the circumstances of one job. */
export interface Variant {
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

export class ScriptImages {
  readonly #loop: Loop;
  readonly #parts: ScriptImagesParts;
  readonly #recipe: Recipe;
  readonly #onMake: () => void;
  #variants: readonly Variant[] = [];
  /** Those that were let go, and of which jobs were running then. */
  #former: readonly Image[] = [];
  /** The modules to be loaded ahead; undefined until a run has told. */
  #modules: readonly string[] | undefined;
  #excluded: readonly Exclusion[] = [];
  /** Jobs that found images, but none for them, since one was made last for such a job. */
  #misses = 0;
  /** Images that failed in a row; see `imageFailuresMax`. */
  #failures = 0;
  #quarantined: { readonly reason: string; readonly version: string } | undefined;
  /** One is being made. */
  #isBuilding = false;
  #isClosed = false;

  /** `onMake` is called before an image is added. */
  constructor(loop: Loop, parts: ScriptImagesParts, recipe: Recipe, onMake: () => void) {
    this.#loop = loop;
    this.#parts = parts;
    this.#recipe = recipe;
    this.#onMake = onMake;
    this.#modules = recipe.preload;
  }

  get variants(): readonly Variant[] {
    return this.#variants;
  }

  /** There is none, and none is being made. */
  get isEmpty(): boolean {
    return this.#variants.length === 0 && !this.#isBuilding;
  }

  /** Nothing is begun any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Why none is made any more, if so. */
  get quarantine(): string | undefined {
    return this.#quarantined?.reason;
  }

  /** No run has told yet what the script loads. */
  get isUnknown(): boolean {
    return this.#modules === undefined;
  }

  report(): { variants: VariantReport[]; orphans: Fork[] } {
    return {
      variants: this.#variants.map(({ image, prepared, excluded }) => ({
        ...image.status,
        modules: prepared?.moduleCount ?? 0,
        inputs: prepared?.inputCount ?? 0,
        excluded,
        notes: prepared?.notes ?? [],
        guard: prepared?.guard,
      })),
      orphans: this.#former.flatMap((image) => image.status.forks),
    };
  }

  /** The image a job may use, or why there is none. */
  choose(circumstances: Circumstances): { variant: Variant | undefined; reason: string } {
    if (this.#recipe.isCold) return { variant: undefined, reason: "it is configured to run cold" };
    this.#reviewQuarantine();
    let reason: string | undefined;
    let isMiss = false;
    for (const variant of this.#variants) {
      if (!variant.prepared || !variant.image.isReady) continue;
      const difference = firstDifference(variant.prepared.guard, circumstances);
      if (difference === undefined) return { variant, reason: "" };
      if (!isMiss) reason = difference;
      isMiss = true;
    }
    // Whether an image that is being made would fit is not known yet.
    if (isMiss && !this.#isBuilding) this.#misses += 1;
    return { variant: undefined, reason: reason ?? this.#whyNone() };
  }

  #whyNone(): string {
    if (this.#quarantined) return `its images fail: ${this.#quarantined.reason}`;
    if (this.#isBuilding) return "its image is being made";
    return this.#parts.machine.shortage() ?? "it has no image yet";
  }

  /** Whether one should be made for circumstances in which none could be used. */
  wants({ env }: Circumstances): boolean {
    if (this.#recipe.isCold) return false;
    if (this.#isBuilding || this.#isClosed || this.#quarantined) return false;
    if ([...env.keys()].some((name) => name.startsWith("BUN_"))) return false; // never fits
    if (this.#variants.length > 0 && this.#misses < 2) return false;
    return this.#parts.machine.shortage() === undefined;
  }

  /** Makes an image for circumstances in which it is wanted. Consumes the model's directory. */
  make(model: Model): void {
    this.#misses = 0;
    this.#build(model, { round: 1, usedMs: this.#loop.nowMs(), rebuilt: 0 });
  }

  /** A job uses this one. */
  noteUse(variant: Variant): void {
    variant.usedMs = this.#loop.nowMs();
    variant.rebuilt = 0;
    this.keep(variant); // it may have had no spares, for want of jobs
  }

  noteSuccess(): void {
    this.#failures = 0;
  }

  /** What a run of the script has loaded; images are made of it from now on. */
  learn(modules: readonly string[]): void {
    this.#excluded = [];
    this.#modules = modules;
  }

  /** The same from a job of `variant`, which was made before anybody knew: it is made anew. */
  learnFrom(variant: Variant, modules: readonly string[]): void {
    // Another job may have told before.
    if (this.#modules || this.#isBuilding || !this.#variants.includes(variant)) return;
    this.#modules = modules;
    this.#rebuild(variant, { ...variant, round: 1 });
  }

  /** A job has found out that this image is of no use any more: what it loads may have changed. */
  discard(variant: Variant): void {
    this.drop(variant);
    this.#modules = this.#recipe.preload;
    this.#quarantined = undefined;
  }

  /** A child of this image has failed. */
  fail(variant: Variant, reason: string): void {
    this.drop(variant);
    this.#failed(reason);
  }

  /** Lets this image go, or spares of it, when nobody has used it for long or there is no room. */
  keep(variant: Variant): void {
    const idleMs = this.#loop.nowMs() - variant.usedMs;
    const isShort = this.#parts.machine.wasShort;
    const spares = sparesKept({ spares: this.#recipe.spares, idleMs, isShort });
    if (spares === undefined) this.drop(variant);
    else variant.image.keepSpares(spares);
  }

  /** Lets all go. Running jobs are not touched. */
  close(): void {
    this.#isClosed = true;
    for (const variant of this.#variants) this.drop(variant);
  }

  /** Closes everything, also what jobs about to start are waiting for. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const { image } of this.#variants) image[Symbol.dispose]();
    this.close();
  }

  /** Lets one go. Running jobs are not touched. */
  drop(variant: Variant): void {
    this.#variants = this.#variants.filter((other) => other !== variant);
    this.#former = [...this.#former, variant.image].filter(({ hasJobs }) => hasJobs);
    if (!variant.prepared) this.#isBuilding = false;
    variant.rebuild?.cancel();
    variant.watching?.[Symbol.dispose]();
    variant.model.directory[Symbol.dispose]();
    variant.image.close();
  }

  /** Consumes the model's directory. */
  #build(model: Model, attempt: Attempt): void {
    const own = { ...model, directory: model.directory.move() };
    this.#isBuilding = true;
    this.#onMake();
    const { path, prefix, preload, from, warmup, spares } = this.#recipe;
    const { env, circumstances } = model;
    const { args, streams } = circumstances;
    const excluded = this.#excluded;
    const isRecorded = this.#modules === undefined;
    const variant: Variant = {
      prepared: undefined,
      usedMs: attempt.usedMs,
      rebuilt: attempt.rebuilt,
      excluded,
      model: own,
      isRecorded,
      watching: undefined,
      rebuild: undefined,
      image: new Image(this.#loop, this.#parts, {
        name: `${path} (${attempt.round})`,
        build: scriptImageProcess(path, { env, directory: own.directory.raw }, streams),
        orders: {
          script: path,
          prefix,
          args,
          preload: this.#modules ?? [],
          isPreloadChosen: preload !== undefined,
          excluded: excluded.map(({ module }) => module),
          from,
          warmup,
          isImage: true,
          isRecorded,
          streams,
        },
        readyTimeoutMs: prepareTimeoutMs,
        spares,
        onPrepared: (prepared) => this.#takeOn(variant, prepared, attempt),
        onGone: (reason) => this.fail(variant, reason),
      }),
    };
    this.#variants = [...this.#variants, variant];
    const count = this.#modules?.length ?? "its own";
    this.#loop.log.debug(`making an image of ${path} with ${count} modules`);
    variant.image.open();
  }

  /** An image has told what it has found. @returns whether it is to be used; else another is made, or none. */
  #takeOn(variant: Variant, prepared: Prepared, attempt: Attempt): boolean {
    this.#isBuilding = false;
    const next = { ...attempt, round: attempt.round + 1 };
    const isLastRound = attempt.round === prepareRoundsMax;
    const { changed, flaw, excluded } = prepared;
    const [first] = excluded;
    if (changed !== undefined) {
      this.#loop.log.debug(`an image of ${this.#recipe.path} is of no use: ${changed}`);
      if (!isLastRound) this.#rebuild(variant, next);
      else this.discard(variant);
    } else if (flaw !== undefined) {
      this.fail(variant, flaw);
    } else if (first && isLastRound) {
      this.fail(variant, `${first.module} ${first.reason}`);
    } else if (first) {
      const without = new Set(excluded.map(({ module }) => module));
      this.#excluded = [...this.#excluded, ...excluded];
      this.#modules = this.#modules?.filter((module) => !without.has(module));
      this.#rebuild(variant, next);
    } else {
      variant.prepared = prepared;
      variant.watching = this.#parts.watches.watch(prepared.inputNames, (file) =>
        this.#inputChanged(variant, file),
      );
      return true;
    }
    return false;
  }

  /** Makes an image in place of `variant`, which is let go. */
  #rebuild(variant: Variant, { round, usedMs, rebuilt }: Attempt): void {
    const directory = variant.model.directory.move();
    this.drop(variant);
    this.#build({ ...variant.model, directory }, { round, usedMs, rebuilt });
  }

  /**
   * A job would find that out, and run cold. If none comes for a while in which nothing else
   * changes, there is a new image for the next one.
   */
  #inputChanged(variant: Variant, file: string): void {
    variant.rebuild?.cancel();
    variant.rebuild = this.#loop.timers.after(rebuildDelayMs(variant.rebuilt), () => {
      if (this.#isBuilding) return this.#inputChanged(variant, file);
      if (this.#parts.machine.shortage()) return this.drop(variant);
      this.#loop.log.info(`${file} has changed: making the image of ${this.#recipe.path} anew`);
      // What could not be loaded ahead may be another matter by now.
      const again = this.#excluded.map(({ module }) => module);
      this.#modules = this.#recipe.preload ?? (this.#modules && [...this.#modules, ...again]);
      this.#excluded = [];
      const { usedMs, rebuilt } = variant;
      this.#rebuild(variant, { round: 1, usedMs, rebuilt: rebuilt + 1 });
    });
  }

  #failed(reason: string): void {
    const { path } = this.#recipe;
    this.#failures += 1;
    this.#loop.log.warn(`an image of ${path} failed: ${reason}`);
    if (this.#failures < imageFailuresMax) return;
    this.#loop.log.error(`${path} runs cold until it changes: ${reason}`);
    this.#quarantined = { reason, version: this.#version() };
  }

  /** A change of the files is a new chance. */
  #reviewQuarantine(): void {
    if (!this.#quarantined || this.#quarantined.version === this.#version()) return;
    this.#quarantined = undefined;
    this.#failures = 0;
  }

  /** What its files are, as far as they are known without an image. */
  #version(): string {
    const files = [this.#recipe.path, ...(this.#modules ?? [])];
    return files
      .filter((file) => file.startsWith("/"))
      .map((file) => stateOf(this.#loop.sys, file)?.version ?? "")
      .join("\n");
  }
}
