/** The C reference does the work that it is there to be compared for. */
import { expect, test } from "bun:test";
import { nativeCompiler } from "../helpers/c-compiler.ts";
import { ended, Sandbox } from "../helpers/sandbox.ts";
import { buildPrograms, startReference } from "./reference.ts";

/** The reference, ready: bash has its client as $C. */
async function prepare(box: Sandbox): Promise<void> {
  const programs = buildPrograms(box);
  if (typeof programs === "string") throw new Error(programs);
  await startReference(box, programs, (start) => start());
  box.env["C"] = programs.client;
}

const isLacking = nativeCompiler === undefined;

test.skipIf(isLacking)("what a caller has, its job has", async () => {
  await using box = new Sandbox();
  await prepare(box);
  const conditions = [
    "umask 027",
    "ulimit -S -n 200; ulimit -H -n 300",
    "trap '' PIPE USR1",
    "renice -n 3 -p $BASHPID >&2",
    "echo 300 >/proc/self/oom_score_adj",
    "echo 0x21 >/proc/self/coredump_filter",
    "taskset -p 1 $BASHPID >&2",
    "mkdir -p 'a b'; cd 'a b'; exec 7</etc/passwd",
  ].join("\n");
  const show = [
    "umask; ulimit -S -n; ulimit -H -n; ulimit -c; pwd; readlink /proc/self/fd/7; nice",
    "grep -E '^(Sig(Blk|Ign)|Cpus_allowed):' /proc/self/status",
    'cat /proc/self/oom_score_adj /proc/self/coredump_filter; printf \'%s|\' "$@" "$LARGE"',
  ].join("\n");
  // The job's own shell takes SIGCHLD and the like as every shell does.
  const words = `sh -c "$SHOW" name 1 '' "two words"`;
  const env = { SHOW: show, LARGE: "x".repeat(70_000) };
  const outcomes = await Promise.all(
    [words, `$C -w ${words}`].map((command) =>
      box.bash(`{ ${conditions}; } 2>/dev/null\n${command}`, { env }),
    ),
  );
  const [direct, throughIt] = outcomes;
  expect(direct?.stdout).toContain("0027\n200\n300\n");
  expect(throughIt).toEqual(direct as NonNullable<typeof direct>);
});

test.skipIf(isLacking)("it ends as its job ended, and passes signals on", async () => {
  await using box = new Sandbox();
  await prepare(box);
  expect(await box.bash("$C -w sh -c 'exit 7'")).toEqual(ended({ end: 7 }));
  expect(await box.bash("exec $C -w sh -c 'kill -9 $$'")).toEqual(ended({ end: "SIGKILL" }));
  expect(await box.bash("$C -w no-such-program")).toEqual(ended({ end: 127 }));
  expect(await box.bash("$C -p")).toEqual(ended());
  const loop = `exec $C -w sh -c 'trap "echo caught; exit 3" USR1; echo ready; while :; do sleep 0.01; done'`;
  const signalled = await box.bash(
    `exec 3< <(${loop}); read -r line <&3; kill -USR1 $!; cat <&3; wait $!; exit $?`,
  );
  expect(signalled).toEqual(ended({ stdout: "caught\n", end: 3 }));
});
