/**
 * Builds dist/prefork: one executable, and the links under which its faces are called. It installs
 * what is locked first, so that it works in a fresh clone, and therefore imports no package.
 */
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";

const root = import.meta.dir;

// ES modules with splitting: a client loads the chunk of the client and not that of the daemon. The
// binary must not read .env or bunfig.toml of the directory it happens to run in. With any option for
// the runtime baked in, Bun 1.4.5 also starts where the working directory has no path any more
// (deleted, or longer than PATH_MAX), which it refuses otherwise; we never install packages anyway.
const compileFlags = [
  "--compile",
  "--minify",
  "--bytecode",
  "--format=esm",
  "--splitting",
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
  "--compile-exec-argv=--no-install",
] as const;

if (import.meta.main) build();

function build(): void {
  runBun("install", "--frozen-lockfile");
  const output = compile("src/main.ts", "prefork");
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

/** Compiles the module `entry` to the executable dist/`name`. @returns its absolute path. */
export function compile(entry: string, name: string): string {
  mkdirSync(join(root, "dist"), { recursive: true });
  runBun("build", entry, ...compileFlags, "--outfile", `dist/${name}`);
  return join(root, "dist", name);
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
