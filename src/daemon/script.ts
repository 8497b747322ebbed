/**
 * One script of the user's, and how its jobs run: out of an image where that makes no difference, else cold. The first
 * cold run tells which modules it has loaded, and behind a cold run an image is made for the next one like it.
 */
import { firstString, type StringList, utf8 } from "../base/strings.ts";
import type { Circumstances, Orders } from "../domain/warmth.ts";
import { errorRefused } from "../execution/program.ts";
import type { Recipe } from "../execution/script.ts";
import { SystemError } from "../os/errors.ts";
import { duplicate, type RawFd } from "../os/fd.ts";
import type { Fork } from "./images.ts";
import type { Loop } from "./loop.ts";
import { freshScriptProcess } from "./processes.ts";
import {
  type Model,
  ScriptImages,
  type ScriptImagesParts,
  type Variant,
  type VariantReport,
} from "./script-images.ts";
import { lost, type Start } from "./starters.ts";

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

/** A job of a script's. `directory` is lent. */
export interface ScriptJob {
  readonly start: Start;
  readonly directory: RawFd;
  readonly circumstances: Circumstances;
}

export class Script {
  readonly images: ScriptImages;
  readonly #loop: Loop;
  readonly #parts: ScriptImagesParts;
  readonly #recipe: Recipe;
  /** Of jobs that run cold and have not ended: images are to be made of them then. */
  readonly #models = new Set<Model>();
  #warm = 0;
  #cold = 0;
  #reason: string | undefined;

  /** `onMake` is called before an image is added. */
  constructor(loop: Loop, parts: ScriptImagesParts, recipe: Recipe, onMake: () => void) {
    this.#loop = loop;
    this.#parts = parts;
    this.#recipe = recipe;
    this.images = new ScriptImages(loop, parts, recipe, onMake);
  }

  report(identity: string): ScriptReport {
    return {
      identity,
      name: this.#recipe.name,
      script: this.#recipe.path,
      warm: this.#warm,
      cold: this.#cold,
      reason: this.#reason,
      quarantined: this.images.quarantine,
      ...this.images.report(),
    };
  }

  run(job: ScriptJob): void {
    const { variant, reason } = this.images.choose(job.circumstances);
    if (variant) this.#runWarm(variant, job);
    else this.#runCold(job, reason);
  }

  #runWarm(variant: Variant, job: ScriptJob): void {
    const { start } = job;
    this.images.noteUse(variant);
    const recording = {
      onRecorded: (json: string) => this.images.learnFrom(variant, this.#modulesIn(json)),
    };
    variant.image.run({
      ...start,
      ...(variant.isRecorded ? recording : {}),
      onStarted: (pid) => {
        this.#warm += 1;
        this.images.noteSuccess();
        start.onStarted(pid);
      },
      onRefused: (refused) => {
        // While the daemon ends, it may be us who have killed the child: nothing is begun any more.
        if (refused.code !== "lost" || this.images.isClosed) return start.onRefused(refused);
        // It had not said that it has started: nothing of the script has run.
        this.images.fail(variant, "a child died before it started");
        this.#runCold(job, "the child that was to run it died");
      },
      onUnavailable: () => this.#runCold(job, "its image was not able to fork"),
      onUnfit: (why) => {
        this.images.discard(variant);
        this.#runCold(job, why);
      },
    });
  }

  #runCold({ start, directory, circumstances }: ScriptJob, reason: string): void {
    const { path, prefix, from } = this.#recipe;
    this.#cold += 1;
    this.#reason = reason;
    this.#loop.log.debug(`job ${start.id} (${path}) runs cold: ${reason}`);
    const { env } = start.request;
    const model = this.#keepModel(env, directory, circumstances);
    let recorded: string | undefined;
    const finish = (hasRun: boolean): void => {
      if (!model) return;
      using _directory = model.directory;
      this.#models.delete(model);
      // Another that ran at the same time may have ended first.
      if (!hasRun || !this.images.wants(circumstances)) return;
      // One that was killed has not told: then each job loads them, in a runtime that is there already.
      if (this.images.isUnknown) this.images.learn(recorded ? this.#modulesIn(recorded) : []);
      this.images.make(model);
    };
    const orders: Orders = {
      script: path,
      prefix,
      args: circumstances.args,
      preload: [],
      isPreloadChosen: false,
      excluded: [],
      from,
      warmup: undefined,
      isImage: false,
      isRecorded: model !== undefined && this.images.isUnknown,
      streams: circumstances.streams,
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
        path,
        { env, directory },
        { streams: streamsOf(start), blockedSignals: start.request.attributes.blockedSignals },
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
  #keepModel(env: StringList, directory: RawFd, circumstances: Circumstances): Model | undefined {
    if (!this.images.wants(circumstances)) return undefined;
    const { sys, log } = this.#loop;
    try {
      const model = { env, directory: duplicate(sys, directory), circumstances };
      this.#models.add(model);
      return model;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      log.warn(`no image of ${this.#recipe.path} is made after this run: ${error.message}`);
      return undefined;
    }
  }

  /** Lets all images go, and what others would be made of. Running jobs are not touched. */
  close(): void {
    this.images.close();
    for (const { directory } of this.#models) directory[Symbol.dispose]();
    this.#models.clear();
  }

  /** Closes everything, also what jobs about to start are waiting for. */
  [Symbol.dispose](): void {
    this.images[Symbol.dispose]();
    this.close();
  }

  /** Those that a run tells of, but for the script itself; from a process of the same binary. */
  #modulesIn(json: string): string[] {
    return (JSON.parse(json) as string[]).filter((module) => module !== this.#recipe.path);
  }
}

/** A job's standard descriptors, as far as it has them. */
export function streamsOf({ request, fds }: Start): Map<number, RawFd> {
  const streams = new Map<number, RawFd>();
  for (const { number, index } of request.descriptors) {
    if (number <= 2) streams.set(number, fds[index] as RawFd); // the decoder checked the index
  }
  return streams;
}
