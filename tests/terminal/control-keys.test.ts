/** Ctrl-C, Ctrl-\ and Ctrl-Z at a shell's prompt, and the shell's job control. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { type Seat, sharedSandbox, testLikeness } from "../helpers/likeness.ts";
import {
  childrenOf,
  descendantsOf,
  isGone,
  processStat,
  signalProcess,
  statusField,
} from "../helpers/process.ts";
import type { Sandbox } from "../helpers/sandbox.ts";
import { type Answer, keys, Shell, shellNames } from "../helpers/terminal.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(30_000);

const shared = sharedSandbox({
  // Waits to be ended; its pid is in a file.
  waits: "echo $$ > pid; echo ready; exec sleep 1000",
  // The shell itself says nothing about the sleep that gets the signal too.
  "ends-with-7-on-INT": `exec 2>/dev/null; trap 'echo got INT; exit 7' INT; echo ready
    while :; do sleep 0.01; done`,
  "ignores-TSTP": `trap "" TSTP; echo ready; read line; echo "got $line"`,
  "stops-itself": "echo ready; kill -$1 $$; echo continued",
  copies: "echo ready; exec cat",
  reads: `echo ready; read line; echo "got $line"`,
});

const anyWay = { shared };
const waiting = { shared, ways: ["waiting"] } as const;

function pidIn(box: Sandbox): number {
  return Number(box.read("work/pid"));
}

async function untilState(pid: number, state: "S" | "T"): Promise<void> {
  await until(`${pid} is in state ${state}`, () => processStat(pid)?.state === state);
}

/** Waits until the job is gone, and its shell knows. */
async function untilForgotten({ shell }: Seat, job: number): Promise<void> {
  await until("it is gone", () => isGone(job));
  await until("there are no jobs", async () => (await shell.run("jobs")).text === "");
}

testLikeness("Ctrl-C ends the job by SIGINT", anyWay, async (seat) => {
  await seat.start("waits");
  const answer = await seat.press(keys.interrupt);
  expect(answer.status).toBe(130);
  await until("it is gone", () => isGone(pidIn(seat.box)));
  return answer;
});

testLikeness("Ctrl-C ends the shell's script, too", waiting, async (seat) => {
  await seat.startScript(`${seat.prefix}waits\necho after\n`);
  const answer = await seat.press(keys.interrupt);
  expect(answer.status).toBe(130);
  return answer;
});

testLikeness(
  "a script goes on after a job that makes its own of Ctrl-C",
  // Other shells end at once, and do not wait for what the job has to say.
  { shared, shells: ["bash"], ways: ["waiting"] },
  async (seat) => {
    await seat.startScript(`${seat.prefix}ends-with-7-on-INT\necho "after $?"\n`);
    // bash makes up its mind by how the job ends, if it waits for it already.
    const script = seat.shell.foregroundGroup ?? 0;
    const handled = (): bigint => BigInt(`0x${statusField(script, "SigCgt")}`);
    await until("bash waits", () => (handled() & (1n << BigInt(constants.signals.SIGINT - 1))) > 0);
    const answer = await seat.press(keys.interrupt);
    expect(answer.text).toEndWith("got INT\nafter 7\n");
    return answer;
  },
);

testLikeness("Ctrl-C can be caught by the script around the job", waiting, async (seat) => {
  await seat.startScript(`trap 'echo caught' INT\n${seat.prefix}waits\necho "after $?"\n`);
  return await seat.press(keys.interrupt);
});

testLikeness("Ctrl-C is the job's to handle", anyWay, async (seat) => {
  await seat.start("ends-with-7-on-INT");
  const answer = await seat.press(keys.interrupt);
  expect(answer.text).toContain("got INT");
  expect(answer.status).toBe(7);
  return answer;
});

testLikeness("Ctrl-C ends a whole pipeline", waiting, async (seat) => {
  await seat.start("waits | cat");
  return await seat.press(keys.interrupt);
});

testLikeness("Ctrl-\\ ends the job by SIGQUIT", anyWay, async (seat) => {
  await seat.shell.run("ulimit -c 0");
  await seat.start("waits");
  const answer = await seat.press(keys.quit);
  expect(answer.status).toBe(131);
  await until("it is gone", () => isGone(pidIn(seat.box)));
  return answer;
});

testLikeness("Ctrl-D ends the input, for once", anyWay, async (seat) => {
  const { shell, prefix } = seat;
  await seat.start(`copies; ${prefix}copies`);
  shell.type("one\r");
  await shell.until("one\r\none\r\n");
  shell.type(keys.endOfFile);
  await shell.until("ready\r\n");
  shell.type(`two${keys.endOfFile}`);
  await shell.until("twotwo");
  return await seat.press(keys.endOfFile);
});

testLikeness("Ctrl-Z stops the job, fg continues it, again and again", waiting, async (seat) => {
  const { shell } = seat;
  await seat.start("waits");
  const job = pidIn(seat.box);
  const answers: Answer[] = [];
  for (let round = 0; round < 3; round++) {
    answers.push(await seat.press(keys.suspend));
    await untilState(job, "T");
    answers.push(await shell.run("jobs"));
    shell.enter("fg");
    await untilState(job, "S");
  }
  answers.push(await seat.press(keys.interrupt));
  return answers;
});

testLikeness("a stopped job that is continued reads on", waiting, async (seat) => {
  const { shell } = seat;
  await seat.start("reads");
  const answers = [await seat.press(keys.suspend)];
  shell.enter("fg");
  await shell.until("reads");
  shell.type("this\r");
  answers.push(await shell.prompt());
  expect(answers.at(-1)?.text).toContain("got this\n");
  return answers;
});

testLikeness(
  "Ctrl-Z and bg: the job goes on in the background, kill %1 ends it",
  waiting,
  async (seat) => {
    const { shell } = seat;
    await seat.start("waits");
    const job = pidIn(seat.box);
    const answers = [await seat.press(keys.suspend)];
    await untilState(job, "T");
    // zsh loses its prompt when it hears that its job goes on while it prints it.
    const goesOn = `until grep -q 'State:.S' /proc/${job}/status; do sleep 0.01; done`;
    const answer = await shell.run(`bg; ${goesOn}`);
    answers.push({ ...answer, text: answer.text.replaceAll(String(job), "JOB") });
    answers.push(await shell.run("jobs"));
    await shell.run("kill %1");
    await untilForgotten(seat, job);
    return answers;
  },
);

testLikeness(
  "kill %1 ends a stopped job, and the prompt is as before",
  // A stopped process acts on SIGTERM when it is continued: these shells see to that.
  { shared, shells: ["bash", "zsh"], ways: ["waiting"] },
  async (seat) => {
    const { shell } = seat;
    const settings = shell.settings();
    await seat.start("waits");
    await seat.press(keys.suspend);
    await shell.run("kill %1");
    await until("it is gone", () => isGone(pidIn(seat.box)));
    await until("nobody is left", () => childrenOf(shell.process.pid).length === 0);
    return { isSame: shell.settings() === settings };
  },
);

testLikeness("a job started in the background is fetched with fg", waiting, async (seat) => {
  const { shell } = seat;
  const settings = await shell.run("stty -a");
  await seat.start("waits &");
  shell.enter("fg");
  await until("it is in front", () => shell.foregroundGroup !== shell.process.pid);
  const { status } = await seat.press(keys.interrupt);
  return { status, isSame: (await shell.run("stty -a")).text === settings.text };
});

testLikeness("Ctrl-Z stops a whole pipeline", waiting, async (seat) => {
  const { shell } = seat;
  await seat.start("waits | cat");
  const job = pidIn(seat.box);
  const answers = [await seat.press(keys.suspend)];
  await untilState(job, "T");
  shell.enter("fg");
  await untilState(job, "S");
  answers.push(await seat.press(keys.interrupt));
  return answers;
});

testLikeness("Ctrl-Z means nothing to a job that ignores it", anyWay, async (seat) => {
  await seat.start("ignores-TSTP");
  seat.shell.type(`${keys.suspend}line\r`);
  const answer = await seat.shell.prompt();
  expect(answer.text).toContain("got line\n");
  return answer;
});

for (const signal of ["TSTP", "STOP"]) {
  testLikeness(
    `a job that stops itself with SIG${signal} gives the prompt back`,
    waiting,
    async (seat) => {
      const { shell } = seat;
      await seat.start(`stops-itself ${signal}`);
      const answers = [await shell.prompt(), await shell.run("jobs"), await shell.run("fg")];
      expect(answers.at(-1)?.text).toContain("continued\n");
      return answers;
    },
  );
}

testLikeness("Ctrl-Z stops a whole script, fg continues it", waiting, async (seat) => {
  await seat.startScript(`${seat.prefix}waits\necho after\n`);
  const job = pidIn(seat.box);
  const answers = [await seat.press(keys.suspend)];
  await until("all are stopped", () =>
    descendantsOf(seat.shell.process.pid).every(({ state }) => state === "T"),
  );
  seat.shell.enter("fg");
  await untilState(job, "S");
  answers.push(await seat.press(keys.interrupt));
  return answers;
});

// At a terminal, Bun's own start hides whether it was ignored: the shell that stays is the witness.
testLikeness("Ctrl-C means nothing to a job that was started so", anyWay, async (seat) => {
  const { shell, prefix } = seat;
  shell.enter(`(trap "" INT; ${prefix}reads; exit $?)`);
  await shell.until("ready\r\n");
  const answer = await seat.press(`${keys.interrupt}line\r`);
  expect(answer.text).toContain("got line\n");
  return answer;
});

testLikeness("Ctrl-\\ means nothing to a job that was started so", anyWay, async (seat) => {
  const { shell, prefix } = seat;
  shell.enter(`(trap "" QUIT; ${prefix}reads)`);
  await shell.until("ready\r\n");
  const answer = await seat.press(`${keys.quit}line\r`);
  expect(answer.text).toContain("got line\n");
  return answer;
});

test("what is typed is not for a job in the background", async () => {
  await using shell = await Shell.open(shared().box, "bash");
  await shell.run("pfc -w copies > copied 2>&1 &");
  await until("it runs", () => existsSync(shared().box.path("work/copied")));
  for (const word of ["one", "two", "three"]) {
    expect((await shell.run(`echo ${word}`)).text).toStartWith(`${word}\n`);
  }
});

test.each(shellNames)("%s: Ctrl-C does not reach a job that nobody waits for", async (name) => {
  const { box } = shared();
  await using shell = await Shell.open(box, name);
  shell.enter("pfc waits");
  await shell.until("ready\r\n");
  const job = pidIn(box);
  for (const key of [keys.interrupt, keys.quit, keys.suspend]) shell.type(key);
  await shell.run("true");
  await until("it goes on", () => processStat(job)?.state === "S");
  signalProcess(job, "SIGKILL");
});
