/** Programs that take a terminal over: an editor, a pager, a monitor, an interpreter, a password. */
import { expect, setDefaultTimeout, test } from "bun:test";
import {
  type LikenessOptions,
  type Seat,
  sharedSandbox,
  testLikeness,
} from "../helpers/likeness.ts";
import { findProgram, lacking, programs } from "../helpers/programs.ts";
import { type Answer, keys } from "../helpers/terminal.ts";

setDefaultTimeout(30_000);

const shared = sharedSandbox({
  asks: `stty -echo; printf 'password: '; read -r secret; stty echo; echo
    echo "$secret" > secret; echo thanks`,
});

/** How xterm is told to show its other screen, and the one with the shell again. */
const otherScreen = { on: "\x1b[?1049h", off: "\x1b[?1049l" };

/** These do not depend on the shell that starts them. */
const inBash: LikenessOptions = { shells: ["bash"] };

test("the programs that are driven are installed", () => {
  expect(lacking).toBe("");
});

/** Whether the shell's screen is back, and the terminal's settings are as at the last prompt. */
function isRestored({ shell }: Seat, settings: string): boolean {
  const { shown } = shell;
  const [on, off] = [shown.lastIndexOf(otherScreen.on), shown.lastIndexOf(otherScreen.off)];
  return on >= 0 && off > on && shell.settings() === settings;
}

const { vim, less, top } = programs;
const python = findProgram("python3");

if (vim) {
  const edit = `${vim} -N -u NONE -i NONE`;

  testLikeness(
    "vim: a file is written and saved",
    shared,
    async (seat) => {
      const { box, shell, prefix } = seat;
      box.write("work/text", "first\n");
      const settings = shell.settings();
      shell.enter(`${prefix}${edit} text`);
      await shell.until(/"text".* 1L/);
      shell.type(`osecond${keys.escape}`);
      await shell.until("second");
      shell.type("ggdw:wq\r");
      const { status } = await shell.prompt();
      const sight = { status, text: box.read("work/text"), isRestored: isRestored(seat, settings) };
      expect(sight).toEqual({ status: 0, text: "\nsecond\n", isRestored: true });
      return sight;
    },
    inBash,
  );

  testLikeness(
    "vim: Ctrl-Z gives the shell's screen back, fg the editor's",
    shared,
    async (seat) => {
      const { shell, prefix } = seat;
      const settings = shell.settings();
      shell.enter(`${prefix}${edit} -c 'call setline(1, "some text")'`);
      await shell.until("some text");
      const answers: Answer[] = [];
      for (let round = 0; round < 2; round++) {
        shell.type(keys.suspend);
        await shell.until(otherScreen.off);
        answers.push(await shell.prompt());
        expect(isRestored(seat, settings)).toBe(true);
        answers.push(await shell.run("jobs"));
        shell.enter("fg");
        await shell.until("some text");
      }
      shell.type(":cquit 9\r");
      answers.push({ ...(await shell.prompt()), text: "" });
      expect(isRestored(seat, settings)).toBe(true);
      return answers.map(({ status }) => status);
    },
    { shells: ["bash"], ways: ["waiting"] },
  );

  testLikeness(
    "vim: fills the screen, also when its size changes",
    shared,
    async (seat) => {
      const { shell, prefix } = seat;
      shell.enter(`${prefix}${edit} -c 'set noruler' -c 'call setline(1, range(1, 99))'`);
      await shell.until(/\b22\b(?!.*\b24\b)/s);
      shell.resize({ columns: 80, rows: 50 });
      await shell.until(/\b48\b/);
      shell.type(":qa!\r");
      return (await shell.prompt()).status;
    },
    inBash,
  );
}

if (less) {
  testLikeness(
    "less: shows a file page by page",
    shared,
    async (seat) => {
      const { shell, prefix } = seat;
      await shell.run("seq -f 'line %g' 200 > lines");
      const settings = shell.settings();
      shell.enter(`${prefix}${less} lines`);
      await shell.until(/line 23\b/);
      shell.type(" ");
      await shell.until(/line 46\b/);
      shell.type("G");
      await shell.until(/line 200\b/);
      shell.type("q");
      const { status } = await shell.prompt();
      return { status, isRestored: isRestored(seat, settings) };
    },
    inBash,
  );

  testLikeness(
    "less: shows what comes out of a pipe",
    shared,
    async (seat) => {
      const { shell, prefix } = seat;
      const settings = shell.settings();
      shell.enter(`seq -f 'line %g' 200 | ${prefix}${less}`);
      await shell.until(/line 23\b/);
      shell.type(" ");
      await shell.until(/line 46\b/);
      shell.type("q");
      const { status } = await shell.prompt();
      return { status, isRestored: isRestored(seat, settings) };
    },
    { shells: ["bash"], ways: ["waiting"] },
  );
}

if (top) {
  testLikeness(
    "top: runs until q is pressed",
    shared,
    async (seat) => {
      const { shell, prefix } = seat;
      const settings = shell.settings();
      shell.enter(`${prefix}${top} -d 100`);
      await shell.until(/PID.*COMMAND/);
      shell.type("q");
      const { status } = await shell.prompt();
      return { status, isSame: shell.settings() === settings };
    },
    inBash,
  );
}

// Not installed for this alone.
if (python) {
  testLikeness(
    "python: computes, outlives Ctrl-C, ends with a status",
    shared,
    async (seat) => {
      const { shell, prefix } = seat;
      const settings = shell.settings();
      shell.enter(`${prefix}${python} -q`);
      await shell.until(">>> ");
      shell.type("6 * 7\r");
      await shell.until("42\r\n");
      await shell.until(">>> ");
      shell.type(keys.interrupt);
      await shell.until("KeyboardInterrupt");
      await shell.until(">>> ");
      shell.type("exit(5)\r");
      const { status } = await shell.prompt();
      return { status, isSame: shell.settings() === settings };
    },
    inBash,
  );
}

testLikeness("a password does not show", shared, async ({ box, shell, prefix }) => {
  shell.enter(`${prefix}asks`);
  await shell.until("password: ");
  shell.type("s3cret\r");
  const answer = await shell.prompt();
  expect(answer.text).not.toContain("s3cret");
  expect(box.read("work/secret")).toBe("s3cret\n");
  return answer;
});
