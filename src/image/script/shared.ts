/**
 * What all modules of a process share, and any of them can change: the built-in objects, the globals and the modules of
 * the runtime. A module that is loaded ahead for a job that would not have loaded it must have left this as it was.
 */

/** Those whose properties, and whose prototypes' properties, are looked at. */
const builtIns: readonly string[] = [
  ...["Object", "Function", "Array", "String", "Number", "Boolean", "Symbol", "BigInt", "Date"],
  ...["RegExp", "Promise", "Map", "Set", "WeakMap", "WeakSet", "WeakRef", "Proxy", "Reflect"],
  ...[
    "JSON",
    "Math",
    "Intl",
    "Iterator",
    "Atomics",
    "ArrayBuffer",
    "SharedArrayBuffer",
    "DataView",
  ],
  ...["Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array", "Uint16Array", "Int32Array"],
  ...["Uint32Array", "Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array"],
  ...["Error", "AggregateError", "EvalError", "RangeError", "ReferenceError", "SyntaxError"],
  ...["TypeError", "URIError", "URL", "URLSearchParams", "TextEncoder", "TextDecoder", "Buffer"],
  ...["Headers", "Request", "Response", "FormData", "Blob", "Event", "EventTarget", "AbortSignal"],
  ...["AbortController", "console", "performance", "crypto"],
];

/** Of `process`: its streams are made when they are looked at. */
const ofProcess: readonly string[] = [
  ...["argv", "execArgv", "title", "emit", "emitWarning", "on", "once", "exit", "nextTick"],
  ...["cwd", "chdir", "umask", "hrtime", "binding", "exitCode", "noDeprecation"],
];

/** The values of some properties; a symbol or a name for each. */
type Properties = ReadonlyMap<PropertyKey, unknown>;

export class SharedState {
  readonly #objects = new Map<string, object>();
  #before: Map<string, Properties>;

  /** `builtins` are modules of the runtime; they are loaded by this. */
  constructor(builtins: Iterable<string>) {
    for (const name of builtIns) this.#add(name, Reflect.get(globalThis, name));
    for (const name of builtins) {
      if (isLookedAtOtherwise(name)) continue;
      const module: unknown = process.getBuiltinModule(name);
      if (!isObject(module)) continue;
      this.#add(name, module);
      for (const [key, value] of propertiesOf(module)) {
        if (isObject(value) && !isCache(key)) this.#add(`${name}.${String(key)}`, value);
      }
    }
    this.#before = this.#look();
  }

  /** What is different from the last time this was asked. */
  difference(): string | undefined {
    const before = this.#before;
    this.#before = this.#look();
    for (const [name, now] of this.#before) {
      const was = before.get(name) ?? new Map<PropertyKey, unknown>();
      for (const key of new Set([...was.keys(), ...now.keys()])) {
        if (was.get(key) === workedOut) continue;
        if (was.has(key) === now.has(key) && Object.is(was.get(key), now.get(key))) continue;
        return `${name}.${String(key)}`;
      }
    }
    return undefined;
  }

  #add(name: string, value: unknown): void {
    if (!isObject(value) || [...this.#objects.values()].includes(value)) return;
    this.#objects.set(name, value);
    const prototype = Object.getOwnPropertyDescriptor(value, "prototype")?.value;
    if (isObject(prototype)) this.#objects.set(`${name}.prototype`, prototype);
  }

  #look(): Map<string, Properties> {
    const all = new Map<string, Properties>();
    for (const [name, object] of this.#objects) all.set(name, propertiesOf(object));
    // Many are made when they are looked at: which there are must do.
    for (const [name, object] of [
      ["globalThis", globalThis],
      ["process", process],
      ["Bun", Bun],
    ] as const) {
      all.set(name, new Map(Reflect.ownKeys(object).map((key) => [key, undefined])));
    }
    all.set("process", new Map([...(all.get("process") ?? []), ...ofProcess.map(valueInProcess)]));
    all.set(
      "listeners",
      new Map(process.eventNames().map((event) => [event, process.listenerCount(event)])),
    );
    return all;
  }
}

/** To look at all of these would make what is made when it is first asked for. */
function isLookedAtOtherwise(name: string): boolean {
  return /^(node:process|process|bun(:.*)?)$/.test(name);
}

/** `require.cache` under one of its names, and what was found where. */
function isCache(key: PropertyKey): boolean {
  return key === "_cache" || key === "_pathCache";
}

function valueInProcess(name: string): [string, unknown] {
  return [name, Reflect.get(process, name)];
}

function isObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

/** Each property's value; of one that is worked out when it is asked for, the runtime may keep the value then. */
function propertiesOf(object: object): Properties {
  return new Map(
    Reflect.ownKeys(object).map((key) => {
      const { get, value } = Object.getOwnPropertyDescriptor(object, key) ?? {};
      return [key, get ? workedOut : value];
    }),
  );
}

const workedOut: unique symbol = Symbol("worked out when it is asked for");
