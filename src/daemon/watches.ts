/**
 * The directories with files that images were made of: who keeps an image hears early that one has
 * changed. What is not heard, because the kernel grants no more watches or has lost events, is
 * found out by the sweep before the next job (image/script/inputs.ts), which alone decides.
 */
import * as errno from "../../ffi/errno.ts";
import { errnoName } from "../../ffi/errno-names.ts";
import { watchesMax } from "../base/limits.ts";
import { Scope } from "../base/scope.ts";
import type { Prepared } from "../domain/warmth.ts";
import { reasonOf, SystemError } from "../os/errors.ts";
import type { Fd } from "../os/fd.ts";
import { directoryEventsOf, openWatches, unwatchDirectory, watchDirectory } from "../os/watch.ts";
import type { Loop } from "./loop.ts";

/** Names of files by the directory they are in. */
type Names = Prepared["inputNames"];

interface Listener {
  readonly directory: string;
  readonly names: ReadonlySet<string>;
  readonly onChange: (path: string) => void;
}

export class Watches implements Disposable {
  readonly #loop: Loop;
  #inotify: Fd | undefined;
  /** By the kernel's number for the directory. */
  readonly #listeners = new Map<number, Set<Listener>>();
  #isLimitTold = false;

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  /**
   * Calls `onChange` with the path when something happens to one of these files, until what is
   * returned is disposed of.
   */
  watch(names: Names, onChange: (path: string) => void): Disposable {
    const watching = new Scope();
    const inotify = this.#open();
    if (!inotify) return watching;
    for (const directory of foremost(Object.keys(names))) {
      const listener = { directory, names: new Set(names[directory]), onChange };
      const isAdded = this.#add(inotify, listener, watching);
      if (!isAdded) break;
    }
    return watching;
  }

  [Symbol.dispose](): void {
    this.#listeners.clear();
    if (!this.#inotify) return;
    this.#loop.poller.remove(this.#inotify.raw);
    this.#inotify[Symbol.dispose]();
    this.#inotify = undefined;
  }

  #open(): Fd | undefined {
    if (this.#inotify) return this.#inotify;
    const { sys, poller } = this.#loop;
    using owned = new Scope();
    try {
      const inotify = owned.use(openWatches(sys));
      poller.add(inotify.raw, () => this.#receive(inotify));
      owned.move();
      this.#inotify = inotify;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#tellLimit(reasonOf(error));
    }
    return this.#inotify;
  }

  /** @returns false when there is no use in trying others. */
  #add(inotify: Fd, listener: Listener, watching: Scope): boolean {
    const { sys } = this.#loop;
    if (this.#listeners.size >= watchesMax) {
      this.#tellLimit(`${watchesMax} directories are watched`);
      return false;
    }
    const watch = watchDirectory(sys, inotify.raw, listener.directory);
    if (watch === -errno.ENOSPC || watch === -errno.ENOMEM) {
      this.#tellLimit(`inotify_add_watch ${listener.directory}: ${errnoName(-watch)}`);
      return false;
    }
    if (watch < 0) return true; // ignoring it: gone, or not ours to read
    const listeners = this.#listeners.get(watch) ?? new Set();
    this.#listeners.set(watch, listeners.add(listener));
    watching.defer(() => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#listeners.get(watch) !== listeners) return;
      this.#listeners.delete(watch);
      unwatchDirectory(sys, inotify.raw, watch);
    });
    return true;
  }

  #receive(inotify: Fd): void {
    for (const { watch, name, isLast } of directoryEventsOf(this.#loop.sys, inotify.raw)) {
      const listeners = this.#listeners.get(watch) ?? [];
      if (isLast) this.#listeners.delete(watch);
      for (const { directory, names, onChange } of [...listeners]) {
        if (name === undefined) onChange(directory);
        else if (names.has(name)) onChange(`${directory}/${name}`);
      }
    }
  }

  #tellLimit(reason: string): void {
    if (this.#isLimitTold) return;
    this.#isLimitTold = true;
    this.#loop.log.warn(`${reason}: changes of other files are noticed by the next run`);
  }
}

/** Those that somebody edits before those that were installed: there may not be watches for all. */
function foremost(directories: readonly string[]): string[] {
  const isInstalled = (directory: string): boolean => directory.includes("/node_modules");
  return [
    ...directories.filter((directory) => !isInstalled(directory)),
    ...directories.filter(isInstalled),
  ];
}
