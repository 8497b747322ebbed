/**
 * The terminal's settings: a job that is killed leaves them as it found them, whoever was killed;
 * one that ends in peace leaves what it has set, as any command.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { prefixes, sharedSandbox, testLikeness, type Way } from "../helpers/likeness.ts";
import { signalProcess } from "../helpers/process.ts";
import { Sandbox } from "../helpers/sandbox.ts";
import { keys, Shell, shellNames } from "../helpers/terminal.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(30_000);

const scripts = {
  "goes-raw": "echo $$ > pid; stty raw -echo; echo ready; exec sleep 1000",
  "goes-silent": "echo $$ > pid; stty -echo; echo ready; exec sleep 1000",
  "goes-raw-and-ends": "stty raw -echo; exit $1",
};
const shared = sharedSandbox(scripts);

/** Who is killed, and the shell's `$?` then. */
const deaths: [victim: string, signal: NodeJS.Signals, status: number][] = [
  ["job", "SIGKILL", 137],
  ["job", "SIGTERM", 143],
  ["job", "SIGSEGV", 139],
  ["client", "SIGKILL", 137],
  ["daemon", "SIGKILL", 125],
];
const ways: Way[] = ["waiting", "onTerminal"];

describe.each(ways)("%s: a job in raw mode", (way) => {
  describe.each(shellNames)("at the prompt of %s", (shellName) => {
    test.each(deaths)("%s gets %s: all is as before", async (victim, signal, status) => {
      await using box = new Sandbox();
      for (const [name, text] of Object.entries(scripts)) {
        box.write(`bin/${name}`, `#!/bin/sh\n${text}\n`, 0o755);
      }
      const daemon = await box.serve();
      await using shell = await Shell.open(box, shellName);
      await shell.run("stty erase ^H; ulimit -c 0"); // not the settings of a new terminal
      const seenByJobs = await shell.run("stty -g");
      const seenAtPrompt = shell.settings();
      // The shell tells the client's pid: it becomes the client.
      shell.enter(`sh -c 'echo $$ > client; exec ${prefixes[way]}goes-raw'`);
      await shell.until(/ready\r?\n/);
      expect(shell.settings()).toMatch(/ -icanon .* -echo /s);
      const pids = {
        job: Number(box.read("work/pid")),
        client: Number(box.read("work/client")),
        daemon: daemon.pid,
      };
      signalProcess(pids[victim as keyof typeof pids], signal);
      expect((await shell.prompt()).status).toBe(status);
      await until("the settings are back", () => shell.settings() === seenAtPrompt);
      expect(await shell.run("stty -g")).toEqual(seenByJobs);
      const echoed = await shell.run("echo once");
      expect(echoed).toEqual({ text: "once\n", status: 0 });
    });
  });
});

test.each(ways)("%s: Ctrl-C where nothing is echoed brings the echo back", async (way) => {
  const { box } = shared();
  await using shell = await Shell.open(box, "dash");
  const settings = shell.settings();
  shell.enter(`${prefixes[way]}goes-silent`);
  await shell.until(/ready\r\n/);
  shell.type(keys.interrupt);
  expect((await shell.prompt()).status).toBe(130);
  expect(shell.settings()).toBe(settings);
});

testLikeness(
  "a setting made on purpose stays",
  shared,
  async ({ shell, prefix }) => {
    const answers = [await shell.run(`${prefix}stty erase ^H intr ^X -ixon`)];
    answers.push(await shell.run("stty -a"));
    expect(answers[1]?.text).toMatch(/intr = \^X;.* erase = \^H;.* -ixon /s);
    return answers;
  },
  { ways: ["waiting"] },
);

testLikeness(
  "so does a mess, if the job that made it is content",
  shared,
  async ({ shell, prefix }) => {
    const answers = [];
    for (const status of [0, 3]) {
      answers.push(await shell.run(`${prefix}goes-raw-and-ends ${status}`));
      answers.push(await shell.run("stty -a; stty sane"));
    }
    return answers;
  },
  { ways: ["waiting"], shells: ["bash", "dash"] },
);
