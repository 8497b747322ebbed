/** Where daemons are looked for and made: the three modes, their order, names, long paths. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { type Ended, ended, Sandbox } from "../helpers/sandbox.ts";
import { Listener } from "../helpers/seqpacket.ts";

setDefaultTimeout(30_000);

/** Which daemon a job ran in: each has its own mark in what it inherits. */
const whichMode = ["-w", "sh", "-c", 'cat "/proc/$PPID/environ" | tr "\\0" "\\n" | grep ^MARK='];

async function serveMarked(box: Sandbox, mark: string, words: string[], cwd = box.work) {
  return await box.serve(words, { env: { MARK: mark }, cwd });
}

const mark = (name: string): Ended => ended({ stdout: `MARK=${name}\n` });

/** A daemon's socket whose daemon is gone. */
function leaveStale(path: string): void {
  Listener.at(path)[Symbol.dispose]();
}

describe("the order", () => {
  test("local, project, runtime: the first that answers", async () => {
    await using box = new Sandbox();
    box.write("work/package.json", "{}");
    const run = async (...options: string[]) => await box.pfc(...options, ...whichMode);

    await serveMarked(box, "runtime", ["--mode", "runtime"]);
    expect(await run()).toEqual(mark("runtime"));
    await serveMarked(box, "project", ["--mode", "project"]);
    expect(await run()).toEqual(mark("project"));
    const hidden = await serveMarked(box, "hidden", ["--socket", ".pfd.sock"]);
    expect(await run()).toEqual(mark("hidden"));
    await serveMarked(box, "local", ["--mode", "local"]);
    expect(await run()).toEqual(mark("local"));
    await serveMarked(box, "named", ["--socket", box.path("named.sock")]);
    expect(await run("--socket", box.path("named.sock"))).toEqual(mark("named"));

    // Each can be forced.
    expect(await run("--mode", "local")).toEqual(mark("local"));
    expect(await run("--mode", "project")).toEqual(mark("project"));
    expect(await run("--mode", "runtime")).toEqual(mark("runtime"));
    expect(await run("--mode=runtime", "--project", "other")).toEqual(mark("runtime"));

    // What is gone is passed over without a word.
    expect((await box.prefork("stop", "--mode", "local")).end).toBe(0);
    expect(hidden.process.pid).toBe((await box.status()).pid);
    expect(await run()).toEqual(mark("hidden"));
    expect((await box.prefork("stop")).end).toBe(0);
    expect(await run()).toEqual(mark("project"));
    expect((await box.prefork("stop")).end).toBe(0);
    expect(await run()).toEqual(mark("runtime"));
  });

  test("status, ping and stop look in the same places", async () => {
    await using box = new Sandbox();
    await serveMarked(box, "runtime", []);
    const local = await serveMarked(box, "local", ["--mode", "local"]);
    const status = await box.status();
    expect(status).toMatchObject({ pid: local.pid, mode: "local", socket: `${box.work}/pfd.sock` });
    const other = await box.status("--mode", "runtime");
    expect(other).toMatchObject({ mode: "runtime", socket: box.socketPath });
    expect((await box.prefork("ping")).stdout).toContain(`(pid ${local.pid})`);
    expect((await box.prefork("ping", "--mode", "runtime")).stdout).toContain(`(pid ${other.pid})`);
    expect((await box.prefork("stop")).stdout).toContain(`(pid ${local.pid})`);
    expect((await box.status()).pid).toBe(other.pid);
  });

  test("nobody anywhere: one line that names all the places, and 125", async () => {
    await using box = new Sandbox();
    box.write("work/package.json", "{}");
    const { stdout, stderr, end } = await box.pfc("-w", "true");
    const places = [`${box.work}/pfd.sock`, `${box.work}/.pfd.sock`];
    places.push(`${box.runtime}/pfd.work.sock`, `${box.runtime}/pfd.sock`);
    expect(stderr).toBe(
      `pfc: no daemon: nobody answers at ${places.join(", ")} ` +
        "(start one with 'prefork serve -d', or use 'prefork run --create')\n",
    );
    expect({ stdout, end }).toEqual({ stdout: "", end: 125 });
    for (const word of ["status", "ping", "stop"]) {
      const run = await box.prefork(word);
      expect(run).toEqual(ended({ stderr: stderr.replace("pfc:", "prefork:"), end: 125 }));
    }
  });

  test("a forced mode without a daemon is not replaced by another", async () => {
    await using box = new Sandbox();
    await serveMarked(box, "runtime", []);
    const { stderr, end } = await box.pfc("--mode", "local", "-w", "true");
    expect(stderr).toContain(`nobody answers at ${box.work}/pfd.sock, ${box.work}/.pfd.sock (`);
    expect(end).toBe(125);
  });
});

describe("a socket nobody listens on", () => {
  const kinds: [string, (path: string, box: Sandbox) => void, string][] = [
    ["left behind", (path) => leaveStale(path), "it is stale: nobody listens"],
    [
      "a plain file",
      (path, box) => void box.write(`${path.slice(box.directory.length + 1)}`, ""),
      "it is stale: nobody listens",
    ],
  ];
  test.each(kinds)("%s: passed over with a word", async (_, leave, why) => {
    await using box = new Sandbox();
    leave(join(box.work, "pfd.sock"), box);
    await serveMarked(box, "runtime", ["--mode", "runtime"]);
    const run = await box.pfc(...whichMode);
    expect(run.stderr).toBe(`pfc: ignoring ${box.work}/pfd.sock: ${why}\n`);
    expect(run.stdout).toBe("MARK=runtime\n");
    expect(run.end).toBe(0);
    const status = await box.prefork("status", "--json");
    expect(status.stderr).toBe(`prefork: ignoring ${box.work}/pfd.sock: ${why}\n`);
  });

  test("of another kind: passed over with a word", async () => {
    await using box = new Sandbox();
    using server = Bun.listen({ unix: join(box.work, "pfd.sock"), socket: { data() {} } });
    await serveMarked(box, "runtime", ["--mode", "runtime"]);
    const run = await box.pfc(...whichMode);
    expect(run.stderr).toBe(`pfc: ignoring ${box.work}/pfd.sock: it is not a daemon's socket\n`);
    expect(run.stdout).toBe("MARK=runtime\n");
    expect(server.unix).toBe(join(box.work, "pfd.sock"));
  });

  test("and nobody else: the word, and then no daemon", async () => {
    await using box = new Sandbox();
    leaveStale(box.socketPath);
    const { stderr, end } = await box.pfc("-w", "true");
    expect(stderr).toMatch(/^pfc: ignoring [^\n]+: it is stale[^\n]+\npfc: no daemon: [^\n]+\n$/);
    expect(end).toBe(125);
  });

  test("is replaced by a new daemon, with -C without a word", async () => {
    await using box = new Sandbox();
    leaveStale(box.socketPath);
    expect(await box.pfc("-Cw", "add", "1", "2")).toEqual(ended({ stdout: "3\n" }));
  });
});

describe("--socket and $PFD_SOCKET", () => {
  test("name the only place", async () => {
    await using box = new Sandbox();
    await serveMarked(box, "runtime", []);
    await serveMarked(box, "named", ["--socket", "named"]);
    const env = { PFD_SOCKET: join(box.work, "named") };
    expect(await box.run(["pfc", ...whichMode], { env })).toEqual(mark("named"));
    expect(await box.pfc("--socket", "named", ...whichMode)).toEqual(mark("named"));
    expect(await box.pfc("--socket=./named", ...whichMode)).toEqual(mark("named"));
    const wrong = { PFD_SOCKET: "/nowhere/at.all" };
    const { stderr, end } = await box.run(["pfc", "-w", "true"], { env: wrong });
    expect(stderr).toContain("nobody answers at /nowhere/at.all (");
    expect(end).toBe(125);
  });

  test("the option wins over the variable, and so does a forced mode", async () => {
    await using box = new Sandbox();
    await serveMarked(box, "runtime", []);
    await serveMarked(box, "named", ["--socket", "named"]);
    const env = { PFD_SOCKET: "/nowhere" };
    expect(await box.run(["pfc", "--socket", "named", ...whichMode], { env })).toEqual(
      mark("named"),
    );
    expect(await box.run(["pfc", "--mode", "runtime", ...whichMode], { env })).toEqual(
      mark("runtime"),
    );
  });

  test("an empty variable counts as none, an empty option is refused", async () => {
    await using box = new Sandbox();
    await serveMarked(box, "runtime", []);
    const env = { PFD_SOCKET: "", PFD_PROJECT: "" };
    expect(await box.run(["pfc", ...whichMode], { env })).toEqual(mark("runtime"));
    const { stderr, end } = await box.pfc("--socket", "", "true");
    expect(stderr).toBe("pfc: the socket's path is empty (--socket PATH)\n");
    expect(end).toBe(125);
  });

  test("pfd listens there, too", async () => {
    await using box = new Sandbox();
    const daemon = await box.serve([], { env: { PFD_SOCKET: "from-variable" } });
    expect(daemon.socketPath).toBe(join(box.work, "from-variable"));
    expect(existsSync(join(box.work, "from-variable.pid"))).toBe(true);
  });
});

describe("the project", () => {
  test.each([".git", "package.json", "prefork.toml"])("is marked by %s", async (marker) => {
    await using box = new Sandbox();
    mkdirSync(box.path("work", "outer", "inner", "deep"), { recursive: true });
    box.write("work/outer/package.json", "{}");
    mkdirSync(box.path("work", "outer", "inner", marker));
    const cwd = box.path("work", "outer", "inner", "deep");
    const daemon = await serveMarked(box, "inner", ["--mode", "project"], cwd);
    expect(daemon.socketPath).toBe(join(box.runtime, "pfd.inner.sock"));
    expect(await box.run(["pfc", ...whichMode], { cwd })).toEqual(mark("inner"));
    const outside = await box.run(["pfc", ...whichMode], { cwd: box.path("work", "outer") });
    expect(outside.end).toBe(125);
  });

  test("is named by --project, else $PFD_PROJECT, else the directory", async () => {
    await using box = new Sandbox();
    box.write("work/package.json", "{}");
    for (const name of ["by-option", "by-variable", "work"]) {
      await serveMarked(box, name, ["--mode", "project", "--project", name]);
    }
    const env = { PFD_PROJECT: "by-variable" };
    expect(await box.run(["pfc", "--project", "by-option", ...whichMode], { env })).toEqual(
      mark("by-option"),
    );
    expect(await box.run(["pfc", ...whichMode], { env })).toEqual(mark("by-variable"));
    expect(await box.pfc(...whichMode)).toEqual(mark("work"));
  });

  const good = ["a", "A-b_c.9", "x".repeat(64), "-dash", "_"];
  test.each(good)("may be called %s", async (name) => {
    await using box = new Sandbox();
    const daemon = await box.serve([`--project=${name}`, "--mode=project"]);
    expect(daemon.socketPath).toBe(join(box.runtime, `pfd.${name}.sock`));
    expect((await box.pfc(`--project=${name}`, "-w", "true")).end).toBe(0);
  });

  const bad = ["", ".", "..", ".hidden", "a/b", "../up", "/abs", "a b", "ü", "a\n", "x".repeat(65)];
  test.each(bad)("may not be called %j", async (name) => {
    await using box = new Sandbox();
    const calls: [string[], number][] = [
      [["pfc", "--project", name, "-w", "true"], 125],
      [["pfc", "-C", "--project", name, "-w", "true"], 125],
      [["prefork", "status", "--project", name], 125],
      [["pfd", "--project", name], 1],
    ];
    for (const [call, status] of calls) {
      const { stdout, stderr, end } = await box.run(call);
      expect(stderr).toMatch(/^(pfc|pfd|prefork): '[^\n]*' is not a project name: [^\n]+\n$/);
      expect({ stdout, end }).toEqual({ stdout: "", end: status });
    }
    if (name !== "") {
      const { stderr, end } = await box.run(["pfc", "true"], { env: { PFD_PROJECT: name } });
      expect(stderr).toContain("is not a project name");
      expect(end).toBe(125);
    }
  });

  test("whose directory has a name that is none is an error, not a guess", async () => {
    await using box = new Sandbox();
    box.write("my project/package.json", "{}");
    const cwd = box.path("my project");
    const { stderr, end } = await box.run(["pfc", "-w", "true"], { cwd });
    expect(stderr).toMatch(/^pfc: 'my project' is not a project name: [^\n]+\n$/);
    expect(end).toBe(125);
    // A local daemon comes before it and is found.
    await serveMarked(box, "local", ["--mode", "local"], cwd);
    expect(await box.run(["pfc", ...whichMode], { cwd })).toEqual(mark("local"));
  });

  test("that does not exist cannot be forced", async () => {
    await using box = new Sandbox();
    const calls: [string[], number][] = [
      [["pfc", "--mode", "project", "-C", "true"], 125],
      [["pfd", "--mode", "project"], 1],
    ];
    for (const [call, status] of calls) {
      const { stderr, end } = await box.run(call);
      expect(stderr).toMatch(/^pf[cd]: no project here: [^\n]+\n$/);
      expect(end).toBe(status);
    }
  });
});

describe("where -C makes the socket", () => {
  const cases: [options: string[], env: Record<string, string>, socket: string, mode: string][] = [
    [[], {}, "run/pfd.sock", "runtime"],
    [["--mode", "runtime"], {}, "run/pfd.sock", "runtime"],
    [["--mode", "local"], {}, "work/pfd.sock", "local"],
    [["--mode", "project"], {}, "run/pfd.work.sock", "project"],
    [["--mode", "project", "--project", "named"], {}, "run/pfd.named.sock", "project"],
    [["--mode", "project"], { PFD_PROJECT: "named" }, "run/pfd.named.sock", "project"],
    // A name alone forces no mode.
    [["--project", "named"], {}, "run/pfd.sock", "runtime"],
    [[], { PFD_PROJECT: "named" }, "run/pfd.sock", "runtime"],
    [["--socket", "here.sock"], {}, "work/here.sock", "explicit"],
    [[], { PFD_SOCKET: "there" }, "work/there", "explicit"],
    [["--mode", "local"], { PFD_SOCKET: "there" }, "work/pfd.sock", "local"],
  ];
  test.each(cases)("%j with %j: %s", async (options, env, socket, mode) => {
    await using box = new Sandbox();
    box.write("work/package.json", "{}");
    const command = ["pfc", "-Cw", ...options, "add", "1", "2"];
    expect(await box.run(command, { env })).toEqual(ended({ stdout: "3\n" }));
    const status = await box.status("--socket", box.path(socket));
    expect(status).toMatchObject({ socket: box.path(socket), mode, done: 1 });
    const made = statSync(box.path(socket));
    expect(made.isSocket()).toBe(true);
    expect(made.mode & 0o777).toBe(0o600);
    // Who asks in the same way finds it.
    expect(await box.run(["pfc", "-w", ...options, "add", "2", "2"], { env })).toEqual(
      ended({ stdout: "4\n" }),
    );
  });

  test("an existing daemon of any mode is used before a new one is made", async () => {
    await using box = new Sandbox();
    await serveMarked(box, "local", ["--mode", "local"]);
    expect(await box.pfc("-C", ...whichMode)).toEqual(mark("local"));
    expect(existsSync(box.socketPath)).toBe(false);
  });

  test("a place that cannot be made: one line and 125", async () => {
    await using box = new Sandbox();
    const { stdout, stderr, end } = await box.pfc("-Cw", "--socket", "no/such/dir.sock", "true");
    expect(stderr).toMatch(/^pfc: [^\n]*no\/such[^\n]*no such file or directory[^\n]*\n$/);
    expect({ stdout, end }).toEqual({ stdout: "", end: 125 });
  });

  test("a place where the daemon cannot start: its reason, then the client's, and 125", async () => {
    await using box = new Sandbox();
    mkdirSync(box.path("work", "taken.sock"));
    const { stderr, end } = await box.pfc("-Cw", "--socket", "taken.sock", "true");
    expect(stderr).toMatch(/^pfd: [^\n]+\npfc: cannot start a daemon at [^\n]+\n$/);
    expect(end).toBe(125);
  });
});

/** A directory with exactly that mode, whatever the umask is. */
function makeDirectory(path: string, mode: number): void {
  mkdirSync(path);
  chmodSync(path, mode);
}

const uid = process.getuid?.() ?? 0;
/** Where XDG_RUNTIME_DIR usually points; when it is there, it is what prefork falls back to. */
const usual = `/run/user/${uid}`;
const hasUsual = existsSync(usual);
const fallbackIn = (box: Sandbox): string =>
  hasUsual ? usual : join(box.path("tmp"), `prefork-${uid}`);

describe("XDG_RUNTIME_DIR", () => {
  const flaws: [string, (box: Sandbox, path: string) => void, string][] = [
    ["missing", () => {}, "it does not exist"],
    ["a file", (box) => void box.write("xdg", ""), "it is not a directory"],
    ["group-writable", (_, path) => makeDirectory(path, 0o770), "others can write to it"],
    ["world-writable", (_, path) => makeDirectory(path, 0o707), "others can write to it"],
    [
      "sticky and world-writable",
      (_, path) => makeDirectory(path, 0o1777),
      "others can write to it",
    ],
  ];
  test.each(flaws)("%s: ignored with a word", async (_, make, why) => {
    await using box = new Sandbox();
    const path = box.path("xdg");
    make(box, path);
    const env = { XDG_RUNTIME_DIR: path };
    const warning = `ignoring XDG_RUNTIME_DIR=${path}: ${why}\n`;
    const { stderr, end } = await box.run(["pfc", "--mode=runtime", "-w", "true"], { env });
    expect(stderr).toStartWith(`pfc: ${warning}pfc: no daemon: `);
    expect(stderr).toContain(` ${fallbackIn(box)}/pfd.sock (`);
    expect(end).toBe(125);
    // A mode that does not need it is not bothered.
    await serveMarked(box, "local", ["--mode", "local"]);
    expect(await box.run(["pfc", ...whichMode], { env })).toEqual(mark("local"));
  });

  test("relative: ignored with a word", async () => {
    await using box = new Sandbox();
    const { stderr } = await box.run(["pfc", "true"], { env: { XDG_RUNTIME_DIR: "run" } });
    expect(stderr).toStartWith("pfc: ignoring XDG_RUNTIME_DIR=run: it is not an absolute path\n");
  });

  test.skipIf(uid !== 0)(
    "somebody else's: ignored with a word (needs root to make one)",
    async () => {
      await using box = new Sandbox();
      mkdirSync(box.path("xdg"), { mode: 0o700 });
      chownSync(box.path("xdg"), 65_534, 65_534);
      const env = { XDG_RUNTIME_DIR: box.path("xdg") };
      const { stderr } = await box.run(["pfc", "true"], { env });
      expect(stderr).toContain("it belongs to user 65534\n");
    },
  );

  // With a usable /run/user/UID the fallback is never reached.
  describe.skipIf(hasUsual)("not set: a private directory under the temporary one", () => {
    const env = { XDG_RUNTIME_DIR: undefined };

    test("is made, and both sides find it", async () => {
      await using box = new Sandbox();
      expect(await box.run(["pfc", "-Cw", "add", "1", "2"], { env })).toEqual(
        ended({ stdout: "3\n" }),
      );
      expect(statSync(fallbackIn(box)).mode & 0o777).toBe(0o700);
      expect(statSync(join(fallbackIn(box), "pfd.sock")).mode & 0o777).toBe(0o600);
      const { stdout } = await box.run(["prefork", "status", "--json"], { env });
      expect(JSON.parse(stdout)).toMatchObject({ mode: "runtime", done: 1 });
    });

    const traps: [string, (path: string) => void][] = [
      ["others can write to", (path) => makeDirectory(path, 0o777)],
      [
        "is a link",
        (path) => {
          makeDirectory(`${path}.real`, 0o700);
          symlinkSync(`${path}.real`, path);
        },
      ],
      ["is a file", (path) => void Bun.write(path, "")],
    ];
    test.each(traps)("one that %s is refused", async (_, make) => {
      await using box = new Sandbox();
      make(fallbackIn(box));
      for (const [call, status] of [
        [["pfc", "-C", "true"], 125],
        [["prefork", "status"], 125],
        [["pfd"], 1],
      ] as const) {
        const { stderr, end } = await box.run(call, { env });
        expect(stderr).toMatch(/^(pfc|pfd|prefork): [^\n]*prefork-\d+[^\n]*\n$/);
        expect(end).toBe(status);
      }
    });

    test.skipIf(uid !== 0)("one of somebody else is refused (needs root to make one)", async () => {
      await using box = new Sandbox();
      mkdirSync(fallbackIn(box), 0o700);
      chownSync(fallbackIn(box), 65_534, 65_534);
      const { stderr, end } = await box.run(["pfc", "-C", "true"], { env });
      expect(stderr).toMatch(/^pfc: no safe runtime directory: [^\n]+: it belongs to user 65534/);
      expect(end).toBe(125);
    });
  });
});

describe("paths over the 107 bytes of a socket's address", () => {
  const long = (size: number): string => "d".repeat(size);

  test.each([60, 80, 100, 150, 255])("in a directory with a name of %d bytes", async (size) => {
    await using box = new Sandbox();
    const directory = box.path("work", long(size), long(size));
    mkdirSync(directory, { recursive: true });
    const socket = join(directory, "pfd.sock");
    await box.serve(["--socket", socket]);
    const at = ["--socket", socket];
    expect(await box.pfc(...at, "-w", "add", "1", "2")).toEqual(ended({ stdout: "3\n" }));
    expect((await box.status(...at)).socket).toBe(socket);
    expect((await box.prefork("ping", ...at)).end).toBe(0);
    expect((await box.prefork("stop", ...at)).end).toBe(0);
    expect(existsSync(socket)).toBe(false);
    expect(existsSync(join(directory, "pfd.pid"))).toBe(false);
  });

  // The place of the change from a plain address to one through the directory.
  test.each([105, 106, 107, 108, 109])("of exactly %d bytes", async (size) => {
    await using box = new Sandbox();
    const name = "x".repeat(80);
    const padding = size - box.directory.length - name.length - 2;
    const directory = box.path("p".repeat(Math.max(padding, 1)));
    mkdirSync(directory);
    const socket = join(directory, name).slice(0, size);
    expect(socket.length).toBe(size);
    await box.serve(["--socket", socket]);
    expect(await box.pfc("--socket", socket, "-w", "add", "1")).toEqual(ended({ stdout: "1\n" }));
    expect((await box.prefork("stop", "--socket", socket)).end).toBe(0);
    rmSync(directory, { recursive: true });
  });

  test("in every mode, launched by the client", async () => {
    await using box = new Sandbox();
    const runtime = box.path(long(100), long(100));
    const cwd = box.path("work", long(100), long(100));
    for (const path of [runtime, cwd]) mkdirSync(path, { recursive: true, mode: 0o700 });
    const name = "n".repeat(64);
    for (const options of [["--mode=local"], ["--mode=runtime"], [`--project=${name}`]]) {
      const where = { env: { XDG_RUNTIME_DIR: runtime }, cwd };
      const run = await box.run(["pfc", "-Cw", ...options, "add", "1", "2"], where);
      expect(run).toEqual(ended({ stdout: "3\n" }));
      expect((await box.run(["prefork", "stop", ...options], where)).end).toBe(0);
    }
  });

  test("a file name that is too long by itself is refused", async () => {
    await using box = new Sandbox();
    const socket = box.path("s".repeat(200));
    for (const [call, status] of [
      [["pfd", "--socket", socket], 1],
      [["pfd", "-d", "--socket", socket], 1],
      [["pfc", "-w", "--socket", socket, "true"], 125],
      [["pfc", "-C", "--socket", socket, "true"], 125],
      [["prefork", "status", "--socket", socket], 125],
    ] as const) {
      const { stdout, stderr, end } = await box.run(call);
      expect(stderr).toMatch(/^((pfc|prefork): ignoring [^\n]+\n)?(pfc|pfd|prefork): [^\n]+\n$/);
      expect({ stdout, end }).toEqual({ stdout: "", end: status });
    }
    expect(existsSync(`${socket}.pid`)).toBe(false);
  });
});
