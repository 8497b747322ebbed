/** Programs that take a terminal over: an editor, a pager, a monitor, an interpreter, a password. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { type Seat, sharedSandbox, testLikeness } from "../helpers/likeness.ts";
import { findProgram, lacking, programs } from "../helpers/programs.ts";
import { keys } from "../helpers/terminal.ts";

setDefaultTimeout(30_000);

const shared = sharedSandbox({
  asks: `stty -echo; printf 'password: '; read -r secret; stty echo; echo
    echo "$secret" > secret; echo thanks`,
});

/** How xterm is told to show its other screen, and the one with the shell again. */
const otherScreen = { on: "\x1b[?1049h", off: "\x1b[?1049l" };

/** These do not depend on the shell that starts them. */
const inBash = { shared, shells: ["bash"] } as const;
const waitingInBash = { ...inBash, ways: ["waiting"] } as const;

test("the programs that are driven are installed", () => {
  expect(lacking).toBe("");
});

/** How a program left its terminal: with the shell's screen, and with the settings it found. */
function leftBehind({ shell }: Seat, settings: string): { isOurScreen: boolean; isSame: boolean } {
  const { shown } = shell;
  const [on, off] = [shown.lastIndexOf(otherScreen.on), shown.lastIndexOf(otherScreen.off)];
  return { isOurScreen: on <= off, isSame: shell.settings() === settings };
}

const { vim, less, top } = programs;
const python = findProgram("python3");

if (vim) {
  const edit = `${vim} -N -u NONE -i NONE`;

  testLikeness("vim: a file is changed and saved", inBash, async (seat) => {
    const { box, shell, prefix } = seat;
    box.write("work/text", "first\n");
    const settings = shell.settings();
    shell.enter(`${prefix}${edit} text`);
    await shell.until("first");
    shell.type(`osecond${keys.escape}`);
    await shell.until("second");
    const { status } = await seat.press("ggdw:wq\r");
    const sight = { status, text: box.read("work/text"), ...leftBehind(seat, settings) };
    expect(sight).toEqual({ status: 0, text: "\nsecond\n", isOurScreen: true, isSame: true });
    return sight;
  });

  testLikeness("vim: Ctrl-Z shows the shell, fg the text again", waitingInBash, async (seat) => {
    const { box, shell, prefix } = seat;
    box.write("work/text", "some words\n");
    const settings = shell.settings();
    shell.enter(`${prefix}${edit} text`);
    await shell.until("some words");
    const sights = [];
    for (let round = 0; round < 2; round++) {
      const { status } = await seat.press(keys.suspend);
      sights.push(status, leftBehind(seat, settings), await shell.run("jobs"));
      shell.enter("fg");
      await shell.until("some words");
    }
    const { status } = await seat.press(":q\r");
    return [...sights, status, leftBehind(seat, settings)];
  });

  testLikeness("vim: fills the screen, also when its size changes", inBash, async (seat) => {
    const { shell, prefix } = seat;
    await shell.run("seq -f 'line %g' 99 > lines");
    shell.enter(`${prefix}${edit} lines`);
    await shell.until(/line 23\b/);
    shell.resize({ columns: 80, rows: 50 });
    await shell.until(/line 49\b/);
    return (await seat.press(":q\r")).status;
  });
}

if (less) {
  testLikeness("less: shows a file page by page", inBash, async (seat) => {
    const { shell, prefix } = seat;
    await shell.run("seq -f 'line %g' 200 > lines");
    const settings = shell.settings();
    shell.enter(`${prefix}${less} lines`);
    await shell.until(/line 23\b/);
    shell.type(" ");
    await shell.until(/line 46\b/);
    shell.type("G");
    await shell.until(/line 200\b/);
    const { status } = await seat.press("q");
    return { status, ...leftBehind(seat, settings) };
  });

  testLikeness("less: shows what comes out of a pipe", waitingInBash, async (seat) => {
    const { shell, prefix } = seat;
    const settings = shell.settings();
    shell.enter(`seq -f 'line %g' 200 | ${prefix}${less}`);
    await shell.until(/line 23\b/);
    shell.type(" ");
    await shell.until(/line 46\b/);
    const { status } = await seat.press("q");
    return { status, ...leftBehind(seat, settings) };
  });
}

if (top) {
  testLikeness("top: runs until q is pressed", inBash, async (seat) => {
    const { shell, prefix } = seat;
    const settings = shell.settings();
    shell.enter(`${prefix}${top} -d 100`);
    await shell.until(/PID.*COMMAND/);
    const { status } = await seat.press("q");
    return { status, ...leftBehind(seat, settings) };
  });
}

// Not installed for this alone.
if (python) {
  testLikeness("python: computes, outlives Ctrl-C, ends with a status", inBash, async (seat) => {
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
    const { status } = await seat.press("exit(5)\r");
    return { status, ...leftBehind(seat, settings) };
  });
}

testLikeness("a password does not show", { shared }, async (seat) => {
  const { box, shell, prefix } = seat;
  shell.enter(`${prefix}asks`);
  await shell.until("password: ");
  const answer = await seat.press("s3cret\r");
  expect(answer.text).not.toContain("s3cret");
  expect(box.read("work/secret")).toBe("s3cret\n");
  return answer;
});
