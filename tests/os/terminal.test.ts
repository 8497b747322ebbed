import { describe, expect, test } from "bun:test";
import { openLibc } from "../../ffi/libc.ts";
import { allocate, copyOf } from "../../ffi/memory.ts";
import { termios, winsize } from "../../ffi/structs.ts";
import type { RawFd } from "../../src/os/fd.ts";
import { openNull, writeText } from "../../src/os/files.ts";
import { waitReadable } from "../../src/os/poll.ts";
import {
  copyWindowSize,
  endOfInput,
  isTerminal,
  openPseudoTerminal,
  rawSettings,
  terminalSettings,
  trySetTerminal,
} from "../../src/os/terminal.ts";
import { nativeCompiler, runC } from "../helpers/c-compiler.ts";

const sys = openLibc();
const [TIOCGWINSZ, TIOCSWINSZ] = [0x5413, 0x5414];

test("a new terminal has the two ends of one: lines in, and each line feed out as two", () => {
  const { master, slave } = openPseudoTerminal(sys);
  using _slave = slave;
  using _master = master;
  expect(isTerminal(sys, slave.raw)).toBe(true);
  writeText(sys, slave.raw, "a\n");
  expect(waitReadable(sys, [master.raw], 1000)).toEqual([master.raw]);
  const read = allocate(16);
  expect(sys.read(master.raw, read, read.length)).toBe(3);
  expect([...read.subarray(0, 3)]).toEqual([97, 13, 10]);
  expect(sys.read(master.raw, read, read.length)).toBe(-11); // it does not wait
});

test("a raw terminal changes nothing, and gets its settings back", () => {
  const { master, slave } = openPseudoTerminal(sys);
  using _slave = slave;
  using _master = master;
  const settings = terminalSettings(sys, slave.raw);
  if (!settings) throw new Error("a terminal without settings");
  expect(trySetTerminal(sys, slave.raw, rawSettings(settings))).toBe(true);
  expect(terminalSettings(sys, slave.raw)).toEqual(rawSettings(settings));
  writeText(sys, slave.raw, "a\n");
  waitReadable(sys, [master.raw], 1000);
  const read = allocate(16);
  expect(sys.read(master.raw, read, read.length)).toBe(2);
  writeText(sys, master.raw, "\x03\x04\r");
  waitReadable(sys, [slave.raw], 1000);
  expect(sys.read(slave.raw, read, read.length)).toBe(3);
  expect([...read.subarray(0, 3)]).toEqual([3, 4, 13]);
  expect(trySetTerminal(sys, slave.raw, settings)).toBe(true);
  expect(terminalSettings(sys, slave.raw)).toEqual(settings);
});

test("what is no terminal has no settings and no size", () => {
  using nothing = openNull(sys);
  const { master, slave } = openPseudoTerminal(sys);
  using _slave = slave;
  using _master = master;
  expect(isTerminal(sys, nothing.raw)).toBe(false);
  expect(isTerminal(sys, -1)).toBe(false);
  expect(terminalSettings(sys, nothing.raw)).toBeUndefined();
  expect(trySetTerminal(sys, nothing.raw, allocate(termios.size))).toBe(false);
  const before = sizeOf(slave.raw);
  copyWindowSize(sys, nothing.raw, slave.raw);
  copyWindowSize(sys, slave.raw, nothing.raw);
  expect(sizeOf(slave.raw)).toEqual(before);
});

test("a terminal that is hung up takes no settings", () => {
  const { master, slave } = openPseudoTerminal(sys);
  using _slave = slave;
  const settings = terminalSettings(sys, slave.raw);
  master[Symbol.dispose]();
  expect(trySetTerminal(sys, slave.raw, settings ?? allocate(termios.size))).toBe(false);
});

test("one terminal is made as large as another", () => {
  const [one, other] = [openPseudoTerminal(sys), openPseudoTerminal(sys)];
  using owned = new DisposableStack();
  for (const fd of [one.master, one.slave, other.master, other.slave]) owned.use(fd);
  const size = allocate(winsize.size);
  winsize.set(size, "ws_row", 12);
  winsize.set(size, "ws_col", 34);
  winsize.set(size, "ws_xpixel", 56);
  winsize.set(size, "ws_ypixel", 78);
  expect(sys.ioctl(one.master.raw, TIOCSWINSZ, size)).toBe(0);
  copyWindowSize(sys, one.slave.raw, other.slave.raw);
  expect(sizeOf(other.master.raw)).toEqual([12, 34, 56, 78]);
});

test("the character that ends the input is the terminal's, or control-D", () => {
  const settings = allocate(termios.size);
  settings[termios.offset("c_cc") + 4] = 26; // VEOF
  expect(endOfInput(settings)).toBe(26);
  expect(endOfInput(undefined)).toBe(4);
});

describe.skipIf(nativeCompiler === undefined)("as cfmakeraw(3) makes them (needs cc)", () => {
  /** The flags, as four words, of these settings made raw. */
  function inC(flags: readonly number[]): number[] {
    const output = runC(
      nativeCompiler ?? "",
      // Not by the header: it has another struct termios, whose first fields are the same.
      `extern void cfmakeraw(struct termios *);
      int main(void) {
        union { struct termios own; unsigned words[32]; } all = { .words = { ${flags.join(", ")} } };
        cfmakeraw(&all.own);
        for (int at = 0; at < 4; at++) printf("%u\\n", all.words[at]);
        const unsigned char *cc = (const unsigned char *)&all.words[4] + 1;
        printf("%u\\n%u\\n", cc[VMIN], cc[VTIME]);
      }`,
    );
    return output.trimEnd().split("\n").map(Number);
  }

  function ours(flags: readonly number[]): number[] {
    const settings = allocate(termios.size).fill(7, 16);
    const names = ["c_iflag", "c_oflag", "c_cflag", "c_lflag"] as const;
    for (const [index, name] of names.entries()) termios.set(settings, name, flags[index] ?? 0);
    const before = copyOf(settings);
    const raw = rawSettings(settings);
    expect(settings).toEqual(before); // it is a copy
    const characters = termios.offset("c_cc");
    return [
      ...names.map((name) => termios.get(raw, name)),
      raw[characters + 6] ?? -1, // VMIN
      raw[characters + 5] ?? -1, // VTIME
    ];
  }

  test.each([
    { what: "all bits", flags: [0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff] },
    { what: "no bits", flags: [0, 0, 0, 0] },
    { what: "a usual terminal's", flags: [0x4500, 0x5, 0xbf, 0x8a3b] },
    { what: "every other bit", flags: [0x5555_5555, 0x5555_5555, 0x5555_5555, 0x5555_5555] },
  ])("settings of $what", ({ flags }) => {
    expect(ours(flags)).toEqual(inC(flags.map((word) => word >>> 0)));
  });
});

function sizeOf(fd: RawFd): number[] {
  const size = allocate(winsize.size);
  expect(sys.ioctl(fd, TIOCGWINSZ, size)).toBe(0);
  return (["ws_row", "ws_col", "ws_xpixel", "ws_ypixel"] as const).map((name) =>
    winsize.get(size, name),
  );
}
