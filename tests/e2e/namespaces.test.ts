/** Where numbers of users and processes mean something else on the two sides of a socket. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { childrenOf, isGone, processStat, signalProcess } from "../helpers/process.ts";
import { ended, Sandbox } from "../helpers/sandbox.ts";
import { fields, frame, Listener, wire } from "../helpers/seqpacket.ts";
import { until } from "../helpers/wait.ts";

/** Makes a pid namespace; a user without rights makes a user namespace with it. */
const inPidNamespace: readonly string[] = [
  "unshare",
  ...(process.geteuid?.() === 0 ? [] : ["-Ur"]),
  ...["--pid", "--fork", "--mount-proc"],
];

/** Why these cannot be tested here; undefined when they can. */
function denial(words: readonly string[]): string | undefined {
  const { exitCode, stderr } = Bun.spawnSync([...words, "true"]);
  return exitCode === 0 ? undefined : stderr.toString().trim();
}
const noPidNamespace = denial(inPidNamespace);
const noUserNamespace = denial(["unshare", "-U"]);

describe.skipIf(noUserNamespace !== undefined)(
  `unmapped users (${noUserNamespace ?? "ok"})`,
  () => {
    test.each([
      { words: "pfc -w true", says: /^pfc: ignoring [^\n]+: whose daemon it is cannot be told: / },
      { words: "pfc true", says: /^pfc: ignoring [^\n]+: whose daemon it is cannot be told: / },
      {
        words: "pfc -C -w true",
        says: /^pfc: ignoring [^\n]+: whose daemon it is cannot be told: /,
      },
      { words: "prefork status", says: /^prefork: ignoring [^\n]+ cannot be told: / },
    ])("$words: a daemon of anybody's gets nothing", async ({ words, says }) => {
      await using box = new Sandbox();
      using listener = Listener.at(box.socketPath);
      const client = box.bash(`exec unshare -U ${words}`);
      using peer = await listener.accept();
      const { stdout, stderr, end } = await client;
      expect(stderr).toMatch(says);
      expect(stderr).toContain("user 65534 stands for all users");
      expect({ stdout, end }).toEqual({ stdout: "", end: 125 });
      expect(await peer.receive()).toBe("closed");
    });

    test("a daemon is not started there", async () => {
      await using box = new Sandbox();
      const { stderr, end } = await box.bash("exec unshare -U pfc -C -w true");
      expect(stderr).toStartWith(`pfc: cannot start a daemon at ${box.socketPath}: user 65534 `);
      expect(end).toBe(125);
    });

    test("with a number of one's own, a daemon of one's own is served by", async () => {
      await using box = new Sandbox();
      await box.serve();
      expect((await box.bash("exec unshare -Ur pfc -w echo served")).stdout).toBe("served\n");
    });
  },
);

describe("a daemon that goes away", () => {
  test("leaves a job that the client ends", async () => {
    await using box = new Sandbox();
    using listener = Listener.at(box.socketPath);
    const client = box.startPfc(["-w", "true"]);
    using peer = await listener.accept();
    await peer.answer(); // and closes what it was given
    const group = box.start(["setsid", "sleep", "1000"]);
    peer.send(frame(wire.accepted, fields(group.pid)));
    await until("it leads a group", () => processStat(group.pid)?.group === group.pid);
    peer.close();
    const { stderr, end } = await client.ended;
    expect(stderr).toMatch(/^pfc: the daemon [^\n]+: the command it ran for us has been ended\n$/);
    expect(end).toBe(125);
    await until("it has got the hangup", () => isGone(group.pid));
  });

  test.skipIf(noPidNamespace !== undefined)("and names 1: nobody is signalled", async () => {
    await using box = new Sandbox();
    const bun = process.execPath;
    const daemon = join(import.meta.dir, "../fixtures/wrong-daemon.ts");
    // All that the client could hit is in here.
    const script = `
      sleep 1000 & witness=$!
      "${bun}" "${daemon}" "${box.socketPath}" 1 &
      until test -S "${box.socketPath}"; do sleep 0.01; done
      pfc -w true; echo $?
      kill -0 $witness && echo alive; kill -9 $witness`;
    const { stdout } = await box.run([...inPidNamespace, "bash", "-c", script]);
    expect(stdout).toBe("125\nalive\n");
  });

  test.skipIf(noPidNamespace !== undefined)(
    "from a namespace below: nobody is signalled",
    async () => {
      await using box = new Sandbox();
      const outer = box.start([...inPidNamespace, "pfd"]);
      const inner = await until("the daemon is there", () => childrenOf(outer.pid)[0]);
      const client = await until("it serves", async () => {
        const running = box.startPfc(["-w", "sh", "-c", "echo $$; exec sleep 1000"]);
        await until("it has an answer", () => running.stdout !== "" || isGone(running.pid));
        return running.stdout !== "" && running;
      });
      // The number is one that the client knows another process by, if any.
      expect(Number(client.stdout)).toBeLessThan(inner.pid);
      // A job may have spoken before its client hears that it runs; what is served after it is later.
      expect(await box.pfc("-w", "true")).toEqual(ended());
      signalProcess(inner.pid, "SIGKILL");
      const { stderr, end } = await client.ended;
      expect(stderr).toMatch(/^pfc: the daemon [^\n]+: the command it ran for us goes on alone\n$/);
      expect(end).toBe(125);
      await outer.exited;
    },
  );
});
