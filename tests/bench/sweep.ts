/**
 * `bun tests/bench/sweep.ts`: what it costs to ask whether the inputs of an image of eslint are what
 * they were, which is done before each job. Each child of an image does it once, in code that
 * has run in the image.
 */
import { realpathSync } from "node:fs";
import { join } from "node:path";
import { openLibc } from "../../ffi/libc.ts";
import { Inputs } from "../../src/image/script/inputs.ts";
import { loadedFiles, survey } from "../../src/image/script/modules.ts";
import { contender, machine, quantile, say } from "./measurement.ts";

const rounds = 100;

const root = join(import.meta.dir, "../..");
const script = realpathSync(join(root, "node_modules/.bin/eslint"));
await import(join(root, "tests/fixtures/warm/project/eslint.config.js"));
await import(Bun.resolveSync("eslint", root));
const files = loadedFiles().filter((file) => file.includes("/node_modules/"));
const { absent } = survey([...files, script]);
const inputs = new Inputs(openLibc(), [...files, script, ...absent], Date.now());
// Those directories that changed just now are asked for more than once.
await Bun.sleep(100);

const sweeps = contender("sweep", []);
for (let round = 0; round < rounds; round++) {
  const startNs = Bun.nanoseconds();
  if (inputs.changed() !== undefined) throw new Error("an input has changed");
  sweeps.timesMs.push((Bun.nanoseconds() - startNs) / 1e6);
}
const names = Object.values(inputs.names);
const first = sweeps.timesMs[0] ?? Number.NaN;
say(`${machine()}
${files.length} modules, ${inputs.count} files and directories to ask for
${names.length} directories to watch, for ${names.flat().length} names in them
the first sweep: ${first.toFixed(2)} ms; the median of ${rounds}: ${quantile(sweeps, 0.5).toFixed(2)} ms
`);
