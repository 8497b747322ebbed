/**
 * Builds dist/prefork: one executable, and the links under which its faces are called. It installs
 * what is locked first, so that it works in a fresh clone, and therefore imports no package.
 */
import { existsSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { withFieldsInPlace } from "./build/fields.ts";

const root = import.meta.dir;
const clientBundle = join(root, "dist/modules/pfc.js");

/** See `build/fields.ts`. */
const fieldsInPlace: Bun.BunPlugin = {
  name: "fields in place",
  setup(builder) {
    builder.onLoad({ filter: /\/src\/os\/[^/]+\.ts$/ }, async ({ path }) => ({
      contents: withFieldsInPlace(await Bun.file(path).text()),
      loader: "ts",
    }));
  },
};

/** See `bundleClient`. */
const clientInOne: Bun.BunPlugin = {
  name: "client in one module",
  setup(builder) {
    builder.onResolve({ filter: /^\.\/pfc\.ts$/ }, () => ({ path: clientBundle }));
  },
};

if (import.meta.main) await build();

async function build(): Promise<void> {
  const wasInstalled = existsSync(join(root, "node_modules"));
  runBun("install", "--frozen-lockfile");
  // This process has seen by now that there are no packages, and would go on to believe it.
  if (!wasInstalled) return runBun("build.ts");
  await bundleClient();
  const output = await compile("src/main.ts", "prefork");
  const { attachHead } = await import("./build/head/attach.ts");
  const reason = process.argv.includes("--without-head") ? "as asked" : attachHead(output);
  if (reason !== undefined) process.stderr.write(`dist/prefork has no head: ${reason}\n`);
  for (const face of ["pfc", "pfd"]) {
    const link = join(root, "dist", face);
    rmSync(link, { force: true });
    symlinkSync("prefork", link);
  }
  const check = Bun.spawnSync([output, "version"]);
  if (check.exitCode !== 0) {
    process.stderr.write(check.stderr);
    process.exit(1);
  }
  process.stdout.write(`dist/prefork: ${check.stdout}`);
}

/**
 * Makes one module of the client and of what it uses, for the executable to have beside all else. In a chunk that others
 * share it would load a third more functions, and needs a heap of a size at which JavaScriptCore starts threads.
 */
async function bundleClient(): Promise<void> {
  await Bun.build({
    entrypoints: [join(root, "src/pfc.ts")],
    outdir: dirname(clientBundle),
    format: "esm",
    minify: true,
    target: "bun",
    // As `compile` does by itself: `process` is made when it is first used, and takes its time.
    define: { "process.arch": JSON.stringify(process.arch) },
    plugins: [fieldsInPlace],
  });
}

/** Compiles the module `entry` to the executable dist/`name`. @returns its absolute path. */
export async function compile(entry: string, name: string): Promise<string> {
  const outfile = join(root, "dist", name);
  mkdirSync(join(root, "dist"), { recursive: true });
  await Bun.build({
    entrypoints: [join(root, entry)],
    // ES modules with splitting: a client loads the chunk of the client and not that of the daemon.
    format: "esm",
    splitting: true,
    minify: true,
    bytecode: true,
    target: "bun",
    plugins: [fieldsInPlace, clientInOne],
    compile: {
      outfile,
      // The binary must not read .env or bunfig.toml of the directory it happens to run in.
      autoloadDotenv: false,
      autoloadBunfig: false,
      // Scripts of the user's find their packages and paths by these.
      autoloadPackageJson: true,
      autoloadTsconfig: true,
      // With any option for the runtime baked in, Bun 1.4.5 also starts where the working directory has no
      // path any more (deleted, or longer than PATH_MAX), which it refuses otherwise; we never install
      // packages anyway.
      execArgv: ["--no-install"],
      // A client lives for too short a time to be compiled, and would start threads for it; the other faces
      // ask for the usual policy, see `src/main.ts`.
      jitPolicy: 1000,
    },
  });
  return outfile;
}

/** Runs the Bun that runs this script; ends as it ended when that is not well. */
function runBun(...words: string[]): void {
  const { exitCode } = Bun.spawnSync({
    // Not `bun`: there may be none on PATH, or one of another version.
    cmd: [process.execPath, ...words],
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (exitCode !== 0) process.exit(exitCode || 1);
}
