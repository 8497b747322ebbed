/** What a job finds out about its terminal, and its size when that changes. */
import { expect, setDefaultTimeout } from "bun:test";
import { sharedSandbox, testLikeness } from "../helpers/likeness.ts";
import { keys } from "../helpers/terminal.ts";

setDefaultTimeout(30_000);

const shared = sharedSandbox({
  "tells-terminals": `for fd in 0 1 2; do test -t $fd && echo $fd is one >> seen; done
    test -s seen && cat seen; rm -f seen`,
  "tells-size": "stty size; tput cols; tput lines",
  "tells-changes": `trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done`,
  "waits-for-line": "echo ready; read line; stty size",
});

const anyWay = { shared };
const waiting = { shared, ways: ["waiting"] } as const;

testLikeness("stdin, stdout and stderr are terminals", anyWay, async ({ shell, prefix }) => {
  const answer = await shell.run(`${prefix}tells-terminals`);
  expect(answer.text).toBe("0 is one\n1 is one\n2 is one\n");
  return answer;
});

testLikeness("each of them may be something else", waiting, async ({ shell, prefix }) => {
  const lines = ["$ </dev/null", "$ 2>/dev/null", "$ | cat", "echo | $ 2>&1 | cat", "$ <&-"];
  const answers = [];
  for (const line of lines) {
    answers.push(await shell.run(line.replace("$", `${prefix}tells-terminals`)));
  }
  return answers;
});

testLikeness("it is the shell's own terminal", waiting, async ({ shell, prefix }) => {
  const answer = await shell.run(`${prefix}tty`);
  expect(answer.text).toBe(`${shell.path}\n`);
  return answer.text.replace(shell.path, "the shell's own");
});

testLikeness("the size is the terminal's", anyWay, async ({ shell, prefix }) => {
  await shell.run("stty columns 97 rows 31");
  const answer = await shell.run(`${prefix}tells-size`);
  expect(answer.text).toBe("31 97\n97\n31\n");
  return answer;
});

testLikeness("the job learns of a new size at once", anyWay, async (seat) => {
  const { shell } = seat;
  await seat.start("tells-changes");
  const sizes = ["40 100", "5 20", "43 132"];
  for (const size of sizes) {
    const [rows = 0, columns = 0] = size.split(" ").map(Number);
    shell.resize({ columns, rows });
    await shell.until(`${size}\r\n`);
  }
  return (await seat.press(keys.interrupt)).status;
});

testLikeness("a job that was stopped finds the size as it is now", waiting, async (seat) => {
  const { shell } = seat;
  await seat.start("waits-for-line");
  await seat.press(keys.suspend);
  shell.resize({ columns: 66, rows: 22 });
  shell.enter("fg");
  await shell.until("waits-for-line");
  const answer = await seat.press("\n");
  expect(answer.text).toEndWith("22 66\n");
  return answer;
});
