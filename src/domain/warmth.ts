/**
 * When a job may use a warm image: what daemon and image tell each other about images, and the
 * comparison of a job's circumstances with those that the image's modules saw while they were
 * loaded.
 */

/** What a standard descriptor is, as far as a runtime treats it differently. */
export type StreamKind = "terminal" | "pipe" | "file";

/** One read of the surroundings while modules were loaded, and the module that made it. */
export interface Observed<Value> {
  readonly value: Value;
  readonly module: string;
}

/**
 * What a job must have in common with the image: all that a module has read while it was loaded,
 * and what the runtime itself has read at its start.
 */
export interface Guard {
  /** By name; `null` is a variable that was not there. */
  readonly env: Readonly<Record<string, Observed<string | null>>>;
  /** Somebody has enumerated the variables: there have to be the same; see `namesText`. */
  readonly names: Observed<string> | undefined;
  readonly cwd: Observed<string> | undefined;
  /** The arguments behind the script. */
  readonly args: Observed<string> | undefined;
  /** Words that were looked for among them, and whether they were there. */
  readonly words: Readonly<Record<string, Observed<boolean>>>;
  /** What 0, 1 and 2 are: the runtime treats each kind in its own way, from its start on. */
  readonly streams: readonly StreamKind[];
}

/** What an image is to be, or what a fresh process is to run. */
export interface Orders {
  /** The entry module's real path. */
  readonly script: string;
  /** Arguments that stand before the caller's in every job. */
  readonly prefix: readonly string[];
  /** All arguments of the job that an image is made for. */
  readonly args: readonly string[];
  /**
   * The modules to be loaded ahead: those that a run has loaded, or those that were configured, as
   * paths or names of packages.
   */
  readonly preload: readonly string[];
  /** Somebody has configured these; otherwise those count that the script's text leads to. */
  readonly isPreloadChosen: boolean;
  /** Modules that are not to be loaded ahead: an image before this one has found out why. */
  readonly excluded: readonly string[];
  /** The directory from which names of packages are looked up. */
  readonly from: string;
  /** Is run once when all is loaded. */
  readonly warmup: string | undefined;
  /** An image is prepared and forks; otherwise one job is run. */
  readonly isImage: boolean;
  /** The modules that the job has loaded are told at its end. */
  readonly isRecorded: boolean;
  readonly streams: readonly StreamKind[];
}

/** What an image tells when it is ready. */
export interface Prepared {
  readonly guard: Guard;
  readonly moduleCount: number;
  readonly inputCount: number;
  /** Names of inputs by directory, for directories that have any. */
  readonly inputNames: Readonly<Record<string, readonly string[]>>;
  /** Modules that are loaded by each job instead, and why. */
  readonly excluded: readonly Exclusion[];
  /** What its modules have done that is worth knowing. */
  readonly notes: readonly Exclusion[];
  /** A file that was changed meanwhile: another attempt may do. */
  readonly changed: string | undefined;
  /** Why no job can be forked out of it; undefined when it can. */
  readonly flaw: string | undefined;
}

export interface Exclusion {
  readonly module: string;
  readonly reason: string;
}

/** What a job comes with. */
export interface Circumstances {
  readonly env: ReadonlyMap<string, string>;
  readonly cwd: string;
  readonly args: readonly string[];
  readonly streams: readonly StreamKind[];
}

/** The variables that Bun itself reads at its start, or that its native code looks up later. */
const runtimeVariables: readonly string[] = [
  "TZ",
  "LANG",
  "LANGUAGE",
  "LC_ALL",
  "LC_CTYPE",
  "LC_MESSAGES",
  "LC_NUMERIC",
  "LC_TIME",
  "LC_COLLATE",
  "NODE_ENV",
  "NODE_PATH",
  "NODE_OPTIONS",
  "NODE_TLS_REJECT_UNAUTHORIZED",
  "NODE_EXTRA_CA_CERTS",
  "NODE_NO_WARNINGS",
  "NODE_PENDING_DEPRECATION",
  "NODE_PRESERVE_SYMLINKS",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "no_proxy",
  "NO_COLOR",
  "FORCE_COLOR",
  "COLORTERM",
  "TERM",
  "HOME",
  "XDG_CACHE_HOME",
  "TMPDIR",
  "TMP",
  "TEMP",
  "CI",
  // What Bun.s3 connects with, its own names first.
  ...["S3", "AWS"].flatMap((prefix) =>
    ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "REGION", "ENDPOINT", "BUCKET"].map(
      (name) => `${prefix}_${name}`,
    ),
  ),
];

/** Variables that the dynamic loader and allocators read at a process's start: it is another process with each of their values. */
const loaderVariable =
  /^(?:LD_|GLIBC_TUNABLES$|MALLOC_|MIMALLOC_|TCMALLOC_|JEMALLOC_|ASAN_|UBSAN_|TSAN_|GCONV_PATH$|LOCPATH$)/;

/** The guard of an image in which no module has been loaded yet. */
export function runtimeGuard(circumstances: Circumstances): Guard {
  const env: Record<string, Observed<string | null>> = Object.create(null);
  const loaders = [...circumstances.env.keys()].filter((name) => loaderVariable.test(name));
  for (const name of [...runtimeVariables, ...loaders]) {
    env[name] = { value: circumstances.env.get(name) ?? null, module: "the runtime" };
  }
  return {
    env,
    names: undefined,
    cwd: undefined,
    args: undefined,
    words: {},
    streams: circumstances.streams,
  };
}

/** Names of variables as one text, whatever their order. */
export function namesText(names: Iterable<string>): string {
  return [...names].sort().join(" ");
}

/**
 * The first thing in which a job differs from what an image was made for, in words for `prefork
 * why`; undefined when it may use the image.
 */
export function firstDifference(guard: Guard, job: Circumstances): string | undefined {
  for (const name of job.env.keys()) {
    const isRead = loaderVariable.test(name) && !Object.hasOwn(guard.env, name);
    if (isRead || name.startsWith("BUN_"))
      return `${name} is set, which the runtime reads at its start`;
  }
  for (const [name, { value, module }] of Object.entries(guard.env)) {
    const own = job.env.get(name) ?? null;
    if (own !== value) return `${name} is ${shown(own)}, and ${module} has read ${shown(value)}`;
  }
  const { names, cwd, args } = guard;
  if (names && names.value !== namesText(job.env.keys())) {
    return `there are other variables, and ${names.module} has enumerated them`;
  }
  if (cwd && cwd.value !== job.cwd) {
    return `the directory is ${job.cwd}, and ${cwd.module} has read ${cwd.value}`;
  }
  const words = JSON.stringify(job.args);
  if (args && args.value !== words) {
    return `the arguments are ${words}, and ${args.module} has read ${args.value}`;
  }
  for (const [word, { value, module }] of Object.entries(guard.words)) {
    if (job.args.includes(word) === value) continue;
    return `${word} is ${value ? "not " : ""}among the arguments, and ${module} has looked for it`;
  }
  for (const [number, kind] of guard.streams.entries()) {
    const own = job.streams[number];
    if (own !== kind) return `descriptor ${number} is a ${own}, and the image's is a ${kind}`;
  }
  return undefined;
}

function shown(value: string | null): string {
  return value === null ? "not set" : JSON.stringify(value);
}
