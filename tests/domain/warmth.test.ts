import { describe, expect, test } from "bun:test";
import {
  type Circumstances,
  firstDifference,
  type Guard,
  namesText,
  runtimeGuard,
} from "../../src/domain/warmth.ts";

const job: Circumstances = {
  env: new Map([
    ["PATH", "/bin"],
    ["TERM", "xterm"],
  ]),
  cwd: "/here",
  args: ["a.ts", "--fix"],
  streams: ["file", "pipe", "terminal"],
};
const by = <Value>(value: Value, module = "/m.js"): { value: Value; module: string } => ({
  value,
  module,
});
const plain = runtimeGuard(job);

describe("a job that may use an image", () => {
  test.each<[string, Partial<Guard>, Partial<Circumstances>]>([
    ["the same circumstances", {}, {}],
    ["a variable nobody has read", {}, { env: new Map([...job.env, ["X", "1"]]) }],
    ["a directory nobody has read", {}, { cwd: "/there" }],
    ["arguments nobody has read", {}, { args: [] }],
    ["the same value of a variable that was read", { env: { PATH: by("/bin") } }, {}],
    ["no value of one that was not there", { env: { X: by(null) } }, {}],
    ["the same names in another order", { names: by(namesText(["TERM", "PATH"])) }, {}],
    ["a word that is among the arguments", { words: { "--fix": by(true) } }, { args: ["--fix"] }],
    ["a word that is not", { words: { "--no-color": by(false) } }, { args: ["x"] }],
  ])("%s", (_, guard, circumstances) => {
    expect(firstDifference({ ...plain, ...guard }, { ...job, ...circumstances })).toBeUndefined();
  });
});

describe("a job that may not", () => {
  test.each<[string, Partial<Guard>, Partial<Circumstances>, string]>([
    [
      "a variable of the runtime's",
      {},
      { env: new Map([...job.env, ["NO_COLOR", "1"]]) },
      'NO_COLOR is "1", and the runtime has read not set',
    ],
    [
      "one of Bun's own",
      {},
      { env: new Map([...job.env, ["BUN_INSPECT", ""]]) },
      "BUN_INSPECT is set, which the runtime reads at its start",
    ],
    [
      "another value",
      { env: { PATH: by("/usr") } },
      {},
      'PATH is "/bin", and /m.js has read "/usr"',
    ],
    [
      "one that was not there",
      { env: { PATH: by(null) } },
      {},
      'PATH is "/bin", and /m.js has read not set',
    ],
    [
      "other names",
      { names: by(namesText(["PATH"])) },
      {},
      "there are other variables, and /m.js has enumerated them",
    ],
    [
      "another directory",
      { cwd: by("/there") },
      {},
      "the directory is /here, and /m.js has read /there",
    ],
    [
      "other arguments",
      { args: by("[]") },
      {},
      'the arguments are ["a.ts","--fix"], and /m.js has read []',
    ],
    [
      "a word more",
      { words: { "--fix": by(false) } },
      {},
      "--fix is among the arguments, and /m.js has looked for it",
    ],
    [
      "a word less",
      { words: { "--no-color": by(true) } },
      {},
      "--no-color is not among the arguments, and /m.js has looked for it",
    ],
    [
      "a terminal",
      {},
      { streams: ["terminal", "pipe", "terminal"] },
      "descriptor 0 is a terminal, and the image's is a file",
    ],
    [
      "a file",
      {},
      { streams: ["file", "file", "terminal"] },
      "descriptor 1 is a file, and the image's is a pipe",
    ],
  ])("%s", (_, guard, circumstances, difference) => {
    const own = { ...plain, ...guard };
    expect(firstDifference(own, { ...job, ...circumstances })).toBe(difference);
  });
});
