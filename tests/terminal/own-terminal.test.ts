/** `--tty`: a job with a terminal of its own, and what is carried between it and the caller's. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { sharedSandbox, testLikeness } from "../helpers/likeness.ts";
import { descriptorsOf, processStat, signalProcess } from "../helpers/process.ts";
import { ended } from "../helpers/sandbox.ts";
import { keys, Shell } from "../helpers/terminal.ts";
import { until } from "../helpers/wait.ts";

setDefaultTimeout(30_000);

const shared = sharedSandbox({
  waits: "echo $$ > pid; echo ready; exec sleep 1000",
  "resizes-tty": "tty; stty rows 7 < /dev/tty; stty size; echo said > /dev/tty",
  "closes-terminal": `echo $$ > pid; echo ready; exec </dev/null >/dev/null 2>&1
    read go < gate; exec > /dev/tty; echo back; exit 5`,
  "takes-bytes": "stty raw -echo; echo ready; head -c $1 > taken; stty sane",
  "hears-hangup": `trap 'echo heard > hangup; exit' HUP; echo ready
    while :; do sleep 0.01; done`,
  "leaves-process": "setsid sleep 1000 & echo $! > left; echo done; exit 6",
  reads: `read line; echo "got $line"`,
});

/** These do not depend on the shell that starts them. */
const inBash = { shared, shells: ["bash"] } as const;
const onTerminal = { ...inBash, ways: ["onTerminal"] } as const;

function openBash(): Promise<Shell> {
  return Shell.open(shared().box, "bash");
}

/** Starts a job that says `ready` in a terminal of its own; the client's pid is in a file. */
async function start(shell: Shell, command: string): Promise<void> {
  shell.enter(`sh -c 'echo $$ > client; exec pfc -t ${command}'`);
  await shell.until("ready\r\n");
}

function pidIn(file: "pid" | "client"): number {
  return Number(shared().box.read(`work/${file}`));
}

/** The lines `line 1` to `line COUNT`. */
function lines(count: number): string {
  return Array.from({ length: count }, (_, index) => `line ${index + 1}\n`).join("");
}

test("it is a new one, and what /dev/tty means", async () => {
  await using shell = await openBash();
  const { text, status } = await shell.run("pfc -t resizes-tty");
  const [path, ...rest] = text.split("\n");
  expect(path).toMatch(/^\/dev\/pts\/\d+$/);
  expect(path).not.toBe(shell.path);
  expect({ rest, status }).toEqual({ rest: ["7 80", "said", ""], status: 0 });
  expect((await shell.run("stty size")).text).toBe("24 80\n");
});

test("the job leads a session in its foreground", async () => {
  await using shell = await openBash();
  await start(shell, "waits");
  const job = pidIn("pid");
  expect(processStat(job)).toMatchObject({ session: job, group: job, foreground: job });
  expect(processStat(job)?.terminal).not.toBe(processStat(shell.process.pid)?.terminal);
  shell.type(keys.interrupt);
  expect((await shell.prompt()).status).toBe(130);
});

test("it starts with the caller's settings; the caller's is raw meanwhile", async () => {
  await using shell = await openBash();
  await shell.run("stty erase ^H intr ^X -ixon");
  const atPrompt = shell.settings();
  const { text: forJobs } = await shell.run("stty -a");
  expect((await shell.run("pfc -t stty -a")).text).toBe(forJobs);
  await start(shell, "waits");
  const settings = shell.settings();
  for (const name of ["-icanon", "-isig", "-echo", "-opost", "-icrnl", "-ixon", "-iexten"]) {
    expect(settings).toMatch(new RegExp(`[\\s]${name}[\\s]`));
  }
  shell.type("\x18"); // the interrupt character of this terminal
  expect((await shell.prompt()).status).toBe(130);
  expect(shell.settings()).toBe(atPrompt);
});

test("what the job does to its settings stays there", async () => {
  await using shell = await openBash();
  const { text } = await shell.run("stty -a");
  expect((await shell.run("pfc -t sh -c 'stty raw -echo; exit 3'")).status).toBe(3);
  expect((await shell.run("stty -a")).text).toBe(text);
});

testLikeness("jobs end as they do", onTerminal, async ({ shell, prefix }) => {
  await shell.run("ulimit -c 0");
  const answers = [];
  for (const command of ["true", "sh -c 'exit 7'", "sh -c 'kill -TERM $$'", "sh -c 'kill -9 $$'"]) {
    answers.push(await shell.run(`${prefix}${command}`));
  }
  for (const command of ["no-such-command", "/etc/passwd"]) {
    answers.push((await shell.run(`${prefix}${command}`)).status);
  }
  return answers;
});

testLikeness("a shell inside has jobs of its own", onTerminal, async (seat) => {
  const { shell, prefix } = seat;
  // Its prompt is that of the shell outside.
  const answers = [await shell.run(`${prefix}bash --norc --noprofile -i`)];
  answers.push(await shell.run("(exit 3)"));
  for (const key of [keys.interrupt, keys.suspend]) {
    shell.enter("waits");
    await shell.until("ready\r\n");
    answers.push(await seat.press(key));
  }
  answers.push(await shell.run("jobs"));
  shell.enter("fg");
  await until("it goes on", () => processStat(pidIn("pid"))?.state === "S");
  answers.push(await seat.press(keys.interrupt));
  answers.push(await shell.run("exit 7"));
  expect(answers.at(-1)).toEqual({ text: "exit\n", status: 7 });
  return answers;
});

test("a client in the background waits until it is fetched", async () => {
  await using shell = await openBash();
  await shell.run("pfc -t waits &");
  await until("it is stopped", async () => (await shell.run("jobs")).text.includes("Stopped"));
  const settings = shell.settings();
  shell.enter("fg");
  await shell.until("ready\r\n");
  shell.type(keys.interrupt);
  expect((await shell.prompt()).status).toBe(130);
  expect(shell.settings()).toBe(settings);
});

test("a client that is stopped from outside puts the terminal in order, and takes it again", async () => {
  await using shell = await openBash();
  const settings = shell.settings();
  await start(shell, "waits");
  const raw = shell.settings();
  signalProcess(pidIn("client"), "SIGTSTP");
  expect((await shell.prompt()).status).toBe(148);
  expect(shell.settings()).toBe(settings);
  shell.enter("fg");
  await until("it is raw again", () => shell.settings() === raw);
  shell.type(keys.interrupt);
  expect((await shell.prompt()).status).toBe(130);
  expect(shell.settings()).toBe(settings);
});

testLikeness("a line that is typed ahead is not lost", inBash, async ({ shell, prefix }) => {
  shell.type(`${prefix}reads\nahead\n`);
  return (await shell.until(/got \w+/))[0];
});

testLikeness("many bytes come in complete", inBash, async (seat) => {
  const { box, shell } = seat;
  // More than any buffer on the way; all values but those that shells and tests give a meaning.
  const text = Array.from({ length: 200_000 }, (_, index) =>
    String.fromCharCode((index * 7) % 128),
  );
  const bytes = text.join("");
  await seat.start(`takes-bytes ${bytes.length}`);
  shell.type(bytes);
  const { status } = await shell.prompt();
  return { status, isSame: box.read("work/taken") === bytes };
});

testLikeness("much output comes out complete", inBash, async ({ shell, prefix }) => {
  const count = 250_000;
  const { text, status } = await shell.run(`${prefix}seq -f 'line %.0f' ${count}`, 25_000);
  return { status, size: text.length, isSame: text === lines(count) };
});

test("much output goes into a pipe or a file complete", async () => {
  const { box } = shared();
  await using shell = await openBash();
  const count = 200_000;
  const expected = lines(count).replaceAll("\n", "\r\n");
  for (const where of ["| cat > out", "> out"]) {
    const { status } = await shell.run(`pfc -t seq -f 'line %.0f' ${count} ${where}`, 25_000);
    expect(status).toBe(0);
    expect(box.read("work/out") === expected).toBe(true);
  }
});

test("the last output is not lost, 100 times", async () => {
  shared().box.write("work/script", `for i in $(seq 100); do pfc -t printf 'line %d\\n' $i; done`);
  await using shell = await openBash();
  expect(await shell.run("sh ./script", 25_000)).toEqual({ text: lines(100), status: 0 });
});

testLikeness("a reader that leaves is no reason to hang", inBash, async ({ shell, prefix }) => {
  return await shell.run(`${prefix}yes | head -n 1; ${prefix}seq 100000 | head -n 2`);
});

testLikeness("nor is a stdout that is closed", onTerminal, async ({ shell, prefix }) => {
  return (await shell.run(`${prefix}sh -c 'echo out 2>/dev/null; exit 3' >&-`)).status;
});

testLikeness("nor is a process that is left behind", inBash, async ({ box, shell, prefix }) => {
  const answer = await shell.run(`${prefix}leaves-process`);
  signalProcess(Number(box.read("work/left")), "SIGKILL");
  return answer;
});

testLikeness("one in the other", onTerminal, async (seat) => {
  const { shell, prefix } = seat;
  const answers = [await shell.run(`${prefix}${prefix}sh -c 'stty size; exit 4'`)];
  await seat.start(`${prefix}waits`);
  answers.push(await seat.press(keys.interrupt));
  return answers.map(({ status }) => status);
});

test("a job may close its terminal and open it again", async () => {
  const { box } = shared();
  await box.bash("rm -f gate; mkfifo gate");
  await using shell = await openBash();
  await start(shell, "closes-terminal");
  const isOpen = (path: string): boolean => path.startsWith("/dev/pts/");
  const job = pidIn("pid");
  await until("it is closed", () => ![...descriptorsOf(job).values()].some(isOpen));
  await box.bash("echo go > gate");
  expect(await shell.prompt()).toEqual({ text: "back\n", status: 5 });
});

testLikeness("a window that is closed hangs the job up", inBash, async (seat) => {
  const { box, shell } = seat;
  await box.bash("rm -f hangup");
  await seat.start("hears-hangup");
  shell.close();
  await until("it has heard", () => existsSync(box.path("work/hangup")));
});

test("without a daemon nothing happens to the terminal", async () => {
  await using shell = await openBash();
  const settings = shell.settings();
  const { text, status } = await shell.run("PFD_SOCKET=/no/such pfc -t true");
  expect(text).toStartWith("pfc: ");
  expect(status).toBe(125);
  expect(shell.settings()).toBe(settings);
});

test("-t without a terminal on stdin: a warning, and none for the job", async () => {
  const { box } = shared();
  const run = await box.run(["pfc", "-t", "sh", "-c", "tty; cat"], { stdin: "input\n" });
  expect(run.stderr).toMatch(/^pfc: .*terminal.*\n$/);
  expect(run).toMatchObject({ stdout: "not a tty\ninput\n", end: 0 });
  await using shell = await openBash();
  const { text, status } = await shell.run("pfc -t tty < /dev/null");
  expect(text).toMatch(/^pfc: .*terminal.*\nnot a tty\n$/);
  expect(status).toBe(1);
});

test("-tt without a terminal on stdin: the job has one", async () => {
  const { box } = shared();
  const run = await box.pfc("-tt", "tty");
  expect(run).toMatchObject(ended({ stdout: expect.stringMatching(/^\/dev\/pts\/\d+\r\n$/) }));
  // What is read is echoed by the new terminal, and its end is Ctrl-D there.
  const echoed = await box.run(["pfc", "-tt", "cat"], { stdin: "a\nb\n" });
  expect(echoed.stdout.replaceAll("\r", "").split("\n").sort()).toEqual(["", "a", "a", "b", "b"]);
  expect(echoed.end).toBe(0);
});
