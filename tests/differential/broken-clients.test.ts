/**
 * That the comparison sees what it is made for: clients that are broken in one way each are taken
 * for pfc, and exactly that must be reported. Each is a Perl script that goes wrong and then becomes
 * the real client.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync } from "node:fs";
import { Sandbox } from "../helpers/sandbox.ts";
import { type Aspect, aspects, differences } from "./comparison.ts";
import { type Context, plain } from "./context.ts";
import { Launcher } from "./launcher.ts";

/** A bit of everything, so that something is there to go wrong. */
const context: Context = {
  ...plain,
  args: ["first", "\xff", "last"],
  environment: ["A=1", "B=\xff"],
  things: [
    { kind: "source", content: "input", hasWriter: true, isNonBlocking: false },
    { kind: "file", content: "", flags: "w", offset: 0, isUnlinked: false },
    { kind: "file", content: "", flags: "wa", offset: 0, isUnlinked: false },
    { kind: "file", content: "0123456789", flags: "rw", offset: 4, isUnlinked: false },
  ],
  descriptors: [0, 1, 2]
    .map((number) => ({ number, thing: number }))
    .concat([
      { number: 5, thing: 3 },
      { number: 6, thing: 3 },
    ]),
  acts: [
    { kind: "read", number: 0, count: 2 },
    { kind: "write", number: 1, bytes: "out" },
    { kind: "make", path: "{case}/made" },
  ],
  ending: { kind: "exit", code: 7 },
};
const killed: Context = { ...context, ending: { kind: "signal", signal: 15, surely: true } };

/** Goes on as the real client, which `$PFC` stands for. */
const goOn = 'exec { $PFC } "pfc", @ARGV;';
const reopened = (how: string): string =>
  `$^F = 100; open(my $new, "${how}", "/proc/self/fd/6"); POSIX::dup2(fileno $new, 6); ${goOn}`;

const doubled: Context = { ...context, environment: ["A=1", "A=2"] };

/** Runs the command itself, by the words given. */
const instead = (words: string): string => `splice @ARGV, 0, 4; exec ${words}, @ARGV;`;

/** What each does, and what is to be found. */
const clients: readonly (readonly [string, string, readonly Aspect[], Context?])[] = [
  ["drops an argument", `pop @ARGV; ${goOn}`, ["arguments"]],
  ["decodes arguments", `s/\\xff/\\xc3\\xbf/ for @ARGV; ${goOn}`, ["arguments"]],
  ["adds to the environment", `$ENV{C} = 1; ${goOn}`, ["environment"]],
  // As Perl does by itself.
  ["has each name only once", goOn, ["environment"], doubled],
  ["starts elsewhere", `chdir ".."; ${goOn}`, ["directory"]],
  ["has another umask", `umask 077; ${goOn}`, ["umask", "files"]],
  ["is nicer", `POSIX::nice(1); ${goOn}`, ["niceness"]],
  ["lowers a limit", `exec "/usr/bin/prlimit", "--locks=7", $PFC, @ARGV;`, ["limits"]],
  ["ignores a signal", `$SIG{USR1} = "IGNORE"; ${goOn}`, ["signals"]],
  [
    "blocks a signal",
    `POSIX::sigprocmask(POSIX::SIG_BLOCK, POSIX::SigSet->new(12)); ${goOn}`,
    ["signals"],
  ],
  ["leaks a descriptor", `$^F = 100; open(my $leak, "<", "/dev/null"); ${goOn}`, ["descriptors"]],
  ["closes a descriptor", `POSIX::close(6); ${goOn}`, ["descriptors"]],
  ["opens a file anew", reopened("+<"), ["descriptors"]],
  ["copies a file", `POSIX::dup2(1, 6); ${goOn}`, ["descriptors"]],
  ["reads ahead", `POSIX::read(0, my $byte, 1); ${goOn}`, ["acts", "things"]],
  ["moves the offset", `POSIX::lseek(5, 1, 0); ${goOn}`, ["descriptors", "things"]],
  [
    "makes the input non-blocking",
    `fcntl(STDIN, F_SETFL, fcntl(STDIN, F_GETFL, 0) | O_NONBLOCK); ${goOn}`,
    ["descriptors", "things"],
  ],
  [
    "appends",
    `open(my $out, ">&=", 1); fcntl($out, F_SETFL, O_WRONLY | O_APPEND); ${goOn}`,
    ["descriptors", "things"],
  ],
  ["says something", `syswrite STDERR, "hello\\n"; ${goOn}`, ["descriptors", "things", "files"]],
  ["leaves a file", `open(my $file, ">", "left"); close $file; ${goOn}`, ["files"]],
  ["ends with another status", `system { $PFC } "pfc", @ARGV; exit 0;`, ["end"]],
  ["tells a signal as a status", `system { $PFC } "pfc", @ARGV; exit 128 + $?;`, ["end"], killed],
  ["takes away a right", instead(`"/usr/bin/setpriv", "--no-new-privs", "--"`), ["credentials"]],
  ["runs another program", instead(`"$BOX/perl"`), ["arguments", "executable", "credentials"]],
  ["runs nothing", "exit 7;", ["end"]],
];

const box = new Sandbox();

const perl = Bun.which("perl") ?? "";

beforeAll(async () => {
  await box.serve();
  copyFileSync(perl, box.path("perl"));
});

afterAll(async () => {
  await box[Symbol.asyncDispose]();
});

test.each([...clients])("one that %s", async (_, script, expected, given = context) => {
  const head = `use Fcntl; use POSIX (); our $PFC = "${box.bin}/pfc"; our $BOX = "${box.directory}";`;
  const client = box.write("broken", `#!${perl}\n${head}\n${script}\n`, 0o755);
  await using launcher = new Launcher(box, { client });
  const found = differences(given, await launcher.runBoth(given));
  expect(found.map(({ aspect }) => aspect)).toEqual([...expected]);
});

test("one that does not end", async () => {
  const client = box.write("broken", `#!${perl}\nsleep 1000;\n`, 0o755);
  await using launcher = new Launcher(box, { client, hangTimeoutS: 1 });
  const { viaClient } = await launcher.runBoth(context);
  expect({ end: viaClient.end, report: viaClient.report }).toEqual({
    end: "hung",
    report: undefined,
  });
});

test("every aspect is covered", () => {
  const covered = new Set(clients.flatMap(([, , found]) => found));
  expect(aspects.filter((aspect) => !covered.has(aspect))).toEqual([]);
});
