/** Signals as they are sent and as they arrive: by number, with the values that were queued with them. */
import { openLibc } from "../../ffi/libc.ts";
import { tryQueueSignal, trySignal } from "../../src/os/signals.ts";

const sys = openLibc();

/** The numbers of rt_sigprocmask and rt_sigtimedwait, which perl's POSIX module does not have. */
const [procmask, timedwait] = process.arch === "x64" ? [14, 128] : [135, 137];

/**
 * A command that says "ready", and then a line for each signal that comes: its number, and the value it was queued with.
 * It ends when its standard input does.
 */
export const signalPrinter: readonly string[] = [
  "perl",
  "-e",
  `my ($all, $info, $pause) = ("\\xff" x 8, "\\0" x 128, pack "qq", 0, 10_000_000);
   $| = 1;
   syscall ${procmask}, 0, $all, 0, 8;
   print "ready\\n";
   for (;;) {
     my $number = syscall ${timedwait}, $all, $info, $pause, 8;
     if ($number > 0) {
       my ($code, $value) = unpack "x8 l x12 Q", $info;
       print "$number ", $code == -1 ? $value : "-", "\\n";
       next;
     }
     my $input = "\\1";
     exit if select $input, undef, undef, 0;
   }`,
];

/** As kill(2). */
export function send(pid: number, number: number): void {
  if (!trySignal(sys, pid, number)) throw new Error(`there is no process ${pid}`);
}

/** As sigqueue(3). */
export function queue(pid: number, number: number, value: bigint): void {
  if (!tryQueueSignal(sys, pid, number, value)) throw new Error(`there is no process ${pid}`);
}
