/**
 * What modules ask about their surroundings while they are loaded, and what they do to them. The
 * answers become the image's guard (a job with other answers does not use it); a module that has an
 * effect, or draws what no two jobs may share, is not loaded ahead at all.
 *
 * Builtin modules are asked through wrappers, which must be in place before the first module is
 * loaded. `process.env` is a Proxy meanwhile; `Bun.env` and `import.meta.env` cannot be replaced, so a module in
 * whose text they occur counts as one that has read all of it (see modules.ts).
 */
import childProcess from "node:child_process";
import nodeCrypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import tty from "node:tty";
import type { Exclusion, Guard, Observed, StreamKind } from "../../domain/warmth.ts";
import { environmentText } from "../../domain/warmth.ts";
import { Wrapping } from "./wrap.ts";

/** What was seen while modules were loaded. */
export class Observations {
  readonly env = new Map<string, Observed<string | null>>();
  wholeEnv: Observed<string> | undefined;
  cwd: Observed<string> | undefined;
  args: Observed<string> | undefined;
  readonly streams: (Observed<StreamKind> | undefined)[] = [];
  readonly effects: Exclusion[] = [];
  /** Files that were looked at, present or not. */
  readonly files = new Set<string>();

  /** `guard` and what was seen besides. */
  extend(guard: Guard): Guard {
    const env = { ...guard.env };
    for (const [name, observed] of this.env) env[name] = observed;
    return {
      env,
      wholeEnv: this.wholeEnv,
      cwd: this.cwd,
      args: this.args,
      streams: guard.streams.map((observed, number) => this.streams[number] ?? observed),
    };
  }
}

interface Surroundings {
  readonly streams: readonly StreamKind[];
  readonly args: readonly string[];
}

/** Observes until the function it returns is called. */
export function observe(seen: Observations, around: Surroundings): () => void {
  const wrapping = new Wrapping();
  const effect = (reason: string): void => {
    seen.effects.push({ module: callingModule(), reason });
  };
  observeEnvironment(seen, wrapping);
  observeDirectory(seen, wrapping);
  observeArguments(seen, wrapping, around.args);
  observeStreams(seen, wrapping, around.streams);
  observeFiles(seen, wrapping);
  for (const name of ["setTimeout", "setInterval", "setImmediate"] as const) {
    wrapping.wrap(globalThis, name, () => effect(`calls ${name}()`));
  }
  for (const name of ["spawn", "spawnSync", "serve", "connect", "listen", "udpSocket"] as const) {
    wrapping.wrap(Bun, name, () => effect(`calls Bun.${name}()`));
  }
  for (const name of ["spawn", "spawnSync", "exec", "execSync", "execFile", "execFileSync"]) {
    wrapping.wrap(childProcess, name, () => effect(`calls child_process.${name}()`));
  }
  wrapping.wrap(globalThis, "fetch", () => effect("calls fetch()"));
  wrapping.wrap(globalThis, "Worker", () => effect("starts a Worker"));
  wrapping.wrap(process, "dlopen", () => effect("loads a native addon"));
  wrapping.wrap(process, "on", ([name]) => {
    if (String(name).startsWith("SIG")) effect(`listens for ${name}`);
  });
  for (const name of ["writeFileSync", "appendFileSync", "mkdirSync", "mkdtempSync", "rmSync"]) {
    wrapping.wrap(fs, name, () => effect(`calls fs.${name}()`));
  }
  wrapping.wrap(Math, "random", () => effect("draws a random number"));
  for (const name of ["getRandomValues", "randomUUID"]) {
    wrapping.wrap(globalThis.crypto, name, () => effect("draws random bytes"));
  }
  for (const name of ["randomBytes", "randomUUID", "randomInt", "randomFillSync"]) {
    wrapping.wrap(nodeCrypto, name, () => effect("draws random bytes"));
  }
  wrapping.wrap(Date, "now", () => effect("reads the clock"));
  return () => wrapping.unwrap();
}

/** Adds that `module` knows the whole environment. */
export function noteWholeEnvironment(seen: Observations, module: string): void {
  const env = new Map(Object.entries(process.env) as [string, string][]);
  seen.wholeEnv ??= { value: environmentText(env), module };
}

function observeEnvironment(seen: Observations, wrapping: Wrapping): void {
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
      read(name);
      return Reflect.getOwnPropertyDescriptor(target, name);
    },
    ownKeys(target) {
      noteWholeEnvironment(seen, callingModule());
      return Reflect.ownKeys(target);
    },
    set(target, name, value) {
      seen.effects.push({ module: callingModule(), reason: `sets ${String(name)}` });
      return Reflect.set(target, name, value);
    },
  };
  process.env = new Proxy(real, handler);
  wrapping.defer(() => {
    process.env = real;
    // A module that has kept the Proxy sees through it from now on.
    for (const trap of Object.keys(handler)) delete handler[trap as keyof typeof handler];
  });
}

function observeDirectory(seen: Observations, wrapping: Wrapping): void {
  const cwd = process.cwd();
  const note = (): void => {
    seen.cwd ??= { value: cwd, module: callingModule() };
  };
  wrapping.wrap(process, "cwd", note);
  wrapping.wrap(process, "chdir", () => {
    seen.effects.push({ module: callingModule(), reason: "changes the directory" });
  });
  wrapping.wrap(path, "resolve", (parts) => {
    if (!parts.some((part) => String(part).startsWith("/"))) note();
  });
  wrapping.wrap(path, "relative", ([from, to]) => {
    if (![from, to].every((part) => String(part).startsWith("/"))) note();
  });
}

/** `process.argv` is one array for ever: only what is in it is looked at. */
function observeArguments(seen: Observations, wrapping: Wrapping, args: readonly string[]): void {
  const real = process.argv;
  const handler: ProxyHandler<string[]> = {
    get(target, name) {
      // The first two are the runtime and the script, and the same for every job.
      if (name !== "0" && name !== "1") {
        seen.args ??= { value: JSON.stringify(args), module: callingModule() };
      }
      return Reflect.get(target, name);
    },
  };
  process.argv = new Proxy(real, handler);
  wrapping.defer(() => {
    process.argv = real;
    for (const trap of Object.keys(handler)) delete handler[trap as keyof typeof handler];
  });
}

function observeStreams(
  seen: Observations,
  wrapping: Wrapping,
  kinds: readonly StreamKind[],
): void {
  const note = (number: number): void => {
    const value = kinds[number];
    if (value) seen.streams[number] ??= { value, module: callingModule() };
  };
  for (const [number, name] of ["stdin", "stdout", "stderr"].entries()) {
    const property = Object.getOwnPropertyDescriptor(process, name);
    if (!property) continue;
    let isTouched = false;
    Object.defineProperty(process, name, {
      configurable: true,
      enumerable: property.enumerable ?? true,
      get() {
        note(number);
        if (!isTouched) {
          isTouched = true;
          Object.defineProperty(process, name, property);
        }
        return Reflect.get(process, name);
      },
    });
    wrapping.defer(() => {
      if (!isTouched) Object.defineProperty(process, name, property);
    });
  }
  wrapping.wrap(tty, "isatty", ([number]) => note(Number(number)));
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

/** The file whose code is being run, as far as the stack tells. */
function callingModule(): string {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = 40;
  const stack = new Error().stack ?? "";
  Error.stackTraceLimit = before;
  for (const line of stack.split("\n")) {
    const [, file] = /(?:\(|at )(\/[^()]*?):\d+(?::\d+)?\)?$/.exec(line) ?? [];
    if (file && !file.startsWith("/$bunfs/")) return file;
  }
  return "a module";
}
