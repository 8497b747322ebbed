/**
 * Which modules a script consists of, and in which order they are to be loaded ahead. The first run
 * tells which were loaded; how they hang together is read from their text.
 */
import { fs, path } from "./builtins.ts";

/** Modules by file, with the files they import among them. */
export type Graph = ReadonlyMap<string, readonly string[]>;

type Loader = "js" | "jsx" | "ts" | "tsx";
const loaders: Readonly<Record<string, Loader>> = {
  ".js": "jsx",
  ".cjs": "js",
  ".mjs": "js",
  ".jsx": "jsx",
  ".ts": "ts",
  ".cts": "ts",
  ".mts": "ts",
  ".tsx": "tsx",
};

/** Every way in which a name without its extension may be completed; see Bun's resolver. */
const extensions: readonly string[] = [
  ".tsx",
  ".jsx",
  ".mts",
  ".ts",
  ".mjs",
  ".js",
  ".cts",
  ".cjs",
  ".json",
];

/** What is found out about a set of loaded files. */
export interface Survey {
  readonly graph: Graph;
  /** Places where a lookup found nothing, and where something new would change what is loaded. */
  readonly absent: ReadonlySet<string>;
  /** Modules in whose text the environment occurs in a way that cannot be observed. */
  readonly readsEnvironment: ReadonlySet<string>;
}

/** Reads the imports of `files`. A file that cannot be read or parsed has none. */
export function survey(files: readonly string[]): Survey {
  const known = new Set(files);
  const graph = new Map<string, readonly string[]>();
  const absent = new Set<string>();
  const readsEnvironment = new Set<string>();
  for (const file of files) {
    const imported: string[] = [];
    const text = textOf(file);
    if (/\bBun\s*\.\s*env\b|\bimport\.meta\.env\b/.test(text)) readsEnvironment.add(file);
    for (const specifier of importsOf(file, text)) {
      const target = resolve(specifier, file);
      addAbsent(absent, specifier, file, target);
      if (target !== undefined && known.has(target)) imported.push(target);
    }
    graph.set(file, imported);
    for (const directory of ancestors(path.dirname(file))) {
      for (const name of ["package.json", "tsconfig.json", "jsconfig.json"]) {
        absent.add(path.join(directory, name)); // or present: its state is what counts
      }
    }
  }
  return { graph, absent, readsEnvironment };
}

/** The order in which the script itself would load them: what is imported comes first. */
export function loadOrder(graph: Graph, entry: string, recorded: readonly string[]): string[] {
  const ordered = new Set<string>();
  const entered = new Set<string>();
  const visit = (file: string): void => {
    if (entered.has(file)) return;
    entered.add(file);
    for (const imported of graph.get(file) ?? []) visit(imported);
    ordered.add(file);
  };
  visit(entry);
  for (const file of recorded) visit(file);
  ordered.delete(entry);
  return [...ordered];
}

/** `tainted` and whatever imports one of them, at any distance. */
export function withImporters(graph: Graph, tainted: ReadonlySet<string>): Set<string> {
  const importers = new Map<string, string[]>();
  for (const [file, imported] of graph) {
    for (const target of imported) importers.set(target, [...(importers.get(target) ?? []), file]);
  }
  const all = new Set(tainted);
  const queue = [...tainted];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    for (const importer of importers.get(file) ?? []) {
      if (all.has(importer)) continue;
      all.add(importer);
      queue.push(importer);
    }
  }
  return all;
}

/** Whether a file is a module that can be loaded ahead. */
export function isLoadable(file: string): boolean {
  return file.startsWith("/") && !file.startsWith("/$bunfs/") && path.extname(file) in loaders;
}

/** Everything this process has loaded from files. */
export function loadedFiles(): string[] {
  return Object.keys(require.cache)
    .map((key) => key.replace(/\?.*$/, ""))
    .filter((file) => file.startsWith("/") && !file.startsWith("/$bunfs/"));
}

function textOf(file: string): string {
  if (!isLoadable(file)) return "";
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return ""; // ignoring it: what cannot be read any more is found out to be stale
  }
}

/** What `file` imports for certain, whenever it is run. */
export function staticImports(file: string): string[] {
  return scanImports(file, textOf(file))
    .filter(({ kind }) => kind === "import-statement")
    .flatMap(({ path: specifier }) => resolve(specifier, file) ?? []);
}

/** What is imported or required by its name, and names of files beside it that may be, in ways that do not show. */
function importsOf(file: string, text: string): string[] {
  const imports = scanImports(file, text).map(({ path: specifier }) => specifier);
  const written = [...text.matchAll(/(["'`])(\.\.?\/[^"'`\\\n]+)\1/g)].map(
    ([, , name = ""]) => name,
  );
  return [...new Set([...imports, ...written])];
}

function scanImports(file: string, text: string): Bun.Import[] {
  const loader = loaders[path.extname(file)];
  if (!loader || text === "") return [];
  try {
    // The line that names an interpreter is no JavaScript to it.
    return new Bun.Transpiler({ loader }).scanImports(text.replace(/^#!.*/, ""));
  } catch {
    return []; // ignoring it: a module that does not parse is loaded by each job, and told there
  }
}

function resolve(specifier: string, from: string): string | undefined {
  try {
    const target = Bun.resolveSync(specifier, path.dirname(from));
    return target.startsWith("/") ? target : undefined;
  } catch {
    return undefined;
  }
}

/** Where the resolver would have looked before it found `target`. */
function addAbsent(
  absent: Set<string>,
  specifier: string,
  from: string,
  target: string | undefined,
): void {
  if (specifier.startsWith(".") || specifier.startsWith("/")) {
    const base = path.resolve(path.dirname(from), specifier);
    const candidates = [
      base,
      ...extensions.map((extension) => base + extension),
      path.join(base, "package.json"),
      ...extensions.map((extension) => path.join(base, `index${extension}`)),
    ];
    for (const candidate of candidates) {
      if (candidate === target) return;
      absent.add(candidate);
    }
    return;
  }
  if (target === undefined || specifier.includes(":")) return;
  const parts = specifier.split("/");
  const name = specifier.startsWith("@") ? parts.slice(0, 2).join("/") : (parts[0] ?? "");
  for (const directory of ancestors(path.dirname(from))) {
    const candidate = path.join(directory, "node_modules", name);
    absent.add(candidate);
    if (target.startsWith(`${candidate}/`)) return;
  }
}

/** The directory and all above it, the nearest first. */
function ancestors(directory: string): string[] {
  const all = [directory];
  for (let at = directory; at !== "/"; ) {
    at = path.dirname(at);
    all.push(at);
  }
  return all;
}
