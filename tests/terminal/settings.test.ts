/**
 * The terminal's settings: a job that is killed leaves them as it found them, whoever was killed;
 * one that ends by itself leaves what it has set, as any command.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  addScripts,
  prefixes,
  sharedSandbox,
  testLikeness,
  type Way,
} from "../helpers/likeness.ts";
import { signalProcess } from "../helpers/process.ts";
import { Sandbox } from "../helpers/sandbox.ts";
import { keys, Shell, type ShellName, shellNames } from "../helpers/terminal.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(30_000);

const scripts = {
  "goes-raw": "echo $$ > job; stty raw -echo; echo ready; exec sleep 1000",
  "goes-silent": "stty -echo; echo ready; exec sleep 1000",
  "goes-raw-and-ends": "stty raw -echo; exit $1",
};
const shared = sharedSandbox(scripts);

const ways: readonly Way[] = ["waiting", "onTerminal"];

/** A command line that runs the job in raw mode, and tells the client's pid: it becomes the client. */
function goRaw(way: Way): string {
  return `sh -c 'echo $$ > client; exec ${prefixes[way]}goes-raw'`;
}

/** Who is killed, and the shell's `$?` then. */
const deaths: [victim: "job" | "client" | "daemon", signal: NodeJS.Signals, status: number][] = [
  ["job", "SIGKILL", 137],
  ["job", "SIGTERM", 143],
  ["job", "SIGSEGV", 139],
  ["client", "SIGKILL", 137],
  ["daemon", "SIGKILL", 125],
];

/** A shell whose terminal has not the settings of a new one. */
async function openShell(box: Sandbox, name: ShellName): Promise<Shell> {
  const shell = await Shell.open(box, name);
  await shell.run("stty erase ^H; ulimit -c 0");
  return shell;
}

/** The settings at a shell's prompt after the direct command was killed: not all shells mend them. */
async function settingsAfterDirectDeath(box: Sandbox, name: ShellName): Promise<string> {
  await using shell = await openShell(box, name);
  shell.enter("goes-raw");
  await shell.until(/ready\r?\n/);
  signalProcess(Number(box.read("work/job")), "SIGKILL");
  await shell.prompt();
  return shell.settings();
}

describe.each(ways)("%s: a job in raw mode", (way) => {
  describe.each(deaths)("%s gets %s", (victim, signal, status) => {
    // zsh makes its editor's settings out of those it finds, and may be faster than the daemon.
    const isRace = victim === "client" && way === "onTerminal";
    const names = shellNames.filter((name) => !(isRace && name === "zsh"));

    test.each(names)("at the prompt of %s", async (name) => {
      await using box = new Sandbox();
      addScripts(box, scripts);
      const daemon = await box.serve();
      await using shell = await openShell(box, name);
      const seenByJobs = await shell.run("stty -g");
      const seenAtPrompt = shell.settings();
      shell.enter(goRaw(way));
      await shell.until(/ready\r?\n/);
      expect(shell.settings()).toMatch(/ -icanon .* -echo /s);
      const pid = victim === "daemon" ? daemon.pid : Number(box.read(`work/${victim}`));
      signalProcess(pid, signal);
      expect((await shell.prompt()).status).toBe(status);
      if (victim === "client") {
        const good = [seenAtPrompt];
        // The shell does not wait for the daemon: it may take its terminal back as it finds it.
        if (way === "waiting") good.push(await settingsAfterDirectDeath(box, name));
        await until("the settings are back", () => good.includes(shell.settings()));
        if (shell.settings() !== seenAtPrompt) return;
      }
      expect(shell.settings()).toBe(seenAtPrompt);
      expect(await shell.run("stty -g")).toEqual(seenByJobs);
      expect(await shell.run("echo once")).toEqual({ text: "once\n", status: 0 });
    });

    // What a script's shell shows: it does nothing about its terminal.
    test("in a script", async () => {
      await using box = new Sandbox();
      addScripts(box, scripts);
      const daemon = await box.serve();
      box.write("work/script", `${goRaw(way)}\necho "ended with $?"\nread line\n`);
      await using shell = await openShell(box, "dash");
      const settings = shell.settings();
      shell.enter("sh ./script");
      await shell.until(/ready\r?\n/);
      const pid = victim === "daemon" ? daemon.pid : Number(box.read(`work/${victim}`));
      signalProcess(pid, signal);
      await shell.until(`ended with ${status}`);
      await until("the settings are back", () => shell.settings() === settings);
    });
  });
});

test.each(ways)("%s: Ctrl-C where nothing is echoed brings the echo back", async (way) => {
  await using shell = await openShell(shared().box, "dash");
  const settings = shell.settings();
  shell.enter(`${prefixes[way]}goes-silent`);
  await shell.until(/ready\r\n/);
  shell.type(keys.interrupt);
  expect((await shell.prompt()).status).toBe(130);
  expect(shell.settings()).toBe(settings);
});

const waiting = { shared, ways: ["waiting"] } as const;

testLikeness("a setting made on purpose stays", waiting, async ({ shell, prefix }) => {
  const answers = [await shell.run(`${prefix}stty erase ^H intr ^X -ixon`)];
  answers.push(await shell.run("stty -a"));
  expect(answers[1]?.text).toMatch(/intr = \^X;.* erase = \^H;.* -ixon /s);
  return answers;
});

testLikeness("so does what a job has left by itself", waiting, async ({ shell, prefix }) => {
  const answers = [];
  for (const status of [0, 3]) {
    answers.push(await shell.run(`${prefix}goes-raw-and-ends ${status}`));
    answers.push(await shell.run("stty -a; stty sane"));
  }
  return answers;
});
