/**
 * Who looks for a configuration: the client does, and tells the daemon when there is none; then the daemon looks nowhere,
 * since a look into a caller's directory may hang.
 */
import { expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { Sandbox } from "../helpers/sandbox.ts";
import { Descriptor, frame, Listener, Peer, runBody, runFlag, wire } from "../helpers/seqpacket.ts";

/** Whether a client that is called so, in `work/a/b`, says that nothing is configured. */
async function saysUnconfigured(box: Sandbox, words: readonly string[]): Promise<boolean> {
  mkdirSync(box.path("work/a/b"), { recursive: true });
  using listener = Listener.at(box.socketPath);
  const client = box.startPfc(words, { cwd: box.path("work/a/b") });
  using peer = await listener.accept();
  const packet = await peer.receive();
  if (packet === "closed") throw new Error("the client sent nothing");
  for (const fd of packet.fds) fd[Symbol.dispose]();
  const view = new DataView(packet.bytes.buffer, packet.bytes.byteOffset);
  peer.close();
  await client.exited;
  return (view.getUint32(wire.headerSize, true) & runFlag.unconfigured) !== 0;
}

const anything = "not TOML at all";

test.each<{ what: string; files: readonly string[]; words?: readonly string[]; says: boolean }>([
  { what: "nothing is configured", files: [], says: true },
  { what: "a file is beside it", files: ["work/a/b/prefork.toml"], says: false },
  { what: "a file is above it", files: ["work/a/prefork.toml"], says: false },
  { what: "a file is far above it", files: ["prefork.toml"], says: false },
  {
    what: "a file is above the project's root",
    files: ["work/prefork.toml", "work/a/.git"],
    says: true,
  },
  {
    what: "a file is in the project's root",
    files: ["work/a/prefork.toml", "work/a/.git"],
    says: false,
  },
  { what: "the user has one", files: ["work/.config/prefork/config.toml"], says: false },
  {
    what: "the user has one elsewhere",
    files: ["x/prefork/config.toml"],
    words: ["--env", "XDG_CONFIG_HOME={}/x"],
    says: false,
  },
  { what: "it starts elsewhere", files: ["c/prefork.toml"], words: ["--cwd", "{}/c"], says: false },
  {
    what: "the command is a path",
    files: ["work/a/b/prefork.toml"],
    words: ["./name"],
    says: true,
  },
  {
    what: "the command is built in",
    files: ["work/a/b/prefork.toml"],
    words: ["add"],
    says: true,
  },
])("the client, when $what: $says", async ({ files, words = [], says }) => {
  await using box = new Sandbox();
  for (const file of files) box.write(file, anything);
  const options = words.map((word) => word.replace("{}", box.directory));
  expect(await saysUnconfigured(box, [...options, "name"])).toBe(says);
});

test.each([
  {
    what: "does not look when it is told that there is nothing",
    flags: runFlag.wait | runFlag.unconfigured,
    looks: false,
  },
  { what: "looks when it is not told", flags: runFlag.wait, looks: true },
])("the daemon $what", async ({ flags, looks }) => {
  await using box = new Sandbox();
  box.write("work/prefork.toml", anything);
  const daemon = await box.serve();
  using directory = Descriptor.open(box.work);
  using peer = Peer.connect(box.socketPath);
  peer.send(frame(wire.run, runBody(["true"], { flags }), { fdCount: 1 }), [directory]);
  expect(await peer.answer()).toMatchObject({ type: wire.accepted });
  expect(await peer.answer()).toMatchObject({ type: wire.exited, waitStatus: 0 });
  // One that is broken is told of.
  expect(daemon.log().includes("prefork.toml")).toBe(looks);
});
