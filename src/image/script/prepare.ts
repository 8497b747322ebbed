/**
 * How a process becomes an image of a script: it loads what the script's first run has loaded,
 * looks at what the modules ask and do meanwhile, proves with a trial child that it can be forked,
 * and forks a spare whenever the daemon asks for one.
 */
import type { Sys } from "../../../ffi/sys.ts";
import {
  type Circumstances,
  type Exclusion,
  type Orders,
  type Prepared,
  runtimeGuard,
  type StreamKind,
} from "../../domain/warmth.ts";
import { reasonOf } from "../../os/errors.ts";
import type { Fd, RawFd } from "../../os/fd.ts";
import { descriptorNumbers, descriptorTarget, readFile, writeText } from "../../os/files.ts";
import { copyHeapAhead } from "../../os/heap.ts";
import { threadNames } from "../../os/one-thread.ts";
import { waitFor } from "../../os/poll.ts";
import { exitNow } from "../../os/process.ts";
import type { Message } from "../../protocol/messages.ts";
import { type MessageReceiver, sendMessage } from "../../transport/channel.ts";
import { serveForks } from "./forks.ts";
import { Inputs } from "./inputs.ts";
import { type Made, rehearseJob } from "./job.ts";
import {
  isLoadable,
  loadedFiles,
  loadOrder,
  staticImports,
  survey,
  withImporters,
} from "./modules.ts";
import {
  isImporter,
  noteWholeEnvironment,
  Observations,
  observe,
  RefusedError,
} from "./observe.ts";
import {
  findStreamCopies,
  findTerminalSettings,
  renewProcessNumbers,
  renewRandomness,
  replaceEventLoop,
} from "./renew.ts";
import { tryFork } from "./trial.ts";

export interface Spare extends Made {
  /** Where the spare's one job comes from. */
  readonly spare: Fd;
}

/** What an image is connected with. */
export interface Links {
  readonly daemon: Fd;
  /** The other sides of 0, 1 and 2; they are open in the image only. */
  readonly probes: readonly Fd[];
  /** The daemon's log. */
  readonly log: Fd;
}

/** Returns in the spares, once in each; the image itself ends here. Consumes all of `links`. */
export async function prepareImage(
  sys: Sys,
  receiver: MessageReceiver,
  { daemon, probes, log }: Links,
  orders: Orders,
): Promise<Spare> {
  const tell = (message: Message): void => {
    sendMessage(sys, daemon.raw, { id: 0, message });
  };
  const streams = probes.map(
    (probe, slot): Stream => ({ probe: probe.raw, kind: orders.streams[slot] ?? "file" }),
  );
  const terminals = findTerminalSettings(sys, orders.streams);
  const startedMs = Date.now();
  const seen = new Observations();
  const circumstances: Circumstances = {
    env: new Map(Object.entries(process.env) as [string, string][]),
    cwd: process.cwd(),
    args: orders.args,
    streams: orders.streams,
  };
  process.argv.splice(0, process.argv.length, process.execPath, orders.script, ...orders.args);
  process.execArgv.length = 0;
  const preload = modulesAhead(orders);
  const { graph: known } = survey([orders.script, ...preload]);
  // What no text leads to was found by a name that was worked out, such as that of the directory's
  // configuration: in another job it may be another.
  const certain = orders.isPreloadChosen ? preload : [];
  const order = loadOrder(known, orders.script, certain).filter(isLoadable);
  const before = new State(sys, streams);
  const stop = observe(seen, orders.args);
  for (const module of order) await load(module, seen, before);
  const flaw =
    orders.warmup && (await warmUp(resolveFrom(orders.warmup, orders.from), seen, before));
  stop();
  const files = loadedFiles();
  const { graph, absent, readsEnvironment } = survey([...new Set([...files, orders.script])]);
  for (const module of readsEnvironment)
    if (files.includes(module)) noteWholeEnvironment(seen, process.env, module);
  const excluded = excludedBy(
    withImporters(graph, new Set(seen.effects.map(({ module }) => module))),
    seen,
  );
  const inputs = new Inputs(sys, [...files, orders.script, ...absent, ...seen.files], Date.now());
  const made: Made = {
    orders,
    inputs,
    terminals: terminals ?? new Map(),
    streamCopies: findStreamCopies(sys, probes),
  };
  rehearseJob(sys, receiver, made);
  Bun.gc(true);
  const terminalsFlaw = terminals
    ? undefined
    : "the runtime's settings of its terminals are not found";
  const report: Prepared = {
    guard: seen.extend(runtimeGuard(circumstances)),
    moduleCount: files.length,
    inputCount: inputs.count,
    inputNames: inputs.names,
    excluded,
    notes: seen.notes,
    changed: inputs.changedSince(startedMs),
    flaw:
      excluded.length > 0
        ? undefined
        : (flaw ?? before.flaw() ?? terminalsFlaw ?? (await tryFork(sys, log))),
  };
  tell({ type: "prepared", json: JSON.stringify(report) });
  const spare = serveForks(sys, receiver, daemon);
  try {
    replaceEventLoop(sys);
    renewProcessNumbers(sys);
    renewRandomness();
    for (const probe of probes) probe[Symbol.dispose]();
    // A job that waits needs the processor more.
    copyHeapAhead(sys, () => waitFor(sys, [{ fd: spare.raw, for: "reading" }], 0).length === 0);
  } catch (error) {
    writeText(sys, log.raw, `a spare cannot get ready: ${reasonOf(error)}\n`);
    exitNow(sys, 1);
  }
  log[Symbol.dispose]();
  return { ...made, spare };
}

/**
 * What is to be loaded ahead. A script that was edited since it was run may import something new.
 */
function modulesAhead({ script, preload, isPreloadChosen, from, excluded }: Orders): string[] {
  const modules = preload.map((name) => resolveFrom(name, from));
  if (isPreloadChosen) return modules;
  const imported = staticImports(script).filter((module) => !excluded.includes(module));
  return [...new Set([...modules, ...imported])];
}

/**
 * A name of a package as the path it stands for from `directory`; what cannot be found stays as it
 * is.
 */
function resolveFrom(name: string, directory: string): string {
  try {
    return Bun.resolveSync(name, directory);
  } catch {
    return name; // loading it fails, and that is told
  }
}

/**
 * Runs the module that makes what was loaded hot. What it reads counts; that it asks for the time
 * or draws numbers does not, since nothing of that stays. How it wanted the process to end, and what it listens for, is
 * no job's business. @returns what makes the image useless.
 */
async function warmUp(
  module: string,
  seen: Observations,
  before: State,
): Promise<string | undefined> {
  const own = new Observations();
  const { exitCode } = process;
  const listeners = processListeners();
  seen.isWarmingUp = true;
  await load(module, own, before);
  seen.isWarmingUp = false;
  for (const [event, added] of processListeners()) {
    const kept = listeners.get(event) ?? [];
    for (const one of added) if (!kept.includes(one)) process.off(event, one);
  }
  // For Bun 1.4.5, undefined is no change; a job asks for it as 0 then.
  if (process.exitCode !== exitCode) process.exitCode = exitCode ?? 0;
  const [failure] = own.effects;
  if (failure) return `the warm-up ${module} ${failure.reason}`;
  return seen.timers.some(isPending) ? `the warm-up ${module} leaves a timer behind` : undefined;
}

/** A reason of the runtime's, without the name of our own module that imports all others. */
function withoutOurs(reason: string): string {
  return reason.replace(/ (?:imported )?from '?\/\$bunfs\/[^\s']*'?/, "");
}

/** It will keep a process alive, and do something in it. */
function isPending(timer: NodeJS.Timeout): boolean {
  const { _destroyed: isOver } = timer as { _destroyed?: boolean };
  return isOver === false && timer.hasRef();
}

type Listener = (...values: unknown[]) => void;

function processListeners(): Map<string | symbol, Listener[]> {
  return new Map(
    process.eventNames().map((event) => [event, process.rawListeners(event) as Listener[]]),
  );
}

/** Loads one module; what goes wrong, and what has become different by it, is an effect of it. */
async function load(module: string, seen: Observations, before: State): Promise<void> {
  try {
    await import(module);
  } catch (error) {
    const reason = reasonOf(error);
    const isTold = error instanceof RefusedError; // of what it calls
    const told = isTold ? reason : `cannot be loaded ahead: ${withoutOurs(reason)}`;
    seen.effects.push({ module, reason: told });
  }
  const difference = before.difference();
  if (difference !== undefined) seen.effects.push({ module, reason: difference });
}

function excludedBy(tainted: ReadonlySet<string>, { effects }: Observations): Exclusion[] {
  const reasons = new Map<string, string>();
  for (const { module, reason } of effects) {
    if (!reasons.has(module) || reason !== isImporter) reasons.set(module, reason);
  }
  return [...tainted].filter(isLoadable).map((module) => ({
    module,
    reason: reasons.get(module) ?? isImporter,
  }));
}

/**
 * A standard stream of the image: what is at 0, 1 or 2, and where one sees that it was written to.
 */
interface Stream {
  readonly probe: RawFd;
  readonly kind: StreamKind;
}

/** What must be the same when the modules are loaded as it was before. */
class State {
  readonly #sys: Sys;
  readonly #streams: readonly Stream[];
  #descriptors: ReadonlySet<string>;

  constructor(sys: Sys, streams: readonly Stream[]) {
    this.#sys = sys;
    this.#streams = streams;
    this.#descriptors = this.#open();
  }

  /** What has become different since this was asked last. */
  difference(): string | undefined {
    const threads = threadNames(this.#sys);
    if (threads.length > 1) return `starts a thread (${threads.slice(1).join(", ")})`;
    for (const [slot, { probe, kind }] of this.#streams.entries()) {
      if (slot > 0 && this.#isWritten(probe, kind)) return `writes to descriptor ${slot}`;
    }
    const before = this.#descriptors;
    this.#descriptors = this.#open();
    const added = [...this.#descriptors].find((target) => !before.has(target));
    return added && `opens a descriptor (${added})`;
  }

  flaw(): string | undefined {
    const difference = this.difference();
    return difference && `loading its modules ${difference}`;
  }

  #isWritten(probe: RawFd, kind: StreamKind): boolean {
    if (kind === "file") return readFile(this.#sys, `/proc/self/fd/${probe}`).length > 0;
    return waitFor(this.#sys, [{ fd: probe, for: "reading" }], 0).length > 0;
  }

  /** What a stream that was asked for has duplicated is no news. */
  #open(): Set<string> {
    const streams = new Set([0, 1, 2].map((slot) => descriptorTarget(this.#sys, slot)));
    const targets = descriptorNumbers(this.#sys).flatMap((number) => {
      const target = descriptorTarget(this.#sys, number);
      return target === undefined || streams.has(target) ? [] : [target];
    });
    return new Set(targets.filter((target) => !/eventpoll|eventfd|^\/proc\//.test(target)));
  }
}
