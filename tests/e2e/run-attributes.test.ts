/**
 * What a process hands on through exec besides arguments, environment and descriptors. Each is given
 * to a shell, which says what it has, directly and through a daemon that has other ones.
 */
import { describe, expect, test } from "bun:test";
import { existsSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { binary, type Ended, quoted, Sandbox } from "../helpers/sandbox.ts";
import { directCommand, directEnv, equip, runUntilWarm, warmCommand } from "../helpers/warm.ts";

/** All of it that can be seen from outside. */
const look = [
  "umask; nice; ulimit -S -a; ulimit -H -a",
  "grep -E '^(Sig(Blk|Ign)|Umask|NoNewPrivs|Cpus_allowed):' /proc/self/status",
  "cd /proc/self; cat oom_score_adj coredump_filter personality timerslack_ns",
  // How long its turns on a processor are; not every kernel tells.
  "grep -s '^se.slice' /proc/self/sched",
  "ionice -p $$; chrt -p $$ | cut -d: -f2",
].join("; ");

/** The first CPU that may be used. */
const oneCpu = "$(grep -oP '^Cpus_allowed_list:\\t\\K\\d+' /proc/self/status)";

/** What a shell does to itself, or a program that becomes the command. */
const attributes: { what: string; set: string; become?: string }[] = [
  { what: "nothing special", set: ":" },
  { what: "a umask", set: "umask 0" },
  { what: "another umask", set: "umask 777" },
  { what: "a nice value", set: "renice -n 7 $$ >/dev/null" },
  { what: "soft limits", set: "ulimit -Sn 333; ulimit -Sc 0; ulimit -Sf 1000; ulimit -St 77" },
  { what: "hard limits", set: "ulimit -n 256; ulimit -c 0; ulimit -f 123456; ulimit -u 4000" },
  { what: "a limit on memory", set: "ulimit -v 8000000" },
  { what: "a small stack", set: "ulimit -s 512" },
  { what: "no stack limit", set: "ulimit -s unlimited" },
  { what: "ignored signals", set: "trap '' HUP INT QUIT USR1 CHLD WINCH RTMIN+3" },
  { what: "an OOM score", set: "choom -n 300 -p $$ >/dev/null" },
  { what: "a choice of what is dumped", set: "echo 0x7f >/proc/self/coredump_filter" },
  { what: "an idle class of I/O", set: "ionice -c 3 -p $$" },
  { what: "an I/O priority", set: "ionice -c 2 -n 6 -p $$" },
  { what: "a scheduling policy", set: "chrt -b -p 0 $$" },
  { what: "a policy that its children do not get", set: "chrt -R -i -p 0 $$" },
  { what: "one CPU", set: `taskset -cp "${oneCpu}" $$ >/dev/null` },
  { what: "a timer slack", set: "echo 77777 >/proc/self/timerslack_ns" },
  { what: "an address space without chance", set: ":", become: "setarch -R" },
  { what: "another personality", set: ":", become: "setarch linux32" },
  { what: "no new privileges", set: ":", become: "setpriv --no-new-privs" },
  { what: "a policy and a nice value", set: "renice -n 4 $$ >/dev/null; chrt -b -p 0 $$" },
  { what: "many at once", set: "umask 27; trap '' HUP; ulimit -n 500; renice -n 3 $$ >/dev/null" },
];

describe.each([
  { warmth: "warm", start: (box: Sandbox) => box.serveWarm() },
  {
    // Without a head no image lends its memory: each job is a fresh process.
    warmth: "cold",
    start: async (box: Sandbox) => {
      const headless = `${binary}-without-head`;
      rmSync(join(box.bin, "pfd"));
      symlinkSync(existsSync(headless) ? headless : binary, join(box.bin, "pfd"));
      return await box.serve();
    },
  },
])("a job started $warmth has", ({ start }) => {
  test.each(attributes)("$what of the caller's", async ({ set, become = "" }) => {
    await using box = new Sandbox();
    const daemon = await start(box);
    // The shell stays: it is the witness of a soft limit on descriptors that Bun has raised.
    const script = `${set}; ${become} $VIA bash -c "$LOOK"; exit $?`;
    const env = { LOOK: look };
    const direct = await box.bash(script, { env: { ...env, VIA: "" } });
    expect(direct.end).toBe(0);
    expect(await box.bash(script, { env: { ...env, VIA: "pfc -w" } })).toEqual(direct);
    expect(daemon.pid).toBeGreaterThan(0);
  });
});

test("a script, cold and warm, has all that its caller has", async () => {
  await using box = new Sandbox();
  equip(box);
  const set = [
    "choom -n 300 -p $$ >/dev/null; echo 0x7f >/proc/self/coredump_filter",
    `ionice -c 2 -n 6 -p $$; chrt -b -p 0 $$; taskset -cp "${oneCpu}" $$ >/dev/null`,
    "echo 77777 >/proc/self/timerslack_ns; renice -n 4 $$ >/dev/null",
  ].join("; ");
  // Of each thread what the kernel keeps for each.
  const ofThreads = [
    "for t in $(ls /proc/$PPID/task); do grep Cpus_allowed: /proc/$t/status; ionice -p $t",
    "chrt -p $t | cut -d: -f2; cut -d' ' -f19 /proc/$t/stat; done | sort -u",
  ].join("; ");
  const ofItself = "cat /proc/self/{oom_score_adj,coredump_filter,personality,timerslack_ns}";
  const look = JSON.stringify(`nice; ${ofItself}; grep NoNew /proc/self/status; ${ofThreads}`);
  const script = box.write(
    "work/look.ts",
    `import { spawnSync } from "node:child_process";
     process.stdout.write(spawnSync("bash", ["-c", ${look}]).stdout);
    `,
  );
  await box.serve();
  const run = (words: readonly string[], env: Record<string, string>): Promise<Ended> =>
    box.bash(`${set}; exec setarch -R setpriv --no-new-privs ${words.map(quoted).join(" ")}`, {
      env,
    });
  const direct = await run(directCommand(script, []), directEnv);
  expect(direct).toMatchObject({ stderr: "", end: 0 });
  const warm = () => run(warmCommand(box, script, []), {});
  const { runs, isWarm, reason } = await runUntilWarm(box, warm);
  expect({ isWarm, reason }).toEqual({ isWarm: true, reason: "" });
  for (const seenThen of runs) expect(seenThen).toEqual(direct);
});

test("nohup's job ignores the hangup", async () => {
  await using box = new Sandbox();
  await box.serve();
  const script = "nohup pfc -w sh -c 'kill -HUP $$; echo alive' 2>/dev/null | cat";
  expect((await box.bash(script)).stdout).toBe("alive\n");
});

test("the daemon keeps what it has while its jobs have other limits", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const limits = (): Promise<string> => Bun.file(`/proc/${daemon.pid}/limits`).text();
  const before = await limits();
  await box.bash("for n in 100 200 300; do (ulimit -Sn $n; ulimit -Sc 0; pfc -w true); done");
  expect(await limits()).toBe(before);
});

test("a limit on descriptors that was lowered beneath those in use", async () => {
  await using box = new Sandbox();
  await box.serve();
  const script =
    "exec 50</dev/null; ulimit -Sn 20; $VIA sh -c 'ulimit -n; ls /proc/$$/fd'; exit $?";
  const direct = await box.bash(script, { env: { VIA: "" } });
  expect(await box.bash(script, { env: { VIA: "pfc -w" } })).toEqual(direct);
});
