/**
 * What a process hands on through exec besides arguments, environment and descriptors. Each is given
 * to a shell, which says what it has, directly and through a daemon that has other ones.
 */
import { describe, expect, test } from "bun:test";
import { Sandbox } from "../helpers/sandbox.ts";

/** All of it that can be seen from outside. */
const look =
  "umask; nice; ulimit -S -a; ulimit -H -a; grep -E '^(Sig(Blk|Ign)|Umask|NoNewPrivs)' /proc/self/status";

const attributes: { what: string; set: string }[] = [
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
  { what: "many at once", set: "umask 27; trap '' HUP; ulimit -n 500; renice -n 3 $$ >/dev/null" },
];

describe.each([
  { warmth: "warm", start: (box: Sandbox) => box.serveWarm() },
  {
    // One whose spares are not ready: what a child cannot be given, a fresh process gives itself.
    warmth: "cold",
    start: async (box: Sandbox) => {
      const daemon = await box.serveWarm();
      const { image } = await box.status();
      process.kill(image.pid, "SIGSTOP");
      return daemon;
    },
  },
])("a job started $warmth has", ({ start }) => {
  test.each(attributes)("$what of the caller's", async ({ set }) => {
    await using box = new Sandbox();
    const daemon = await start(box);
    // The shell stays: it is the witness of a soft limit on descriptors that Bun has raised.
    const script = `${set}; $VIA bash -c "$LOOK"; exit $?`;
    const env = { LOOK: look };
    const direct = await box.bash(script, { env: { ...env, VIA: "" } });
    expect(direct.end).toBe(0);
    expect(await box.bash(script, { env: { ...env, VIA: "pfc -w" } })).toEqual(direct);
    expect(daemon.pid).toBeGreaterThan(0);
  });
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
