import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import * as errno from "../../ffi/errno.ts";
import { openLibc } from "../../ffi/libc.ts";
import { O_NONBLOCK } from "../../ffi/linux/constants.ts";
import type { Sys, SysName } from "../../ffi/sys.ts";
import { configurationBytesMax, fileClockMs } from "../../src/base/limits.ts";
import { ConfigurationError } from "../../src/domain/configuration.ts";
import { Configurations } from "../../src/execution/configuration.ts";
import { SystemError } from "../../src/os/errors.ts";

const sys = openLibc();

/** A home with a project in it, and what its variables are. */
let home = "";
let variables: Record<string, string | undefined> = {};
let configurations = new Configurations(sys);
const variable = (name: string): string | undefined => variables[name];

const at = (...names: string[]): string => join(home, ...names);

function write(name: string, text: string): string {
  const path = at(name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

const naming = (name: string, script = `${name}.ts`): string =>
  `[commands.${name}]\nscript = "${script}"\n`;

function find(name: string, directory = at("p/src")) {
  return configurations.find(name, directory, variable);
}

function script(name: string, directory?: string): string | undefined {
  return find(name, directory).command?.script;
}

beforeEach(() => {
  home = mkdtempSync(join(realpathSync(tmpdir()), "pf-configuration-"));
  variables = { HOME: home };
  configurations = new Configurations(sys);
  mkdirSync(at("p/src/deep"), { recursive: true });
  mkdirSync(at("p/.git"));
});

afterEach(() => rmSync(home, { recursive: true }));

const notAllowed = (path: string): string =>
  `ignoring ${path}: it is not allowed (read it, then run 'prefork allow' there)`;

describe("the project's file", () => {
  test("counts when it was allowed, and not before", () => {
    const path = write("p/prefork.toml", naming("a"));
    expect(find("a")).toEqual({ command: undefined, notices: [notAllowed(path)] });
    const { file, commands } = configurations.allow(at("p/src"), variable);
    expect(file).toBe(path);
    expect(commands.map(({ name }) => name)).toEqual(["a"]);
    expect(find("a").notices).toEqual([]);
    expect(find("a").command).toMatchObject({ name: "a", file: path, script: at("p/a.ts") });
  });

  test("is named only when it names the command", () => {
    write("p/prefork.toml", naming("a"));
    expect(find("b")).toEqual({ command: undefined, notices: [] });
  });

  test("asks again after any change, and not after the change back", () => {
    const path = write("p/prefork.toml", naming("a"));
    configurations.allow(at("p"), variable);
    expect(script("a")).toBe(at("p/a.ts"));
    write("p/prefork.toml", `${naming("a")} `);
    expect(find("a")).toEqual({
      command: undefined,
      notices: [
        `ignoring ${path}: it has changed since it was allowed (read it, then run 'prefork allow' there)`,
      ],
    });
    write("p/prefork.toml", naming("a"));
    expect(script("a")).toBe(at("p/a.ts"));
  });

  test("is not used any longer once it was revoked", () => {
    const path = write("p/prefork.toml", naming("a"));
    expect(configurations.revoke(at("p"), variable)).toEqual({ file: path, wasAllowed: false });
    configurations.allow(at("p"), variable);
    expect(configurations.revoke(at("p"), variable)).toEqual({ file: path, wasAllowed: true });
    expect(find("a").notices).toEqual([notAllowed(path)]);
  });

  test("is not used by who keeps its state elsewhere, or has no place for it", () => {
    const path = write("p/prefork.toml", naming("a"));
    configurations.allow(at("p"), variable);
    variables = { HOME: home, XDG_STATE_HOME: at("other") };
    expect(find("a").notices).toEqual([notAllowed(path)]);
    variables = {};
    expect(find("a").notices).toEqual([notAllowed(path)]);
    expect(() => configurations.allow(at("p"), variable)).toThrow(ConfigurationError);
    expect(() => configurations.allow(at("p"), variable)).toThrow(
      "neither HOME nor XDG_STATE_HOME",
    );
  });

  test("is the nearest, whatever those above it say", () => {
    write("p/prefork.toml", naming("a"));
    write("p/src/prefork.toml", naming("b"));
    configurations.allow(at("p"), variable);
    configurations.allow(at("p/src/deep"), variable);
    expect(script("b", at("p/src/deep"))).toBe(at("p/src/b.ts"));
    expect(find("a", at("p/src/deep"))).toEqual({ command: undefined, notices: [] });
    expect(script("a", at("p"))).toBe(at("p/a.ts"));
  });

  test("is looked for up to the project's root, and without one up to /", () => {
    write("prefork.toml", naming("a"));
    configurations.allow(home, variable);
    expect(find("a")).toEqual({ command: undefined, notices: [] });
    expect(() => configurations.allow(at("p"), variable)).toThrow("no prefork.toml in ");
    rmSync(at("p/.git"), { recursive: true });
    expect(script("a")).toBe(at("a.ts"));
    write("p/.git", "gitdir: elsewhere"); // a worktree
    expect(script("a")).toBeUndefined();
  });

  test.each(["", "p", ".", "(unreachable)/p", "/no/such/place", "/", "/\0", "//"])(
    "is none for a caller in %j",
    (directory) => {
      write("p/prefork.toml", naming("a"));
      expect(find("a", directory)).toEqual({ command: undefined, notices: [] });
    },
  );

  test("is found from a directory spelled with more slashes", () => {
    write("p/prefork.toml", naming("a"));
    configurations.allow(at("p"), variable);
    expect(script("a", `${at("p")}//src/`)).toBe(at("p/a.ts"));
  });

  test("wins over the user's command of the same name only while it is allowed", () => {
    const path = write("p/prefork.toml", naming("a"));
    write(".config/prefork/config.toml", naming("a", "/user.ts"));
    expect(find("a")).toMatchObject({
      command: { script: "/user.ts" },
      notices: [notAllowed(path)],
    });
    configurations.allow(at("p"), variable);
    expect(find("a")).toMatchObject({ command: { script: at("p/a.ts") }, notices: [] });
  });

  test("that is broken is named for every command, and cannot be allowed", () => {
    const path = write("p/prefork.toml", "\ncommands = 1");
    const problem = `${path}:2: commands: not a table (use [commands.NAME])`;
    expect(find("z")).toEqual({ command: undefined, notices: [`ignoring ${problem}`] });
    expect(() => configurations.allow(at("p"), variable)).toThrow(problem);
    expect(() => readdirSync(at(".local"))).toThrow();
    expect(configurations.revoke(at("p"), variable).wasAllowed).toBe(false);
  });

  test("that is too large is refused", () => {
    const path = write("p/prefork.toml", "#".repeat(configurationBytesMax + 1));
    const notices = [`ignoring ${path}: too large (at most 64 KiB are allowed)`];
    expect(find("a")).toEqual({ command: undefined, notices });
    write("p/prefork.toml", "#".repeat(configurationBytesMax));
    expect(find("a")).toEqual({ command: undefined, notices: [] });
  });

  test("that never ends is refused", () => {
    symlinkSync("/dev/zero", at("p/prefork.toml"));
    expect(find("a")).toEqual({ command: undefined, notices: [] });
  });

  test("that is a pipe does not make anybody wait", () => {
    Bun.spawnSync(["mkfifo", at("p/prefork.toml")]);
    expect(find("a")).toEqual({ command: undefined, notices: [] });
  });

  test.each([
    ["a pipe", (path: string) => Bun.spawnSync(["mkfifo", path])],
    ["nothing", () => {}],
  ])("that becomes %s before it is opened makes nobody wait", (_, replace) => {
    const path = write("p/prefork.toml", naming("a"));
    configurations = new Configurations({
      ...sys,
      openat: (directory, name, flags, mode) => {
        rmSync(path);
        replace(path);
        expect(flags & O_NONBLOCK).toBe(O_NONBLOCK); // else the next call would not return
        return sys.openat(directory, name, flags, mode);
      },
    });
    expect(find("a")).toEqual({ command: undefined, notices: [] });
  });

  test("that is a directory is none", () => {
    mkdirSync(at("p/prefork.toml"));
    expect(find("a")).toEqual({ command: undefined, notices: [] });
  });

  test("in a place whose name is not UTF-8 is refused", () => {
    const odd = Buffer.concat([Buffer.from(`${at("odd")}-`), Buffer.from([0xff])]);
    mkdirSync(odd);
    writeFileSync(Buffer.concat([odd, Buffer.from("/prefork.toml")]), naming("a"));
    symlinkSync(odd, at("link"));
    const { command, notices } = find("a", at("link"));
    expect(command).toBeUndefined();
    expect(notices).toEqual([expect.stringContaining("its path cannot be told (only UTF-8")]);
  });
});

describe("links and copies", () => {
  beforeEach(() => {
    write("p/prefork.toml", naming("a"));
    configurations.allow(at("p"), variable);
    mkdirSync(at("evil"));
  });

  test("a link to an allowed file leads to the scripts beside that file", () => {
    symlinkSync(at("p/prefork.toml"), at("evil/prefork.toml"));
    expect(script("a", at("evil"))).toBe(at("p/a.ts"));
  });

  test("a copy elsewhere has to be allowed by itself", () => {
    const path = write("evil/prefork.toml", naming("a"));
    expect(find("a", at("evil"))).toEqual({ command: undefined, notices: [notAllowed(path)] });
  });

  test("so has another name of the same file", () => {
    const path = at("evil/prefork.toml");
    linkSync(at("p/prefork.toml"), path);
    expect(find("a", at("evil"))).toEqual({ command: undefined, notices: [notAllowed(path)] });
  });

  test("so has the same file in a place that was moved, seen through a link", async () => {
    const path = at("evil/prefork.toml");
    symlinkSync(at("p/prefork.toml"), path);
    await Bun.sleep(2 * fileClockMs);
    expect(script("a", at("evil"))).toBe(at("p/a.ts"));
    renameSync(at("p"), at("q"));
    rmSync(path);
    symlinkSync(at("q/prefork.toml"), path);
    expect(find("a", at("evil"))).toEqual({ command: undefined, notices: [notAllowed(path)] });
  });

  test("a project that was moved has to be allowed again", () => {
    renameSync(at("p"), at("q"));
    expect(find("a", at("q")).notices).toEqual([notAllowed(at("q/prefork.toml"))]);
  });
});

describe("the user's file", () => {
  test("is used as it is", () => {
    const path = write(".config/prefork/config.toml", naming("a"));
    expect(find("a")).toMatchObject({
      command: { file: path, script: at(".config/prefork/a.ts") },
      notices: [],
    });
  });

  test("is where XDG_CONFIG_HOME says, unless that is relative or empty", () => {
    write(".config/prefork/config.toml", naming("a"));
    write("c/prefork/config.toml", naming("b"));
    variables = { HOME: home, XDG_CONFIG_HOME: at("c") };
    expect([script("a"), script("b")]).toEqual([undefined, at("c/prefork/b.ts")]);
    for (const other of ["c", ""]) {
      variables = { HOME: home, XDG_CONFIG_HOME: other };
      expect([script("a"), script("b")]).toEqual([at(".config/prefork/a.ts"), undefined]);
    }
  });

  test.each([{}, { HOME: "" }, { HOME: "relative" }])("is none with %j", (environment) => {
    variables = environment;
    expect(find("a")).toEqual({ command: undefined, notices: [] });
  });

  test.each([0o664, 0o646, 0o666])("is refused with the mode %o", (mode) => {
    const path = write(".config/prefork/config.toml", naming("a"));
    chmodSync(path, mode);
    const notices = [`ignoring ${path}: others can write to it (mend it with chmod go-w)`];
    expect(find("a")).toEqual({ command: undefined, notices });
    expect(find("b")).toEqual({ command: undefined, notices: [] });
    chmodSync(path, 0o644);
    expect(find("a").notices).toEqual([]);
  });

  test("is refused when it is somebody else's", () => {
    const path = write(".config/prefork/config.toml", naming("a"));
    const owner = statSync(path).uid;
    configurations = new Configurations({ ...sys, geteuid: () => owner + 1 });
    // A file of root's serves everybody.
    const notices = owner === 0 ? [] : [expect.stringContaining(`belongs to user ${owner} (only`)];
    expect(find("a").notices).toEqual(notices);
  });

  test("that is broken is named for every command that the project does not have", () => {
    const path = write(".config/prefork/config.toml", "[commands.a]");
    write("p/prefork.toml", naming("a"));
    configurations.allow(at("p"), variable);
    expect(find("a").notices).toEqual([]);
    expect(find("b").notices).toEqual([
      expect.stringContaining(`ignoring ${path}:1: commands.a: `),
    ]);
  });
});

test("all of them are listed, the project's first, and each name once", () => {
  write("p/prefork.toml", naming("a") + naming("b"));
  const user = write(".config/prefork/config.toml", naming("c", "/c") + naming("a", "/a"));
  const before = configurations.all(at("p"), variable);
  expect(before.notices).toEqual([notAllowed(at("p/prefork.toml"))]);
  expect(before.commands.map(({ name, kind }) => [name, kind])).toEqual([
    ["c", "user"],
    ["a", "user"],
  ]);
  configurations.allow(at("p"), variable);
  chmodSync(user, 0o644);
  const after = configurations.all(at("p"), variable);
  expect(after.notices).toEqual([]);
  expect(after.commands.map(({ name, kind }) => [name, kind])).toEqual([
    ["a", "project"],
    ["b", "project"],
    ["c", "user"],
  ]);
});

describe("the record", () => {
  const records = (): string => at(".local/state/prefork/allowed");
  const record = (): string => join(records(), readdirSync(records())[0] ?? "");

  beforeEach(() => {
    write("p/prefork.toml", naming("a"));
    configurations.allow(at("p"), variable);
  });

  test("is private, holds hash and path, and nothing is left beside it", () => {
    const sha256 = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex");
    expect(readdirSync(records())).toEqual([sha256(at("p/prefork.toml"))]);
    expect(readFileSync(record(), "utf8")).toBe(
      `${sha256(naming("a"))}  ${at("p/prefork.toml")}\n`,
    );
    expect(statSync(record()).mode & 0o777).toBe(0o600);
    for (let path = records(); path !== home; path = dirname(path)) {
      expect(statSync(path).mode & 0o777).toBe(0o700);
    }
  });

  test.each([
    ["is empty", () => writeFileSync(record(), "")],
    ["is cut", () => writeFileSync(record(), readFileSync(record(), "utf8").slice(0, -1))],
    ["is of another file", () => writeFileSync(record(), `${"0".repeat(64)}  /x\n`)],
    ["can be written by others", () => chmodSync(record(), 0o666)],
    ["is gone", () => rmSync(record())],
    ["is no file", () => [rmSync(record()), mkdirSync(join(records(), "x"))]],
  ])("allows nothing when it %s", (_, spoil) => {
    expect(script("a")).toBe(at("p/a.ts"));
    spoil();
    expect(script("a")).toBeUndefined();
    expect(find("a").notices).toHaveLength(1);
  });

  test.each<{ name: SysName; nth: number; number: number }>([
    { name: "mkdirat", nth: 1, number: errno.EACCES },
    { name: "openat", nth: 2, number: errno.EROFS }, // the first one opens the project's file
    { name: "write", nth: 1, number: errno.ENOSPC },
    { name: "renameat", nth: 1, number: errno.EIO },
  ])("is as it was when $name fails", ({ name, nth, number }) => {
    variables = { HOME: home, XDG_STATE_HOME: at("s") };
    const call = sys[name] as (...args: never[]) => number;
    let calls = 0;
    const failing = (...args: never[]) => (++calls === nth ? -number : call(...args));
    const broken = new Configurations({ ...sys, [name]: failing });
    expect(() => broken.allow(at("p"), variable)).toThrow(SystemError);
    expect(script("a")).toBeUndefined();
    if (name !== "mkdirat") expect(readdirSync(at("s/prefork/allowed"))).toEqual([]);
    broken.allow(at("p"), variable);
    expect(script("a")).toBe(at("p/a.ts"));
  });
});

describe("what was read is kept", () => {
  /** How often `name` is called by a search. */
  function countCalls(name: SysName, work: () => void): number {
    let calls = 0;
    const call = sys[name] as (...args: never[]) => number;
    const counting: Sys = {
      ...sys,
      [name]: (...args: never[]) => {
        calls++;
        return call(...args);
      },
    };
    configurations = new Configurations(counting);
    find("a");
    calls = 0;
    work();
    return calls;
  }

  test("so that a search opens nothing and asks for few files", async () => {
    write("p/prefork.toml", naming("a"));
    write(".config/prefork/config.toml", naming("b"));
    configurations.allow(at("p"), variable);
    await Bun.sleep(2 * fileClockMs);
    expect(countCalls("openat", () => find("a"))).toBe(0);
    expect(countCalls("statx", () => find("a"))).toBe(3); // src's, the project's, the record
    expect(countCalls("faccessat", () => find("a"))).toBe(1);
  });

  test("but not while its times may not tell a change", () => {
    write("p/prefork.toml", naming("a"));
    configurations.allow(at("p"), variable);
    expect(countCalls("openat", () => find("a"))).toBeGreaterThan(0);
  });

  test("and a change is seen at once, also one of the same size and time", async () => {
    const path = write(".config/prefork/config.toml", naming("a", "/1"));
    for (let number = 2; number < 40; number++) {
      if (number % 10 === 0) await Bun.sleep(fileClockMs * 1.5);
      const { atime, mtime } = statSync(path);
      expect(script("a")).toBe(`/${number - 1}`);
      write(".config/prefork/config.toml", naming("a", `/${number}`));
      utimesSync(path, atime, mtime);
      expect(script("a")).toBe(`/${number}`);
    }
  });

  test("and a file that appears, or goes, is seen at once", async () => {
    expect(script("a")).toBeUndefined();
    const path = write(".config/prefork/config.toml", naming("a", "/1"));
    await Bun.sleep(2 * fileClockMs);
    expect(script("a")).toBe("/1");
    rmSync(path);
    expect(script("a")).toBeUndefined();
  });
});

test.each<[SysName, number]>([
  ["openat", errno.EACCES],
  ["openat", errno.EMFILE],
  ["openat", errno.ENOENT],
  ["statx", errno.EIO],
  ["read", errno.EIO],
  ["readlinkat", errno.ENOMEM],
  ["faccessat", errno.EIO],
])("a search does not fail when %s does", (name, number) => {
  write("p/prefork.toml", naming("a"));
  write(".config/prefork/config.toml", naming("b"));
  configurations = new Configurations({ ...sys, [name]: () => -number });
  const { command, notices } = find("b");
  expect(command === undefined || name === "faccessat").toBe(true);
  for (const notice of notices) expect(notice).toStartWith("ignoring /");
});
