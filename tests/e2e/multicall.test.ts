/** One binary under several names: which face it shows, its help, and how it answers wrong words. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFileSync, linkSync, mkdirSync, statSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { binary, ended, Sandbox } from "../helpers/sandbox.ts";
import { concurrently } from "../helpers/wait.ts";

setDefaultTimeout(30_000);

/** A hard link, or a copy where the sandbox is on another file system. */
function linkOrCopy(from: string, to: string): void {
  if (statSync(from).dev === statSync(dirname(to)).dev) linkSync(from, to);
  else copyFileSync(from, to);
}

describe("the name it is called by", () => {
  const faces = ["pfc", "pfd", "prefork", "anything"] as const;
  const ways: [string, (box: Sandbox, name: string) => string[]][] = [
    [
      "a symbolic link",
      (box, name) => {
        symlinkSync(binary, box.path(name));
        return [box.path(name)];
      },
    ],
    [
      "a link to a link",
      (box, name) => {
        symlinkSync(binary, box.path("first"));
        symlinkSync("first", box.path(name));
        return [box.path(name)];
      },
    ],
    [
      "a hard link",
      (box, name) => {
        linkOrCopy(binary, box.path(name));
        return [box.path(name)];
      },
    ],
    [
      "a copy",
      (box, name) => {
        copyFileSync(binary, box.path(name));
        return [box.path(name)];
      },
    ],
    [
      "a path with spaces and a line break",
      (box, name) => {
        mkdirSync(box.path("a b\n c"));
        symlinkSync(binary, box.path("a b\n c", name));
        return [box.path("a b\n c", name)];
      },
    ],
    [
      "a relative path",
      (box, name) => {
        symlinkSync(binary, join(box.work, name));
        return [`./${name}`];
      },
    ],
    [
      "PATH",
      (box, name) => {
        mkdirSync(box.path("other bin"));
        symlinkSync(binary, box.path("other bin", name));
        return ["env", `PATH=${box.path("other bin")}:/usr/bin:/bin`, name];
      },
    ],
  ];
  test.each(ways)("counts through %s", async (_, link) => {
    await concurrently(faces, 2, async (name) => {
      await using box = new Sandbox();
      const called = link(box, name);
      switch (name) {
        case "pfc": {
          const refused = await box.run(called);
          expect(refused.stderr).toBe("pfc: no command was given (see 'pfc --help')\n");
          expect(refused.end).toBe(125);
          await using _daemon = await daemonIn(box);
          expect(await box.run([...called, "-w", "echo", "-n", "hi"])).toEqual(
            ended({ stdout: "hi" }),
          );
          return;
        }
        case "pfd": {
          const { stdout, stderr, end } = await box.run([...called, "--help"]);
          expect(stdout).toContain("USAGE pfd [OPTIONS]");
          expect({ stderr, end }).toEqual({ stderr: "", end: 0 });
          const refused = await box.run([...called, "word"]);
          expect(refused).toEqual(
            ended({ stderr: "pfd: unexpected word 'word' (see 'pfd --help')\n", end: 2 }),
          );
          return;
        }
        default: {
          const { stdout, end } = await box.run([...called, "version"]);
          expect(stdout).toMatch(/^prefork /);
          expect(end).toBe(0);
          const refused = await box.run([...called, "ls"]);
          expect(refused.stderr).toBe("prefork: 'ls' is not a subcommand (see 'prefork --help')\n");
          expect(refused.end).toBe(2);
        }
      }
    });
  });

  test("is argv[0], not the file's name", async () => {
    await using box = new Sandbox();
    await using _daemon = await daemonIn(box);
    const script = `exec -a pfc ${binary} -w add 1 2`;
    expect(await box.bash(script)).toEqual(ended({ stdout: "3\n" }));
  });

  test("a daemon goes on when its file is replaced or removed", async () => {
    await using box = new Sandbox();
    const own = box.path("own");
    copyFileSync(binary, own);
    const started = await box.run(["bash", "-c", `exec -a pfd ${own} -d`]);
    expect(started).toEqual(ended());
    const before = await box.untilWarm();
    await box.run(["rm", own]);
    process.kill(before.image.pid, "SIGKILL");
    // Cold or warm, the daemon must still find its own program.
    expect(await box.pfc("-w", "add", "1", "2")).toEqual(ended({ stdout: "3\n" }));
    expect((await box.untilWarm()).image.pid).not.toBe(before.image.pid);
  });
});

/** A daemon for the length of a block, where the sandbox would end it anyway. */
async function daemonIn(box: Sandbox): Promise<AsyncDisposable> {
  const daemon = await box.serve();
  return {
    [Symbol.asyncDispose]: async () => {
      daemon.process.kill("SIGTERM");
      await daemon.process.exited;
    },
  };
}

describe("help", () => {
  const calls: [string, string][] = [
    ["prefork --help", "USAGE prefork run|serve|"],
    ["prefork -h", "USAGE prefork run|serve|"],
    ["prefork help", "USAGE prefork run|serve|"],
    ["prefork help run", "USAGE prefork run "],
    ["prefork run --help", "USAGE prefork run "],
    ["prefork run -h", "USAGE prefork run "],
    ["prefork run -w --help", "USAGE prefork run "],
    ["prefork serve --help", "USAGE prefork serve "],
    ["prefork serve -h", "USAGE prefork serve "],
    ["prefork status --help", "USAGE prefork status "],
    ["prefork ping --help", "USAGE prefork ping "],
    ["prefork stop --help", "USAGE prefork stop "],
    ["prefork commands --help", "USAGE prefork commands "],
    ["prefork allow --help", "USAGE prefork allow [OPTIONS] [DIR]"],
    ["prefork version --help", "USAGE prefork version "],
    ["pfc --help", "USAGE pfc "],
    ["pfc -h", "USAGE pfc "],
    ["pfd --help", "USAGE pfd "],
    ["pfd -h", "USAGE pfd "],
  ];
  test.each(calls)("%s prints it on stdout", async (call, usage) => {
    await using box = new Sandbox();
    const { stdout, stderr, end } = await box.run(call.split(" "));
    expect(stdout).toContain(usage);
    expect(stdout).toMatch(/\nEXAMPLES\n\n( {2}\S.*\n)+$/);
    expect(stdout).not.toContain("\x1b"); // no colours in a pipe
    expect({ stderr, end }).toEqual({ stderr: "", end: 0 });
  });

  test("names every subcommand, and each has its own", async () => {
    await using box = new Sandbox();
    const overview = await box.prefork("--help");
    for (const name of "run serve status ping stop commands allow version".split(" ")) {
      expect(overview.stdout).toMatch(new RegExp(`^ +${name} +\\S`, "m"));
    }
  });

  test("--help behind the command is the command's", async () => {
    await using box = new Sandbox();
    await box.serve();
    expect(await box.pfc("-w", "echo", "--help", "-h")).toEqual(ended({ stdout: "--help -h\n" }));
  });
});

describe("version", () => {
  test.each(["pfc", "pfd", "prefork run", "prefork serve"])(
    "%s prints the same line for --version and -V",
    async (called) => {
      await using box = new Sandbox();
      const line = await box.prefork("version");
      for (const word of ["--version", "-V"]) {
        expect(await box.run([...called.split(" "), word])).toEqual(line);
      }
    },
  );

  test.each(["version", "--version", "-V"])("%s prints one line", async (word) => {
    await using box = new Sandbox();
    const { stdout, stderr, end } = await box.prefork(word);
    expect(stdout).toMatch(/^prefork \S+ \(protocol \d+, bun \d+\.\d+\.\d+\)\n$/);
    expect(stdout.split(" ")[1]).toBe(manifest.version);
    expect({ stderr, end }).toEqual({ stderr: "", end: 0 });
  });
});

describe("an answer that cannot be written", () => {
  test.each(["version", "--help", "status", "status --json", "commands", "ping"])(
    "%s: one line and 125",
    async (words) => {
      await using box = new Sandbox();
      await box.serve();
      const { stderr, end } = await box.bash(`prefork ${words} >/dev/full`);
      expect(stderr).toMatch(/^prefork: cannot write: [^\n]*no space left[^\n]*\n$/);
      expect(end).toBe(125);
    },
  );

  test("nothing is said to a reader that has seen enough", async () => {
    await using box = new Sandbox();
    await box.bash("mkfifo fifo");
    const run = await box.bash("exec 5<>fifo 6>fifo 5<&-; prefork --help >&6");
    expect(run).toEqual(ended());
  });
});

describe("words that make no sense", () => {
  const usageErrors: [call: string[], complaint: string][] = [
    [["prefork"], "prefork: no subcommand was given (see 'prefork --help')"],
    [["prefork", "nope"], "prefork: 'nope' is not a subcommand (see 'prefork --help')"],
    [["prefork", "no\npe"], "prefork: 'no\\npe' is not a subcommand (see 'prefork --help')"],
    [["prefork", "image"], "prefork: 'image' is not a subcommand (see 'prefork --help')"],
    [["prefork", "-x"], "prefork: '-x' is not a subcommand (see 'prefork --help')"],
    [["prefork", "help", "nope"], "prefork: 'nope' is not a subcommand (see 'prefork --help')"],
    [["prefork", "toString"], "prefork: 'toString' is not a subcommand (see 'prefork --help')"],
    [["prefork", "__proto__"], "prefork: '__proto__' is not a subcommand (see 'prefork --help')"],
    [["prefork", "status", "--nope"], "prefork: unknown option '--nope'"],
    [["prefork", "status", "-x"], "prefork: unknown option '-x'"],
    [["prefork", "status", "--json=yes"], "prefork: option '--json' takes no value"],
    [["prefork", "status", "word"], "prefork: unexpected word 'word'"],
    [["prefork", "status", "--", "--json"], "prefork: unexpected word '--json'"],
    [["prefork", "status", "--mode", "near"], "prefork: option '--mode' is one of local,"],
    [["prefork", "status", "--socket"], "prefork: option '--socket' needs a value"],
    [["prefork", "ping", "--json"], "prefork: unknown option '--json'"],
    [["prefork", "ping", "word"], "prefork: unexpected word 'word'"],
    [["prefork", "stop", "--nowish"], "prefork: unknown option '--nowish'"],
    [["prefork", "stop", "--now=1"], "prefork: option '--now' takes no value"],
    [["prefork", "version", "word"], "prefork: unexpected word 'word'"],
    [["prefork", "serve", "word"], "pfd: unexpected word 'word'"],
    [["prefork", "serve", "--nope"], "pfd: unknown option '--nope'"],
    [["pfd", "--nope"], "pfd: unknown option '--nope'"],
    [["pfd", "--grace", "soon"], "pfd: option '--grace' is a number of seconds"],
    [["pfd", "--grace=-1"], "pfd: option '--grace' is a number of seconds"],
    [["pfd", "--grace", "1e9"], "pfd: option '--grace' is a number of seconds"],
    [["pfd", "--max-jobs", "0"], "pfd: option '--max-jobs' is a whole number from 1"],
    [["pfd", "--max-jobs", "2.5"], "pfd: option '--max-jobs' is a whole number from 1"],
    [["pfd", "--max-jobs", ""], "pfd: option '--max-jobs' is a whole number from 1"],
    [["pfd", "--log-level", "loud"], "pfd: option '--log-level' is one of "],
    [["pfd", "--ready-fd", "1"], "pfd: option '--ready-fd' is a whole number from 3"],
    [["pfd", "--mode=near"], "pfd: option '--mode' is one of local, project, runtime, not 'near'"],
  ];
  test.each(usageErrors)("%j: one line and 2", async (call, complaint) => {
    await using box = new Sandbox();
    const { stdout, stderr, end } = await box.run(call);
    expect(stderr).toStartWith(complaint);
    expect(stderr).toMatch(/^[^\n]+ \(see '[^']+ --help'\)\n$/);
    expect({ stdout, end }).toEqual({ stdout: "", end: 2 });
  });

  const runErrors: [words: string[], complaint: string][] = [
    [[], "pfc: no command was given"],
    [["-w"], "pfc: no command was given"],
    [["--"], "pfc: no command was given"],
    [["-w", "--"], "pfc: no command was given"],
    [["--nope", "true"], "pfc: unknown option '--nope'"],
    [["-x", "true"], "pfc: unknown option '-x'"],
    [["-wx", "true"], "pfc: unknown option '-x'"],
    [["--wait=1", "true"], "pfc: option '--wait' takes no value"],
    [["--cwd"], "pfc: option '--cwd' needs a value"],
    [["--fd"], "pfc: option '--fd' needs a value"],
    [["--fd", "three", "true"], "pfc: option '--fd' is a whole number from 0"],
    [["--fd", "-1", "true"], "pfc: option '--fd' is a whole number from 0"],
    [["--fd=65536", "true"], "pfc: option '--fd' is a whole number from 0"],
    [["--fd=", "true"], "pfc: option '--fd' is a whole number from 0"],
    [["--mode", "near", "true"], "pfc: option '--mode' is one of "],
    [["--wa\nit", "true"], "pfc: unknown option '--wa\\nit'"],
  ];
  test.each(runErrors)("run %j: one line and 125", async (words, complaint) => {
    await using box = new Sandbox();
    const { stdout, stderr, end } = await box.pfc(...words);
    expect(stderr).toStartWith(complaint);
    expect(stderr).toMatch(/^[^\n]+ \(see 'pfc --help'\)\n$/);
    expect({ stdout, end }).toEqual({ stdout: "", end: 125 });
    const { stderr: longer } = await box.prefork("run", ...words);
    expect(longer).toBe(stderr.replace("'pfc --help'", "'prefork run --help'"));
  });
});

describe("where the options of run end", () => {
  const calls: [words: string[], stdout: string][] = [
    [["-w", "echo", "-w", "-C"], "-w -C\n"],
    [["-w", "echo", "--wait", "--nope", "-la"], "--wait --nope -la\n"],
    [["-w", "--", "echo", "--", "-x"], "-- -x\n"],
    [["-w", "echo", "--"], "--\n"],
    [["--wait", "echo", "-n"], ""],
    [["-wn", "cat"], ""],
    [["-nw", "--cwd=/", "pwd"], "/\n"],
    [["-w", "--cwd", "/", "pwd"], "/\n"],
    [["-w", "--fd", "1", "--fd=2", "echo", "x"], "x\n"],
  ];
  test.each(calls)("%j", async (words, stdout) => {
    await using box = new Sandbox();
    await box.serve();
    expect(await box.pfc(...words)).toEqual(ended({ stdout }));
  });

  test("pfc -w ls -la gives -la to ls, and so does prefork run", async () => {
    await using box = new Sandbox();
    box.write("work/.hidden", "");
    await box.serve();
    const direct = await box.run(["ls", "-la"]);
    expect(direct.stdout).toContain(".hidden");
    expect(await box.pfc("-w", "ls", "-la")).toEqual(direct);
    expect(await box.prefork("run", "-w", "ls", "-la")).toEqual(direct);
  });

  test("a command that begins with a dash comes behind --", async () => {
    await using box = new Sandbox();
    box.write("bin/-odd", "#!/bin/sh\necho odd $1\n", 0o755);
    await box.serve();
    expect(await box.pfc("-w", "--", "-odd", "1")).toEqual(ended({ stdout: "odd 1\n" }));
  });
});

describe("the files of the directory it runs in", () => {
  test(".env, bunfig.toml and package.json there change nothing", async () => {
    await using box = new Sandbox();
    box.write("work/.env", "PFD_SOCKET=/nowhere\nINTRUDER=1\n");
    box.write("work/.env.local", "INTRUDER=2\n");
    box.write("work/bunfig.toml", 'preload = ["./preload.ts"]\n');
    box.write("work/preload.ts", 'console.log("preloaded")\n');
    box.write("work/tsconfig.json", "not json\n");
    await box.serve(["--mode", "runtime"]);
    const { stdout } = await box.pfc("-w", "env");
    expect(stdout).not.toContain("INTRUDER");
    expect(await box.pfc("-w", "add", "1", "2")).toEqual(ended({ stdout: "3\n" }));
  });
});
