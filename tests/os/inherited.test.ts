/** What a process finds that it was handed at its start: descriptors, and signals it ignores. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { openLibc } from "../../ffi/libc.ts";
import { isInherited } from "../../src/os/inherited.ts";

const fixture = join(import.meta.dir, "../fixtures/print-inherited.ts");

interface Inherited {
  readonly descriptors: readonly number[];
  readonly ignored: readonly number[];
}

/** What the fixture prints when a shell has prepared it. A bundle opens no files of its own. */
async function inheritedAfter(prepare: string): Promise<Inherited> {
  const built = await Bun.build({ entrypoints: [fixture], target: "bun" });
  const bundle = join(Bun.env["TMPDIR"] ?? "/tmp", `print-inherited-${process.pid}.js`);
  await Bun.write(bundle, (await built.outputs[0]?.text()) ?? "");
  try {
    const script = `${prepare}\nexec "$0" "$1"`;
    const run = Bun.spawnSync(["bash", "-c", script, process.execPath, bundle], {
      stdin: "ignore",
    });
    expect(run.stderr.toString()).toBe("");
    return JSON.parse(run.stdout.toString()) as Inherited;
  } finally {
    await Bun.file(bundle).delete();
  }
}

test.each([
  { what: "nothing", prepare: "", descriptors: [] },
  { what: "one file", prepare: "exec 7</dev/null", descriptors: [7] },
  { what: "the first number", prepare: "exec 3</dev/null", descriptors: [3] },
  {
    what: "several, some far up",
    prepare: "exec 9>/dev/null 4<&0 200<&0 1000</",
    descriptors: [4, 9, 200, 1000],
  },
  { what: "one closed again", prepare: "exec 7</dev/null 8</dev/null 7<&-", descriptors: [8] },
  { what: "a pipe", prepare: "exec 5< <(exec sleep 0)", descriptors: [5] },
])("of descriptors: $what", async ({ prepare, descriptors }) => {
  const inherited = await inheritedAfter(prepare);
  // Whoever runs the tests may have left us others, which the shell passes on.
  const others = (await inheritedAfter("")).descriptors;
  expect(inherited.descriptors.filter((number) => !others.includes(number))).toEqual([
    ...descriptors,
  ]);
});

test("of descriptors: as many as there are in more than one read of the directory", async () => {
  const wanted = Array.from({ length: 400 }, (_, index) => 300 + index);
  const prepare = `ulimit -n 1024; for ((n = 300; n < 700; n++)); do eval "exec $n</dev/null"; done`;
  const { descriptors } = await inheritedAfter(prepare);
  expect(descriptors.filter((number) => number >= 300 && number < 700)).toEqual(wanted);
});

test.each([
  { what: "none", prepare: "", ignored: [] },
  { what: "some", prepare: "trap '' HUP INT TERM", ignored: [1, 2, 15] },
  { what: "but not the two that Bun ignores", prepare: "trap '' PIPE XFSZ USR1", ignored: [10] },
  { what: "real-time ones", prepare: "trap '' 34 64", ignored: [34, 64] },
])("of signals to ignore: $what", async ({ prepare, ignored }) => {
  expect((await inheritedAfter(prepare)).ignored).toEqual(ignored);
});

test("a number that is not open was not handed to us", () => {
  expect(isInherited(openLibc(), 60_000)).toBe(false);
  expect(isInherited(openLibc(), -1)).toBe(false);
});
