/** Who may talk to whom: the socket's mode, and the users on both sides. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, chownSync, copyFileSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { binary, ended, Sandbox } from "../helpers/sandbox.ts";
import { frame, Listener, Peer, refusalCodes, runBody, wire } from "../helpers/seqpacket.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(30_000);

test.each(["000", "022", "077"])("the socket has mode 0600 under umask %s", async (mask) => {
  await using box = new Sandbox();
  const run = await box.bash(`umask ${mask}; pfd -d; pfd -d --mode local`);
  expect(run).toEqual(ended());
  for (const path of [box.socketPath, join(box.work, "pfd.sock")]) {
    expect(statSync(path).mode & 0o777).toBe(0o600);
  }
  // Neither the PID file nor the log can be written by others.
  expect(statSync(join(box.runtime, "pfd.pid")).mode & 0o022).toBe(0);
  expect(statSync(join(box.runtime, "pfd.log")).mode & 0o077).toBe(0);
});

const isRoot = process.getuid?.() === 0;
const [somebody, other] = [65_534, 65_533];

// Only root can be two users in one test.
describe.skipIf(!isRoot)("a daemon of another user (needs root)", () => {
  test("is not given anything", async () => {
    await using box = new Sandbox();
    using impostor = Listener.at(join(box.work, "pfd.sock"), somebody);
    const client = box.startPfc(["-w", "true"]);
    using connection = await impostor.accept();
    expect(await connection.receive()).toBe("closed");
    const { stdout, stderr, end } = await client.ended;
    const [warning, verdict] = stderr.split("\n");
    expect(warning).toBe(
      `pfc: ignoring ${box.work}/pfd.sock: its daemon belongs to user ${somebody}`,
    );
    expect(verdict).toStartWith("pfc: no daemon: ");
    expect({ stdout, end }).toEqual({ stdout: "", end: 125 });
  });

  test("is passed over for one's own", async () => {
    await using box = new Sandbox();
    await box.serve();
    using _impostor = Listener.at(join(box.work, "pfd.sock"), somebody);
    const run = await box.pfc("-w", "add", "1", "2");
    expect(run.stderr).toMatch(/^pfc: ignoring [^\n]+: its daemon belongs to user \d+\n$/);
    expect(run.stdout).toBe("3\n");
    for (const word of ["status", "ping"]) {
      expect((await box.prefork(word)).stderr).toContain("its daemon belongs to user");
    }
  });

  test("is not stopped", async () => {
    await using box = new Sandbox();
    using impostor = Listener.at(box.socketPath, somebody);
    const stop = box.start(["prefork", "stop"]);
    using connection = await impostor.accept();
    expect(await connection.receive()).toBe("closed");
    expect((await stop.ended).end).toBe(125);
  });

  test("-C does not start one's own in its place in silence", async () => {
    await using box = new Sandbox();
    using _impostor = Listener.at(join(box.work, "pfd.sock"), somebody);
    // The other place is free: that is where the new one goes.
    expect((await box.pfc("-Cw", "add", "1", "2")).stdout).toBe("3\n");
    expect((await box.status("--mode", "runtime")).done).toBe(1);
  });
});

describe.skipIf(!isRoot)("a daemon that runs as somebody (needs root)", () => {
  /** A daemon of user `somebody` in directories of its own. */
  async function serveAsSomebody() {
    const box = new Sandbox();
    chmodSync(box.directory, 0o711);
    chmodSync(box.bin, 0o755);
    // The binary may stand where nobody else may look.
    const program = box.path("bin", "prefork-copy");
    copyFileSync(binary, program);
    chmodSync(program, 0o755);
    const home = box.path("home");
    mkdirSync(home, { mode: 0o700 });
    chownSync(home, somebody, somebody);
    chownSync(box.work, somebody, somebody);
    const as = (uid: number, face: string, ...words: string[]): string[] => [
      ...["setpriv", "--reuid", `${uid}`, "--regid", `${uid}`, "--clear-groups"],
      ...["bash", "-c", `exec -a ${face} ${program} "$@"`, face, ...words],
    ];
    const socket = join(home, "pfd.sock");
    const daemon = box.start(as(somebody, "pfd", "--socket", socket));
    await until("it listens", () => daemon.stderr.includes("listening"));
    return { box, socket, daemon, as };
  }

  test("serves its own user", async () => {
    const { box, socket, daemon, as } = await serveAsSomebody();
    await using _box = box;
    const command = ["-w", "--socket", socket, "id", "-u"];
    expect(await box.run(as(somebody, "pfc", ...command))).toEqual(
      ended({ stdout: `${somebody}\n` }),
    );
    daemon.kill("SIGTERM");
    expect(await daemon.exited).toBe(0);
  });

  test("serves root, but root's client gives it nothing", async () => {
    const { box, socket, daemon } = await serveAsSomebody();
    await using _box = box;
    using peer = Peer.connect(socket);
    peer.send(frame(wire.ping));
    expect(await peer.answer()).toMatchObject({ type: wire.pong });
    const { stderr, end } = await box.pfc("-w", "--socket", socket, "true");
    expect(stderr).toContain(`its daemon belongs to user ${somebody}`);
    expect(end).toBe(125);
    daemon.kill("SIGTERM");
    expect(await daemon.exited).toBe(0);
  });

  test("cannot even be reached by others", async () => {
    const { box, socket, daemon, as } = await serveAsSomebody();
    await using _box = box;
    chmodSync(box.path("home"), 0o711);
    const { stderr, end } = await box.run(as(other, "pfc", "-w", "--socket", socket, "true"));
    expect(stderr).toContain(`ignoring ${socket}: permission denied\n`);
    expect(end).toBe(125);
    daemon.kill("SIGTERM");
    expect(await daemon.exited).toBe(0);
  });

  test("refuses others when its socket has been opened to them", async () => {
    const { box, socket, daemon } = await serveAsSomebody();
    await using _box = box;
    chmodSync(box.path("home"), 0o711);
    chmodSync(socket, 0o666);
    using peer = Peer.connect(socket, other);
    peer.send(frame(wire.run, runBody(["touch", box.path("work", "done")])));
    expect(await peer.answer()).toMatchObject({
      type: wire.refused,
      code: refusalCodes.forbidden,
      reason: `the daemon belongs to user ${somebody} and serves nobody else`,
    });
    expect(await peer.receive()).toBe("closed");
    await until("the daemon has said so", () => daemon.stderr.includes(`its user is ${other}`));
    using stopper = Peer.connect(socket, other);
    stopper.send(frame(wire.stop, new Uint8Array(4)));
    expect(await stopper.answer()).toMatchObject({ code: refusalCodes.forbidden });
    using own = Peer.connect(socket, somebody);
    own.send(frame(wire.ping));
    expect(await own.answer()).toMatchObject({ type: wire.pong });
    daemon.kill("SIGTERM");
    expect(await daemon.exited).toBe(0);
  });
});
