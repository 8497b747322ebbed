/** Peers that do not keep to the protocol: strange clients, and strange daemons. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  descriptorCount,
  processStat,
  residentKiB,
  statusField,
  zombiesOf,
} from "../helpers/process.ts";
import { type Daemon, ended, Sandbox } from "../helpers/sandbox.ts";
import {
  Descriptor,
  fields,
  frame,
  type HeaderFields,
  Listener,
  Peer,
  refusalCodes,
  runBody,
  runHead,
  signalBody,
  stringFields,
  wire,
} from "../helpers/seqpacket.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(40_000);

/** How long a client may take to send its request. */
const requestTimeoutMs = 5000;

let box: Sandbox;
let daemon: Daemon;
/** The daemon's descriptors when nobody is connected. */
let restingCount: number;

beforeAll(async () => {
  box = new Sandbox();
  daemon = await box.serve(["--log-level", "debug"]);
  await box.untilWarm();
  await box.pfc("-w", "add", "1");
  await box.untilWarm();
  restingCount = await restingDescriptors();
});
afterAll(async () => await box[Symbol.asyncDispose]());

/** The number of descriptors once it stays the same: status and spares come and go. */
async function restingDescriptors(): Promise<number> {
  let last = -1;
  let since = performance.now();
  return await until("the daemon rests", () => {
    const now = descriptorCount(daemon.pid);
    if (now !== last) since = performance.now();
    last = now;
    return performance.now() - since > 100 && now;
  });
}

/** The daemon still serves, and has nothing left over of what came before. */
async function expectUnharmed(): Promise<void> {
  expect(await box.pfc("-w", "add", "1", "2")).toEqual(ended({ stdout: "3\n" }));
  expect((await box.status()).pid).toBe(daemon.pid);
  await until("all is closed", () => descriptorCount(daemon.pid) === restingCount);
  await until("no zombie", () => zombiesOf(daemon.pid).length === 0);
}

function expectRefusal(answer: unknown, code: number, reason: RegExp | string = ""): void {
  expect(answer).toMatchObject({ type: wire.refused, code });
  const text = (answer as { reason: string }).reason;
  expect(text).toMatch(reason);
  expect(text).not.toMatch(/\n| at /); // one line, no trace
}

describe("a client that is silent", () => {
  test("is closed after the limit, and others are not kept waiting", async () => {
    const peers = Array.from({ length: 20 }, () => Peer.connect(box.socketPath));
    const started = performance.now();
    for (let count = 0; count < 10; count++) {
      expect(await box.pfc("-w", "echo", "x")).toEqual(ended({ stdout: "x\n" }));
    }
    expect(performance.now() - started).toBeLessThan(requestTimeoutMs);
    for (const peer of peers) {
      expect(await peer.receive()).toBe("closed");
      peer.close();
    }
    const took = performance.now() - started;
    expect(took).toBeGreaterThan(requestTimeoutMs - 100);
    expect(took).toBeLessThan(requestTimeoutMs + 3000);
    expect(daemon.log()).toMatch(/ warn closing the client \d+: it sent no request\n/);
    await expectUnharmed();
  });

  test("and leaves", async () => {
    for (let count = 0; count < 50; count++) Peer.connect(box.socketPath).close();
    await expectUnharmed();
  });
});

/** A request with one field of its body changed: what the decoder must look at, seen from outside. */
const strings = (...texts: string[]) => stringFields(texts);
const body = (parts: readonly (number | string | Uint8Array)[]): Uint8Array => fields(...parts);
const env = strings("PATH=/usr/bin:/bin");

describe("a message that cannot be understood is refused with a reason", () => {
  const random = new Uint8Array(1000).map((_, index) => (index * 7919) % 251);
  const run = runBody(["true"]);
  const head = runHead();
  const with24 = (header: HeaderFields): Uint8Array => frame(wire.ping, undefined, header);
  const messages: [string, Uint8Array, number?][] = [
    ["one byte", Uint8Array.of(1)],
    ["text", new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n")],
    ["zeros", new Uint8Array(100)],
    ["random bytes", random],
    ["the largest datagram that passes", new Uint8Array(150_000)],
    ["a header cut short", frame(wire.ping).slice(0, 23)],
    ["another magic number", with24({ magic: 0x12345678 })],
    ["an older major version", with24({ major: wire.major - 1 }), refusalCodes.incompatible],
    ["a newer major version", with24({ major: wire.major + 1 }), refusalCodes.incompatible],
    ["the highest major version", with24({ major: 0xffff }), refusalCodes.incompatible],
    ["a body announced that is not there", with24({ bodySize: 100 })],
    ["a body of 4 GiB announced", with24({ bodySize: 0xffff_ffff })],
    ["more body than announced", frame(wire.ping, new Uint8Array(10), { bodySize: 5 })],
    ["descriptors announced that did not come", with24({ fdCount: 3 })],
    ["4,294,967,295 descriptors announced", with24({ fdCount: 0xffff_ffff })],
    ["a body in a memory file that did not come", with24({ flags: wire.bodyInMemfd, bodySize: 9 })],
    ["an unknown type", frame(999)],
    ["type 0", frame(0)],
    ["a reply instead of a request", frame(wire.accepted, body([1]))],
    ["an image's message", frame(128)],
    ["a signal without a job", frame(wire.signal, signalBody(15, true))],
    ["an empty request to run", frame(wire.run)],
    ["a request to run without its directory", frame(wire.run, run)],
    ["a request cut short", frame(wire.run, run.slice(0, 40))],
    ["a stop without its field", frame(wire.stop)],
  ];
  test.each(messages)("%s", async (_, message, code = refusalCodes.badRequest) => {
    using peer = Peer.connect(box.socketPath);
    peer.send(message);
    expectRefusal(await peer.answer(), code);
    expect(await peer.receive()).toBe("closed");
    expect(daemon.log()).toMatch(/ warn refusing the client \d+: /);
    await expectUnharmed();
  });

  const bodies: [string, Uint8Array][] = [
    ["no command", body([...head, 0, 0, "/", ...strings(), ...env])],
    ["fewer strings than announced", body([...head, 0, 0, "/", 5, strings("a", "b")[1], ...env])],
    ["more strings than announced", body([...head, 0, 0, "/", 1, strings("a", "b")[1], ...env])],
    [
      "4 billion strings announced",
      body([...head, 0, 0, "/", 0xffff_ffff, strings("a")[1], ...env]),
    ],
    ["a string without its end", body([...head, 0, 0, "/", 1, "true", ...env])],
    ["a string of 4 GiB announced", body([...head, 0, 0, "/", 1, 0xffff_fff0])],
    ["a path of 4 GiB announced", body([...head, 0, 0, 0xffff_fff0])],
    [
      "a umask that is none",
      body([...runHead({ umask: 0o1777 }), 0, 0, "/", ...strings("true"), ...env]),
    ],
    ["a directory that did not come", body([...head, 7, 0, "/", ...strings("true"), ...env])],
    [
      "a descriptor that did not come",
      body([...head, 0, 1, 5, 9, "/", ...strings("true"), ...env]),
    ],
    [
      "a descriptor given twice",
      body([...head, 0, 2, 5, 0, 5, 0, "/", ...strings("true"), ...env]),
    ],
    [
      "a number that is too high",
      body([...head, 0, 1, 65_536, 0, "/", ...strings("true"), ...env]),
    ],
    ["the number -1", body([...head, 0, 1, 0xffff_ffff, 0, "/", ...strings("true"), ...env])],
    [
      "a nice value that is none",
      body([1, 0o22, 40, ...head.slice(3), 0, 0, "/", ...strings("true"), ...env]),
    ],
    [
      "too few limits",
      body([
        ...head.slice(0, 7),
        "0123456789abcdef",
        0,
        0,
        0,
        0,
        0,
        "/",
        ...strings("true"),
        ...env,
      ]),
    ],
    [
      "a time limit of 49 days",
      body([...head.slice(0, 8), 0xffff_ffff, 0, 0, 0, 0, "/", ...strings("true"), ...env]),
    ],
    [
      "an unknown way to treat it without its client",
      body([...head.slice(0, 10), 4, 0, 0, "/", ...strings("true"), ...env]),
    ],
    [
      "a controlling terminal that it does not have",
      body([5, ...head.slice(1), 0, 0, "/", ...strings("true"), ...env]),
    ],
    [
      "a terminal to guard that did not come",
      body([9, ...head.slice(1), 0, 0, 7, new Uint8Array(36), "", "/", ...strings("true"), ...env]),
    ],
    [
      "settings that are no terminal's",
      body([9, ...head.slice(1), 0, 0, 0, new Uint8Array(35), "", "/", ...strings("true"), ...env]),
    ],
    ["254 descriptors", body([...head, 0, 254, ...new Array<number>(508).fill(0), "/"])],
    ["4 billion descriptors", body([...head, 0, 0xffff_ffff])],
  ];
  test.each(bodies)("a request to run with %s", async (_, content) => {
    using directory = Descriptor.open("/");
    using peer = Peer.connect(box.socketPath);
    peer.send(frame(wire.run, content, { fdCount: 1 }), [directory]);
    expectRefusal(await peer.answer(), refusalCodes.badRequest);
    expect(await peer.receive()).toBe("closed");
    await expectUnharmed();
  });

  test("limits that no process can have are refused, and leave no trace in the daemon", async () => {
    const statusOf = (): string => statusField(daemon.pid, "Umask");
    const before = statusOf();
    const limits = Uint8Array.from(head[7] as Uint8Array);
    limits.fill(0xff, 7 * 16, 7 * 16 + 8); // open files: the soft one over the hard one
    const content = body([
      0,
      0,
      ...head.slice(2, 7),
      limits,
      ...head.slice(8),
      0,
      0,
      "/",
      ...strings("true"),
      ...env,
    ]);
    using directory = Descriptor.open("/");
    using peer = Peer.connect(box.socketPath);
    peer.send(frame(wire.run, content, { fdCount: 1 }), [directory]);
    expect(await peer.answer()).toMatchObject({ type: wire.refused });
    expect(statusOf()).toBe(before);
    await expectUnharmed();
  });

  test("an incompatible version is named, so that the client can say what to do", async () => {
    using peer = Peer.connect(box.socketPath);
    peer.send(frame(wire.run, new Uint8Array(3), { major: 7 }));
    expectRefusal(await peer.answer(), refusalCodes.incompatible, /\b7\b.*\b3\b/);
  });

  test("fields behind those we know are no reason: a newer client of the same major", async () => {
    using directory = Descriptor.open("/");
    using peer = Peer.connect(box.socketPath);
    const content = Buffer.concat([runBody(["true"]), Buffer.from("a field of tomorrow")]);
    peer.send(frame(wire.run, content, { fdCount: 1 }), [directory]);
    expect(await peer.answer()).toMatchObject({ type: wire.accepted });
    expect(await peer.answer()).toMatchObject({ type: wire.exited, waitStatus: 0 });
    await expectUnharmed();
  });
});

describe("descriptors with a message that is refused are closed", () => {
  test.each([1, 3, 100, 253])("%d with garbage", async (count) => {
    const [readEnd, writeEnd] = Descriptor.pipe();
    using copies = new DisposableStack();
    const many = Array.from({ length: count }, () => copies.use(writeEnd.copy()));
    using peer = Peer.connect(box.socketPath);
    peer.send(new TextEncoder().encode("garbage"), many);
    writeEnd[Symbol.dispose]();
    copies.dispose();
    expectRefusal(await peer.answer(), refusalCodes.badRequest);
    await expectUnharmed();
    // The pipe's end: nobody has a copy of the other side any more.
    expect(await new Response(Bun.file(readEnd.number)).text()).toBe("");
    readEnd[Symbol.dispose]();
  });

  const messages: [string, Uint8Array][] = [
    ["no bytes at all", new Uint8Array()],
    ["a ping that announced none", frame(wire.ping)],
    ["a ping that announced them", frame(wire.ping, undefined, { fdCount: 4 })],
    ["another version", frame(wire.ping, undefined, { major: 9, fdCount: 4 })],
    [
      "a request whose body is cut short",
      frame(wire.run, runBody(["true"]).slice(0, 30), { fdCount: 4 }),
    ],
    [
      "a command that does not exist",
      frame(wire.run, runBody(["no-such-command"]), { fdCount: 4 }),
    ],
    ["more bytes than are read", new Uint8Array(120_000)],
    [
      "a body in a memory file that is none",
      frame(wire.run, undefined, { flags: 1, bodySize: 10, fdCount: 4 }),
    ],
  ];
  test.each(messages)("four with %s", async (_, message) => {
    using directory = Descriptor.open("/");
    using peer = Peer.connect(box.socketPath);
    peer.send(message, [directory, directory, directory, directory]);
    await peer.answer();
    peer.close();
    await expectUnharmed();
  });

  test("two hundred such messages in a row", async () => {
    using directory = Descriptor.open("/");
    for (let count = 0; count < 200; count++) {
      using peer = Peer.connect(box.socketPath);
      peer.send(frame(wire.ping, undefined, { fdCount: 7 }), [directory, directory, directory]);
      expectRefusal(await peer.answer(), refusalCodes.badRequest);
    }
    await expectUnharmed();
  });

  test("a file that is not sealed is not taken for a body", async () => {
    using file = Descriptor.open(box.write("body", runBody(["true"])), "r+");
    using directory = Descriptor.open("/");
    using peer = Peer.connect(box.socketPath);
    const size = runBody(["true"]).length;
    const message = frame(wire.run, undefined, { flags: 1, bodySize: size, fdCount: 2 });
    peer.send(message, [file, directory]);
    expectRefusal(await peer.answer(), refusalCodes.badRequest, /sealed/);
    await expectUnharmed();
  });

  test("a pipe is not taken for a body, and nobody waits for it to be filled", async () => {
    const [readEnd, writeEnd] = Descriptor.pipe();
    using peer = Peer.connect(box.socketPath);
    const message = frame(wire.run, undefined, { flags: 1, bodySize: 5000, fdCount: 1 });
    peer.send(message, [readEnd]);
    expectRefusal(await peer.answer(1000), refusalCodes.badRequest);
    readEnd[Symbol.dispose]();
    writeEnd[Symbol.dispose]();
    await expectUnharmed();
  });

  test("a file in the directory's place is refused, not run anywhere else", async () => {
    using file = Descriptor.open("/etc/passwd");
    using peer = Peer.connect(box.socketPath);
    peer.send(frame(wire.run, runBody(["touch", "/nowhere/x"]), { fdCount: 1 }), [file]);
    expect(await peer.answer()).toMatchObject({ type: wire.refused });
    await expectUnharmed();
  });

  test("the daemon's own socket as a job's descriptor", async () => {
    using directory = Descriptor.open("/");
    using peer = Peer.connect(box.socketPath);
    const content = runBody(["true"], {
      descriptors: [
        [0, 0],
        [9, 0],
      ],
    });
    peer.send(frame(wire.run, content, { fdCount: 1 }), [directory]);
    expect(await peer.answer()).toMatchObject({ type: wire.accepted });
    await expectUnharmed();
  });
});

describe("a client that leaves at the wrong time", () => {
  test("right after its request", async () => {
    using directory = Descriptor.open(box.work);
    for (let count = 0; count < 50; count++) {
      using peer = Peer.connect(box.socketPath);
      peer.send(frame(wire.run, runBody(["sleep", "1000"]), { fdCount: 1 }), [directory]);
    }
    await until("its jobs have been hung up", async () => (await box.status()).running === 0);
    await expectUnharmed();
  });

  test("right after a request for a command of the image", async () => {
    using directory = Descriptor.open(box.work);
    for (let count = 0; count < 50; count++) {
      using peer = Peer.connect(box.socketPath);
      peer.send(frame(wire.run, runBody(["add", "1"]), { fdCount: 1 }), [directory]);
    }
    await until("its jobs are over", async () => (await box.status()).running === 0);
    await expectUnharmed();
  });

  test("right after asking for the status, and without reading", async () => {
    for (let count = 0; count < 50; count++) {
      using peer = Peer.connect(box.socketPath);
      peer.send(frame(wire.status));
    }
    await expectUnharmed();
  });
});

describe("a client that says too much", () => {
  test("a second request on the same connection is refused", async () => {
    using directory = Descriptor.open("/");
    using peer = Peer.connect(box.socketPath);
    const message = frame(wire.run, runBody(["sleep", "0.1"]), { fdCount: 1 });
    peer.send(message, [directory]);
    expect(await peer.answer()).toMatchObject({ type: wire.accepted });
    peer.send(message, [directory]);
    expectRefusal(await peer.answer(), refusalCodes.badRequest);
    await until("its job is over", async () => (await box.status()).running === 0);
    await expectUnharmed();
  });

  test.each([0, 65, 0xffff_ffff])(
    "the signal %d, which there is not, is refused",
    async (signal) => {
      using directory = Descriptor.open("/");
      using peer = Peer.connect(box.socketPath);
      peer.send(frame(wire.run, runBody(["sleep", "1000"]), { fdCount: 1 }), [directory]);
      expect(await peer.answer()).toMatchObject({ type: wire.accepted });
      peer.send(frame(wire.signal, signalBody(signal, true)));
      expectRefusal(await peer.answer(), refusalCodes.badRequest);
      expect(await peer.receive()).toBe("closed");
      await until("its job is hung up", async () => (await box.status()).running === 0);
      await expectUnharmed();
    },
  );

  test("a thousand signals are passed on or dropped, and the rest of the clients served", async () => {
    using directory = Descriptor.open("/");
    using peer = Peer.connect(box.socketPath);
    const content = runBody(["sh", "-c", "trap : USR1; sleep 0.3; sleep 0.3"]);
    peer.send(frame(wire.run, content, { fdCount: 1 }), [directory]);
    expect(await peer.answer()).toMatchObject({ type: wire.accepted });
    const other = box.pfc("-w", "echo", "served");
    for (let count = 0; count < 1000; count++) peer.send(frame(wire.signal, signalBody(10, true)));
    expect(await other).toEqual(ended({ stdout: "served\n" }));
    expect(await peer.answer()).toMatchObject({ type: wire.exited });
    await expectUnharmed();
  });

  test("garbage while its job runs: it is refused, and the job hung up", async () => {
    using directory = Descriptor.open("/");
    using peer = Peer.connect(box.socketPath);
    peer.send(frame(wire.run, runBody(["sleep", "1000"]), { fdCount: 1 }), [directory]);
    const accepted = await peer.answer();
    peer.send(new TextEncoder().encode("garbage"));
    expectRefusal(await peer.answer(), refusalCodes.badRequest);
    await until("its job is over", async () => (await box.status()).running === 0);
    expect(accepted).not.toBe("closed");
    await expectUnharmed();
  });

  test("pings by the hundred without reading the answers", async () => {
    using peer = Peer.connect(box.socketPath);
    for (let count = 0; count < 300; count++) if (peer.send(frame(wire.ping)) === "gone") break;
    expect(await box.pfc("-w", "echo", "served")).toEqual(ended({ stdout: "served\n" }));
    peer.close();
    await expectUnharmed();
  });
});

test("none of all that cost the daemon memory or its single thread", async () => {
  await until("it waits", () => processStat(daemon.pid)?.state === "S");
  expect(residentKiB(daemon.pid)).toBeLessThan(120 * 1024);
});

describe("a daemon that is none", () => {
  /** A client's `words` against a listener that does `act` with the connection. */
  async function against(
    words: readonly string[],
    act: (peer: Peer) => void | Promise<void>,
  ): Promise<{ stdout: string; stderr: string; end: unknown }> {
    await using own = new Sandbox();
    using listener = Listener.at(own.socketPath);
    const client = own.start(words);
    using peer = await listener.accept();
    await act(peer);
    return await client.ended;
  }

  const clients = [
    ["pfc", "true"],
    ["pfc", "-w", "true"],
    ["prefork", "status"],
    ["prefork", "ping"],
    ["prefork", "stop"],
  ];
  const acts: [string, (peer: Peer) => void, RegExp][] = [
    ["closes at once", (peer) => peer.close(), /closed the connection without an answer/],
    [
      "answers with nothing",
      (peer) => void peer.send(new Uint8Array()),
      /closed the connection|cannot understand/,
    ],
    [
      "answers with garbage",
      (peer) => void peer.send(new TextEncoder().encode("garbage\n")),
      /cannot understand/,
    ],
    [
      "answers with a header cut short",
      (peer) => void peer.send(frame(wire.pong).slice(0, 20)),
      /cannot understand/,
    ],
    [
      "answers with another major version",
      (peer) => void peer.send(frame(wire.pong, undefined, { major: wire.major + 1 })),
      /speaks protocol 4 and this client 3/,
    ],
    [
      "answers with a request",
      (peer) => void peer.send(frame(wire.ping)),
      /cannot understand|answered/,
    ],
    [
      "answers with a message of an image",
      (peer) => void peer.send(frame(128)),
      /cannot understand|answered/,
    ],
    ["answers with an unknown type", (peer) => void peer.send(frame(500)), /cannot understand/],
    [
      "answers with a large datagram",
      (peer) => void peer.send(new Uint8Array(150_000)),
      /cannot understand/,
    ],
    [
      "answers with broken JSON",
      (peer) => void peer.send(frame(wire.report, fields("{"))),
      /cannot understand|answered/,
    ],
    [
      "answers with JSON that is no object",
      (peer) => void peer.send(frame(wire.report, fields("null"))),
      /cannot understand|answered/,
    ],
    [
      "answers with JSON that says nothing",
      (peer) => void peer.send(frame(wire.pong, fields("{}"))),
      /cannot understand|answered/,
    ],
    [
      "refuses with several lines",
      (peer) => void peer.send(frame(wire.refused, fields(10, 0, "one\ntwo\n at x (y.js:1)"))),
      /one\\ntwo/,
    ],
    [
      "refuses with an unknown code",
      (peer) => void peer.send(frame(wire.refused, fields(999, 0, "for a reason of tomorrow"))),
      /for a reason of tomorrow/,
    ],
  ];
  describe.each(clients.map((words) => [words.join(" "), words] as const))("%s", (_, words) => {
    test.each(acts)("%s: one line and 125", async (_, act, complaint) => {
      const { stdout, stderr, end } = await against(words, async (peer) => {
        await peer.answer();
        act(peer);
      });
      expect(stderr).toMatch(/^(pfc|prefork): [^\n]+\n$/);
      expect(stderr).toMatch(complaint);
      expect({ stdout, end }).toEqual({ stdout: "", end: 125 });
    });

    test("closes before it has read: one line and 125", async () => {
      const { stdout, stderr, end } = await against(words, (peer) => peer.close());
      expect(stderr).toMatch(/^(pfc|prefork): [^\n]+\n$/);
      expect({ stdout, end }).toEqual({ stdout: "", end: 125 });
    });

    test("answers with descriptors nobody asked for: the same as without", async () => {
      using file = Descriptor.open("/etc/passwd");
      const { stderr, end } = await against(words, async (peer) => {
        await peer.answer();
        peer.send(frame(wire.pong, fields("{}"), { fdCount: 2 }), [file, file]);
      });
      expect(stderr).toMatch(/^(pfc|prefork): [^\n]+\n$/);
      expect(end).toBe(125);
    });
  });

  test.each([
    { what: "tells of an end", replies: [frame(wire.exited, new Uint8Array(32))] },
    { what: "tells of a stop", replies: [frame(wire.stopped, fields(19))] },
    // A number that no process has: the client is not to signal anybody's.
    {
      what: "accepts it twice",
      replies: [1, 2].map(() => frame(wire.accepted, fields(2 ** 31 - 1))),
    },
  ])("$what before the job was accepted, or after: no success", async ({ replies }) => {
    const { stdout, stderr, end } = await against(["pfc", "-w", "true"], async (peer) => {
      await peer.answer();
      for (const reply of replies) peer.send(reply);
    });
    expect(stderr).toMatch(/^pfc: cannot understand the daemon at [^\n]+\n$/);
    expect({ stdout, end }).toEqual({ stdout: "", end: 125 });
  });

  test("never answers: the client gives up after its limit and says so", async () => {
    await using own = new Sandbox();
    using listener = Listener.at(own.socketPath);
    const client = own.start(["prefork", "ping"]);
    using peer = await listener.accept();
    const { stderr, end } = await client.ended;
    expect(stderr).toMatch(/^prefork: the daemon [^\n]+ has not answered for \d+ s[^\n]*\n$/);
    expect(end).toBe(125);
    expect(await peer.receive()).not.toBe("closed"); // it did ask
  });
});
