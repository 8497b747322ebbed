/** Builds dist/prefork: one executable, and the links under which its faces are called. */
import { mkdirSync, rmSync, symlinkSync } from "node:fs";

const output = "dist/prefork";
mkdirSync("dist", { recursive: true });

// ES modules with splitting: a client loads the chunk of the client and not that of the daemon. The
// binary must not read .env or bunfig.toml of the directory it happens to run in.
const build = Bun.spawnSync({
  cmd: [
    process.execPath,
    "build",
    "src/main.ts",
    "--compile",
    "--minify",
    "--bytecode",
    "--format=esm",
    "--splitting",
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    "--outfile",
    output,
  ],
  stdio: ["ignore", "inherit", "inherit"],
});
if (build.exitCode !== 0) process.exit(build.exitCode);

for (const face of ["pfc", "pfd"]) {
  rmSync(`dist/${face}`, { force: true });
  symlinkSync("prefork", `dist/${face}`);
}

const check = Bun.spawnSync([output, "version"]);
if (check.exitCode !== 0) {
  process.stderr.write(check.stderr);
  process.exit(1);
}
process.stdout.write(`${output}: ${check.stdout}`);
