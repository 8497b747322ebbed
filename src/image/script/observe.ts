/**
 * What modules ask about their surroundings while they are loaded, and what they do to them. The
 * answers become the image's guard (a job with other answers does not use it); a module that has an
 * effect, or draws what no two jobs may share, is not loaded ahead at all.
 *
 * Builtin modules are asked through wrappers, which must be in place before the first module is
 * loaded. `process.env` is a Proxy meanwhile; `Bun.env` and `import.meta.env` cannot be replaced,
 * so a module in whose text they occur counts as one that has read all of it (see modules.ts).
 */
import type { Exclusion, Guard, Observed } from "../../domain/warmth.ts";
import { namesText } from "../../domain/warmth.ts";
import { childProcess, fs, nodeCrypto, os, path, timers, vm } from "./builtins.ts";
import { accessFilesAtOnce } from "./files-at-once.ts";
import { Wrapping } from "./wrap.ts";

/** What was seen while modules were loaded. */
export class Observations {
  readonly env = new Map<string, Observed<string | null>>();
  /** Who has enumerated the variables, and their names. */
  names: Observed<string> | undefined;
  cwd: Observed<string> | undefined;
  args: Observed<string> | undefined;
  /** Words that were looked for among the arguments, and whether they were there. */
  readonly words = new Map<string, Observed<boolean>>();
  readonly effects: Exclusion[] = [];
  /** What is worth knowing, and no reason not to load a module ahead. */
  readonly notes: Exclusion[] = [];
  /** All that were set. */
  readonly timers: NodeJS.Timeout[] = [];
  /** What runs now is done for the compiler's sake: what it reads counts, what it does is of no consequence. */
  isWarmingUp = false;
  /** Files that were looked at, present or not. */
  readonly files = new Set<string>();

  /** `guard` and what was seen besides. */
  extend(guard: Guard): Guard {
    const env = { ...guard.env };
    for (const [name, observed] of this.env) env[name] = observed;
    return {
      env,
      names: this.names,
      cwd: this.cwd,
      args: this.args,
      words: Object.fromEntries(this.words),
      streams: guard.streams,
    };
  }
}

/** Of the module whose code is being run. */
type Tell = (reason: string) => void;

/** Observes until the function it returns is called. */
export function observe(seen: Observations, args: readonly string[]): () => void {
  const wrapping = new Wrapping();
  const effect: Tell = (reason) => {
    if (seen.isWarmingUp) return; // before the stack is looked at, which takes its time
    const [module = unknownModule, ...importers] = callingModules();
    seen.effects.push({ module, reason });
    // A module that is required runs inside of those that require it, whatever their text says.
    for (const importer of importers) seen.effects.push({ module: importer, reason: isImporter });
  };
  const note: Tell = (reason) => {
    if (seen.isWarmingUp) return;
    const module = callingModule();
    const isKnown = seen.notes.some((one) => one.module === module && one.reason === reason);
    if (!isKnown) seen.notes.push({ module, reason });
  };
  const refused: Tell = (reason) => {
    effect(reason);
    if (!seen.isWarmingUp) throw new RefusedError(reason);
  };
  observeEnvironment(seen, wrapping, effect);
  observeDirectory(seen, wrapping, effect);
  observeArguments(seen, wrapping, args);
  observeFiles(seen, wrapping);
  refuseWhatReachesOut(wrapping, refused);
  accessFilesAtOnce(wrapping);
  for (const name of ["setTimeout", "setInterval", "setImmediate"] as const) {
    for (const owner of [globalThis, timers]) {
      wrapping.wrap(
        owner,
        name,
        () => effect(`calls ${name}()`),
        (timer) => seen.timers.push(timer as NodeJS.Timeout),
      );
    }
  }
  wrapping.wrap(process, "dlopen", () => effect("loads a native addon"));
  for (const name of ["on", "once", "addListener", "prependListener", "prependOnceListener"]) {
    wrapping.wrap(process, name, ([event]) => {
      // A terminal's stream listens for SIGWINCH, which nobody sends to an image.
      if (/^SIG(?!WINCH)/.test(String(event))) effect(`listens for ${String(event)}`);
    });
  }
  for (const name of ["pid", "ppid"]) {
    wrapping.watch(process, name, () => effect(`reads process.${name}`));
  }
  for (const name of ["createContext", "runInNewContext"]) {
    wrapping.wrap(vm, name, () => effect("makes a context, which has random numbers of its own"));
  }
  // The value of one module for all its jobs, which the modules that do so (keys, seeds of hashes)
  // can bear.
  wrapping.wrap(Math, "random", () => note("has drawn a random number, once for all jobs"));
  for (const name of ["getRandomValues", "randomUUID"]) {
    wrapping.wrap(globalThis.crypto, name, () => effect("draws random bytes"));
  }
  for (const name of drawing) wrapping.wrap(nodeCrypto, name, () => effect("draws random bytes"));
  wrapping.wrap(Bun, "randomUUIDv7", () => effect("draws random bytes"));
  observeClocks(wrapping, effect, note);
  return () => wrapping.unwrap();
}

/** What a module wants to do while it is loaded ahead, and is left to those that load it for a job. */
export class RefusedError extends Error {}

/**
 * What would be felt outside of this process is not done: each job that loads the module does it itself, and once more
 * would be once too often. Connections that node:net and node:http open are found out about afterwards.
 */
function refuseWhatReachesOut(wrapping: Wrapping, refused: Tell): void {
  const places = [
    ["Bun", Bun, ["spawn", "spawnSync", "serve", "connect", "listen", "udpSocket", "write"]],
    [
      "child_process",
      childProcess,
      ["spawn", "spawnSync", "exec", "execSync", "execFile", "execFileSync", "fork"],
    ],
    ["process", process, ["kill", "exit", "reallyExit", "abort"]],
    ["fs", fs, changingFiles.flatMap((name) => [name, `${name}Sync`])],
    ["fs", fs, ["createWriteStream"]],
    ["globalThis", globalThis, ["fetch", "Worker", "WebSocket"]],
  ] as const;
  for (const [place, owner, names] of places) {
    for (const name of names) wrapping.wrap(owner, name, () => refused(`calls ${place}.${name}()`));
  }
  for (const [owner, name] of [
    [fs, "open"],
    [fs, "openSync"],
    [fs.promises, "open"],
  ] as const) {
    wrapping.wrap(owner, name, ([, flags]) => {
      if (opensForWriting(flags)) refused(`opens a file for writing`);
    });
  }
  // Nobody may wait for what was refused.
  const onUnawaited = (error: unknown): void => {
    if (!(error instanceof RefusedError)) throw error;
  };
  for (const event of ["unhandledRejection", "uncaughtException"] as const) {
    process.on(event, onUnawaited);
    wrapping.defer(() => process.off(event, onUnawaited));
  }
}

/** Functions of node:fs; each has a namesake that ends in `Sync`. */
const changingFiles: readonly string[] = [
  ...["appendFile", "writeFile", "write", "writev", "copyFile", "cp", "truncate", "ftruncate"],
  ...["mkdir", "mkdtemp", "rm", "rmdir", "unlink", "rename", "link", "symlink"],
  ...["chmod", "fchmod", "lchmod", "chown", "fchown", "lchown", "utimes", "futimes", "lutimes"],
];

function opensForWriting(flags: unknown): boolean {
  const { O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND } = fs.constants;
  if (typeof flags === "string") return /[wa+]/.test(flags);
  return (
    typeof flags === "number" && (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND)) !== 0
  );
}

/** Functions of node:crypto that give what no two jobs may have. */
const drawing: readonly string[] = [
  "randomBytes",
  "randomFill",
  "randomFillSync",
  "randomInt",
  "randomUUID",
  "generateKey",
  "generateKeySync",
  "generateKeyPair",
  "generateKeyPairSync",
];

/** Adds that `module` knows every variable. */
export function noteWholeEnvironment(
  seen: Observations,
  env: NodeJS.ProcessEnv,
  module: string,
): void {
  noteNames(seen, env, module);
  for (const [name, value] of Object.entries(env)) {
    if (!seen.env.has(name)) seen.env.set(name, { value: value ?? null, module });
  }
}

function noteNames(seen: Observations, env: NodeJS.ProcessEnv, module: string): void {
  seen.names ??= { value: namesText(Object.keys(env)), module };
}

function observeClocks(wrapping: Wrapping, effect: Tell, note: Tell): void {
  const read = (): void => effect("reads the clock");
  wrapping.wrap(Date, "now", read);
  wrapping.wrap(globalThis, "Date", (parts) => {
    if (parts.length === 0) read();
  });
  wrapping.wrap(process.hrtime, "bigint", read);
  wrapping.wrap(process, "hrtime", read);
  wrapping.wrap(process, "uptime", read);
  wrapping.wrap(Bun, "nanoseconds", read);
  // The TypeScript compiler does, to see whether it can.
  wrapping.wrap(performance, "now", () => note("asks how long the process has been running"));
}

function observeEnvironment(seen: Observations, wrapping: Wrapping, effect: Tell): void {
  const real = process.env;
  const read = (name: string | symbol): void => {
    if (typeof name !== "string" || seen.env.has(name)) return;
    seen.env.set(name, { value: real[name] ?? null, module: callingModule() });
  };
  const handler: ProxyHandler<NodeJS.ProcessEnv> = {
    get(target, name) {
      read(name);
      return Reflect.get(target, name);
    },
    has(target, name) {
      read(name);
      return Reflect.has(target, name);
    },
    getOwnPropertyDescriptor(target, name) {
      if (!seen.names) read(name); // else whether it is there is known by now
      return Reflect.getOwnPropertyDescriptor(target, name);
    },
    ownKeys(target) {
      noteNames(seen, target, callingModule());
      return Reflect.ownKeys(target);
    },
    set(target, name, value) {
      effect(`sets ${String(name)}`);
      return Reflect.set(target, name, value);
    },
    deleteProperty(target, name) {
      read(name);
      if (Object.hasOwn(target, name)) effect(`unsets ${String(name)}`);
      return Reflect.deleteProperty(target, name);
    },
  };
  process.env = new Proxy(real, handler);
  wrapping.wrap(os, "homedir", () => read("HOME"));
  wrapping.wrap(os, "tmpdir", () => ["TMPDIR", "TMP", "TEMP"].forEach(read));
  wrapping.defer(() => {
    process.env = real;
    // A module that has kept the Proxy sees through it from now on.
    for (const trap of Object.keys(handler)) delete handler[trap as keyof typeof handler];
  });
}

function observeDirectory(seen: Observations, wrapping: Wrapping, effect: Tell): void {
  const cwd = process.cwd();
  const note = (): void => {
    seen.cwd ??= { value: cwd, module: callingModule() };
  };
  wrapping.wrap(process, "cwd", note);
  wrapping.wrap(process, "chdir", () => {
    effect("changes the directory");
  });
  wrapping.wrap(path, "resolve", (parts) => {
    if (!parts.some((part) => String(part).startsWith("/"))) note();
  });
  wrapping.wrap(path, "relative", ([from, to]) => {
    if (![from, to].every((part) => String(part).startsWith("/"))) note();
  });
}

/** A part of the arguments that a module has kept without looking at it. */
interface ArgumentsCopy {
  readonly words: string[];
  readonly slice: readonly number[];
}
const argumentsCopies: ArgumentsCopy[] = [];

/** Brings what modules have kept of the arguments up to date. */
export function renewArgumentsCopies(): void {
  for (const { words, slice } of argumentsCopies) {
    words.splice(0, words.length, ...process.argv.slice(...slice));
  }
}

/**
 * Most modules that look at the arguments while they are loaded ask for one word (`--no-color`):
 * then the answer is the guard, and not all of them. Some keep a part of them for later.
 */
function observeArguments(seen: Observations, wrapping: Wrapping, args: readonly string[]): void {
  const noteAll = (): void => {
    seen.args ??= { value: JSON.stringify(args), module: callingModule() };
  };
  const watched = (words: string[], harmless: readonly string[]): string[] => {
    const handler: ProxyHandler<string[]> = {
      get(target, name) {
        if (name === "slice") {
          return (...slice: number[]): string[] => {
            const copy = target.slice(...slice);
            argumentsCopies.push({ words: copy, slice });
            return watched(copy, []);
          };
        }
        if (name === "includes" || name === "indexOf") {
          return (word: unknown, ...rest: unknown[]): unknown => {
            if (typeof word !== "string" || rest.length > 0) noteAll();
            else seen.words.set(word, { value: args.includes(word), module: callingModule() });
            return Reflect.apply(target[name], target, [word, ...rest]);
          };
        }
        if (!harmless.includes(String(name))) noteAll();
        return Reflect.get(target, name);
      },
    };
    wrapping.defer(() => {
      for (const trap of Object.keys(handler)) delete handler[trap as keyof typeof handler];
    });
    return new Proxy(words, handler);
  };
  const real = process.argv;
  // The runtime and the script are the same for every job.
  process.argv = watched(real, ["0", "1"]);
  wrapping.defer(() => {
    process.argv = real;
  });
}

function observeFiles(seen: Observations, wrapping: Wrapping): void {
  const names = ["readFileSync", "existsSync", "statSync", "lstatSync", "readdirSync", "openSync"];
  for (const name of [...names, "accessSync", "realpathSync", "readlinkSync"]) {
    wrapping.wrap(fs, name, ([file]) => {
      if (typeof file !== "string" && !(file instanceof URL)) return;
      const named = file instanceof URL ? Bun.fileURLToPath(file) : file;
      if (named.startsWith("/")) seen.files.add(named);
      else seen.cwd ??= { value: process.cwd(), module: callingModule() };
    });
  }
}

/** Why a module is not loaded ahead that has no effect of its own. */
export const isImporter = "imports such a module";

const unknownModule = "a module";

/** The file whose code is being run, as far as the stack tells. */
function callingModule(): string {
  return callingModules()[0] ?? unknownModule;
}

/** The files on the stack, the innermost first. */
function callingModules(): string[] {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = 200;
  const stack = new Error().stack ?? "";
  Error.stackTraceLimit = before;
  const files = new Set<string>();
  for (const line of stack.split("\n")) {
    const [, file] = /(?:\(|at )(\/[^()]*?):\d+(?::\d+)?\)?$/.exec(line) ?? [];
    if (file && !file.startsWith("/$bunfs/")) files.add(file);
  }
  return [...files];
}
