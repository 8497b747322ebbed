/** Terminals: their settings and size, new ones, and who is controlled by them. ioctl_tty(2), pty(7) */
import {
  BRKINT,
  CS8,
  CSIZE,
  ECHO,
  ECHONL,
  F_GETFL,
  F_SETFL,
  ICANON,
  ICRNL,
  IEXTEN,
  IGNBRK,
  IGNCR,
  INLCR,
  ISIG,
  ISTRIP,
  IXON,
  O_CLOEXEC,
  O_NOCTTY,
  O_NONBLOCK,
  O_RDWR,
  OPOST,
  PARENB,
  PARMRK,
  TCGETS,
  TCSETS,
  TIOCGPTPEER,
  TIOCGWINSZ,
  TIOCSCTTY,
  TIOCSPTLCK,
  TIOCSWINSZ,
  VEOF,
  VMIN,
  VTIME,
} from "../../ffi/linux/constants.ts";
import { allocate, copyOf, type Memory } from "../../ffi/memory.ts";
import { termios, winsize } from "../../ffi/structs.ts";
import type { Sys } from "../../ffi/sys.ts";
import { Scope } from "../base/scope.ts";
import { check, retry } from "./errors.ts";
import { type Fd, own, type RawFd } from "./fd.ts";
import { open } from "./files.ts";

export function isTerminal(sys: Sys, fd: RawFd | number): boolean {
  return sys.isatty(fd) === 1;
}

/** The settings of a terminal (`struct termios`), or undefined when `fd` is none. */
export function terminalSettings(sys: Sys, fd: RawFd): Memory | undefined {
  const settings = allocate(termios.size);
  return sys.ioctl(fd, TCGETS, settings) === 0 ? settings : undefined;
}

/**
 * Gives a terminal its settings at once: waiting for what was written to it could take for ever.
 * @returns false when it cannot have them any more: it is hung up.
 */
export function trySetTerminal(sys: Sys, fd: RawFd, settings: Uint8Array): boolean {
  const memory = copyOf(settings);
  return retry(sys.ioctl, fd, TCSETS, memory) === 0;
}

/** `settings` without any processing of what goes in and out, as cfmakeraw(3) makes them. */
export function rawSettings(settings: Memory): Memory {
  const raw = copyOf(settings);
  const clear = (name: "c_iflag" | "c_oflag" | "c_cflag" | "c_lflag", bits: number): void => {
    termios.set(raw, name, (termios.get(raw, name) & ~bits) >>> 0);
  };
  clear("c_iflag", IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
  clear("c_oflag", OPOST);
  clear("c_lflag", ECHO | ECHONL | ICANON | ISIG | IEXTEN);
  clear("c_cflag", CSIZE | PARENB);
  termios.set(raw, "c_cflag", termios.get(raw, "c_cflag") | CS8);
  const characters = termios.offset("c_cc");
  raw[characters + VMIN] = 1;
  raw[characters + VTIME] = 0;
  return raw;
}

/** The character that ends the input of a terminal; control-D where its settings are not known. */
export function endOfInput(settings: Memory | undefined): number {
  return settings?.[termios.offset("c_cc") + VEOF] ?? 4;
}

/** Makes `to` as large as `from`; nothing happens when one of them is no terminal. */
export function copyWindowSize(sys: Sys, from: RawFd, to: RawFd): void {
  const size = allocate(winsize.size);
  if (sys.ioctl(from, TIOCGWINSZ, size) === 0) sys.ioctl(to, TIOCSWINSZ, size);
}

/** The two ends of a new pseudo-terminal; reads and writes on the master's do not block. */
export interface PseudoTerminal {
  readonly master: Fd;
  readonly slave: Fd;
}

/** @throws SystemError when the system has no more of them. */
export function openPseudoTerminal(sys: Sys): PseudoTerminal {
  using owned = new Scope();
  const master = owned.use(open(sys, "/dev/ptmx", O_RDWR | O_NOCTTY));
  check(sys.ioctl(master.raw, TIOCSPTLCK, allocate(4)), "ioctl TIOCSPTLCK");
  // By the master, not by a name: /dev/pts may be another instance's here.
  const flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
  const slave = own(sys, sys.ioctl_number(master.raw, TIOCGPTPEER, flags), "ioctl TIOCGPTPEER");
  owned.use(slave);
  const status = check(sys.fcntl(master.raw, F_GETFL, 0), "fcntl");
  check(sys.fcntl(master.raw, F_SETFL, status | O_NONBLOCK), "fcntl");
  owned.move();
  return { master, slave };
}

/** Makes the terminal at `fd` the controlling one of this session, whose leader we must be. */
export function takeControllingTerminal(sys: Sys, fd: RawFd): void {
  check(sys.ioctl_number(fd, TIOCSCTTY, 0), "ioctl TIOCSCTTY");
}
