/** `prefork allow` and `prefork commands`, each in a home of its own. */
import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { type Ended, ended, Sandbox } from "../helpers/sandbox.ts";

const projectText =
  '[commands.lint]\nbin = "eslint"\n\n[commands."fmt all"]\nscript = "tools/fmt.ts"\n';
const userText = '[commands.lint]\nbin = "other"\n[commands.mine]\nscript = "/mine.ts"\n';

/** A sandbox with a project at work/p, and nothing of the machine's configuration. */
class Home extends Sandbox {
  readonly project: string;
  readonly file: string;

  constructor(text: string | undefined = projectText) {
    super();
    for (const name of ["CONFIG", "STATE"]) {
      this.env[`XDG_${name}_HOME`] = this.path(name.toLowerCase());
    }
    this.project = this.path("work/p");
    mkdirSync(this.path("work/p/.git"), { recursive: true });
    mkdirSync(this.path("work/p/src"));
    this.file = this.path("work/p/prefork.toml");
    if (text !== undefined) this.write("work/p/prefork.toml", text);
  }

  /** Runs `prefork` in the project. */
  async here(...words: string[]): Promise<Ended> {
    return await this.run(["prefork", ...words], { cwd: this.path("work/p/src") });
  }

  /** What `prefork allow` prints. */
  get allowed(): string {
    const script = `${this.project}/tools/fmt.ts`;
    return `allowed ${this.file}\n  lint       bin eslint\n  "fmt all"  script ${script}\n`;
  }

  /** What is said about the project's file while it does not count. */
  notice(why: string): string {
    return `prefork: ignoring ${this.file}: ${why} (read it, then run 'prefork allow' there)\n`;
  }
}

test("a project's commands are listed once it was allowed, until it changes or is revoked", async () => {
  await using home = new Home();
  home.write("config/prefork/config.toml", userText);
  const user = home.path("config/prefork/config.toml");
  const gap = " ".repeat(`${user}:1  script /mine.ts`.length);
  const listedBefore = `add   built-in  ${gap}  -
lint  user      ${user}:1  bin other        -
mine  user      ${user}:3  script /mine.ts  -
`;
  const before = ended({ stdout: listedBefore, stderr: home.notice("it is not allowed") });
  expect(await home.here("commands")).toEqual(before);

  expect(await home.here("allow")).toEqual(ended({ stdout: home.allowed }));
  const width = Math.max(user.length, home.file.length) + 4;
  const rows = [
    ["add", "built-in", "", ""],
    ["lint", "project", `${home.file}:1`, "bin eslint"],
    ['"fmt all"', "project", `${home.file}:4`, `script ${home.project}/tools/fmt.ts`],
    ["mine", "user", `${user}:3`, "script /mine.ts"],
  ] as const;
  const target = Math.max(...rows.map(([, , , runs]) => runs.length)) + 2;
  const stdout = rows
    .map(([name, kind, from, runs]) =>
      [name.padEnd(11), kind.padEnd(10), from.padEnd(width), runs.padEnd(target), "-"].join(""),
    )
    .join("\n");
  expect(await home.here("commands")).toEqual(ended({ stdout: `${stdout}\n` }));

  home.write("work/p/prefork.toml", `${projectText}# more\n`);
  const changed = home.notice("it has changed since it was allowed");
  expect(await home.here("commands")).toEqual(ended({ stdout: listedBefore, stderr: changed }));
  home.write("work/p/prefork.toml", projectText);
  expect((await home.here("commands")).stderr).toBe("");

  const revoked = ended({ stdout: `revoked ${home.file}\n` });
  expect(await home.here("allow", "--revoke")).toEqual(revoked);
  expect(await home.here("commands")).toEqual(before);
  const again = ended({ stdout: `was not allowed: ${home.file}\n` });
  expect(await home.here("allow", "--revoke")).toEqual(again);
});

test("as JSON, on one line", async () => {
  await using home = new Home();
  await home.here("allow");
  home.write("work/q/prefork.toml", "[commands.x]\nbin = 'x'");
  mkdirSync(home.path("work/q/.git"));
  const { stdout, stderr, end } = await home.here("commands", "--json");
  expect([stderr, end, stdout.indexOf("\n")]).toEqual(["", 0, stdout.length - 1]);
  expect(JSON.parse(stdout)).toEqual({
    commands: [
      { name: "add", kind: "built-in" },
      { name: "lint", kind: "project", file: home.file, line: 1, bin: "eslint" },
      {
        name: "fmt all",
        kind: "project",
        file: home.file,
        line: 4,
        script: `${home.project}/tools/fmt.ts`,
      },
    ],
    notices: [],
  });
  const other = await home.run(["prefork", "commands", "--json"], { cwd: home.path("work/q") });
  expect(other.stderr).toBe("");
  expect(JSON.parse(other.stdout)).toEqual({
    commands: [{ name: "add", kind: "built-in" }],
    notices: [expect.stringContaining("q/prefork.toml: it is not allowed (read it")],
  });
});

test("the project is found from a directory by name, also through a link", async () => {
  await using home = new Home();
  symlinkSync(home.path("work/p/src"), home.path("work/link"));
  for (const directory of ["p", "p/", "./p/src", home.project, "link", "link/.", "p/src/.."]) {
    expect(await home.prefork("allow", directory)).toEqual(ended({ stdout: home.allowed }));
    expect((await home.here("commands")).stderr).toBe("");
    const { stdout } = await home.prefork("allow", "--revoke", "--", directory);
    expect(stdout).toBe(`revoked ${home.file}\n`);
  }
});

test("a file without commands", async () => {
  await using home = new Home("# nothing yet\n");
  const stdout = `allowed ${home.file}\nit names no commands\n`;
  expect(await home.here("allow")).toEqual(ended({ stdout }));
});

test("without XDG variables, state is kept below the home directory", async () => {
  await using home = new Home();
  const env = { XDG_STATE_HOME: undefined, XDG_CONFIG_HOME: undefined };
  await home.run(["prefork", "allow", "p"], { env });
  expect(readdirSync(home.path("work/.local/state/prefork/allowed"))).toHaveLength(1);
  expect((await home.here("commands")).stderr).toBe(home.notice("it is not allowed"));
});

test.each<{ what: string; text?: string; words: string[]; says: string; status?: number }>([
  { what: "two directories", words: ["p", "p"], says: "unexpected word 'p'", status: 2 },
  { what: "an option behind", words: ["p", "--revoke"], says: "unexpected word '--rev", status: 2 },
  { what: "an unknown option", words: ["--all"], says: "unknown option '--all'", status: 2 },
  { what: "no such directory", words: ["q"], says: "open q: no such file or directory" },
  { what: "a file", words: ["p/prefork.toml"], says: "open p/prefork.toml: not a directory" },
  { what: "an empty word", words: [""], says: "open : no such file or directory" },
  { what: "a directory without a file", words: ["../tmp"], says: "no prefork.toml in " },
  { what: "the same, to revoke", words: ["--revoke", "../tmp"], says: "no prefork.toml in " },
  {
    what: "a file that is not TOML",
    text: "[commands.x]\nbin = ",
    words: ["p"],
    says: "/work/p/prefork.toml:2: Missing value",
  },
  {
    what: "a file with a key that is unknown",
    text: "[commands.x]\nbin = 'x'\nspare = 1",
    words: ["p"],
    says: "/work/p/prefork.toml:3: commands.x.spare: unknown key (allowed: script, bin, preload,",
  },
])("allow refuses $what in one line", async ({ text, words, says, status = 125 }) => {
  await using home = new Home(text);
  const { stdout, stderr, end } = await home.prefork("allow", ...words);
  expect(stdout).toBe("");
  expect(stderr).toContain(says);
  expect(stderr).toMatch(/^prefork: [^\n]+\n$/);
  expect(end).toBe(status);
  expect(() => readdirSync(home.path("state"))).toThrow("ENOENT");
});

test("what is wrong with a file is told by commands, too, and nothing acts on the terminal", async () => {
  await using home = new Home('[commands."\\u001b[2J"]\nbin = ""\n');
  const { stdout, stderr, end } = await home.here("commands");
  expect([stdout, end]).toEqual(["add  built-in      -\n", 0]);
  expect(stderr).toBe(
    `prefork: ignoring ${home.file}:2: commands."\\u001b[2J".bin: "" is not allowed (a name in node_modules/.bin is)\n`,
  );
});

test("in a directory that was removed", async () => {
  await using home = new Home();
  const gone = home.path("gone");
  mkdirSync(gone);
  const script = `rmdir ${gone}; prefork commands; prefork allow; echo $?`;
  const { stdout, stderr } = await home.run(["sh", "-c", script], { cwd: gone });
  expect(stdout).toBe("125\n");
  const line = "prefork: the working directory has no path any more (change to another)\n";
  expect(stderr).toBe(line + line);
});

test("where the state cannot be kept, nothing is allowed", async () => {
  await using home = new Home();
  home.write("state", "no directory");
  const { stderr, end } = await home.here("allow");
  expect(stderr).toMatch(/^prefork: \w+ \/[^\n]+\/state\/prefork[^\n]*: not a directory\n$/);
  expect(end).toBe(125);
  rmSync(home.path("state"));
  expect((await home.here("commands")).stderr).toBe(home.notice("it is not allowed"));
});
