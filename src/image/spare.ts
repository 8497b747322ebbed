/**
 * A spare: a process forked out of an image, ahead of its job, which is a built-in command.
 *
 * A forked process pays for each page of memory when it first writes to it, and for each function
 * that nobody has called before. So the image rehearses, before its first fork: it goes the whole way
 * of a job, up to the command's own code, on /dev/null. A spare rehearses nothing.
 */
import { arrivalAt, arrivalOf } from "../../ffi/head.ts";
import { copyOf } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { fromLatin1, stringList } from "../base/strings.ts";
import { type Fd, standard } from "../os/fd.ts";
import { openNull, openPlace } from "../os/files.ts";
import { ownArguments, ownEnvironment, setShownWords } from "../os/process.ts";
import { restoreIgnoredByBun } from "../os/signals.ts";
import type { MessageReceiver } from "../transport/channel.ts";
import { builtinOf } from "./builtin-job.ts";
import { runCommand } from "./commands/table.ts";
import { enterAttributes, enterDirectory, leaveGroup, placeDescriptors } from "./context.ts";
import { rehearsedJob } from "./rehearsal.ts";

/** So many rehearsals, and what is called in each is compiled as far as it will be. */
const rounds = 8;

/**
 * What an image does once so that its spares need not: afterwards signals are as a program has them.
 * Consumes `daemon`. @returns the socket to the daemon, under a new number.
 */
export function rehearseSpare(sys: Sys, receiver: MessageReceiver, daemon: Fd): Fd {
  restoreIgnoredByBun(sys);
  const [argv, env] = [ownArguments(sys), ownEnvironment(sys)]; // a rehearsal has others shown
  let link = rehearse(sys, receiver, daemon);
  // Not later: after it the memory for each kind of object begins in another block, which has to be swept.
  Bun.gc(true);
  for (let round = 1; round < rounds; round++) link = rehearse(sys, receiver, link);
  // What cannot be rehearsed is at least linked.
  for (const name of ["setsid", "setpriority", "_exit"] as const) void sys[name];
  setShownWords(sys, argv, env); // it is shown as what it is
  return link;
}

/** The same where the head takes a job on: the way from there through the command itself. 1 is /dev/null. */
export function rehearseCommand(sys: Sys): void {
  const words = copyOf(fromLatin1("add\x001\x000.2\0"));
  const arrival = arrivalOf(words, 3);
  for (let round = 0; round < rounds; round++) {
    const builtin = builtinOf({ argv: arrivalAt(arrival.address) });
    if (builtin) runCommand(sys, builtin.name, builtin.args);
    if (round === 0) Bun.gc(true); // as above
  }
  void sys._exit;
}

/** Runs a job of our own. */
function rehearse(sys: Sys, receiver: MessageReceiver, daemon: Fd): Fd {
  const { request, received } = rehearsedJob(sys, receiver, {
    argv: stringList(fromLatin1("add\x001\x000.2\0")),
    env: stringList(fromLatin1("PATH=/bin\0")),
    directory: openPlace(sys, "/").raw,
    streams: [openNull(sys).raw, openNull(sys).raw, standard.error],
  });
  const fds = received.fds.map((fd) => fd.raw);
  leaveGroup(sys, request);
  enterDirectory(sys, request, fds);
  const link = placeDescriptors(sys, request, fds, daemon); // closes all that was opened here
  setShownWords(sys, request.argv, request.env);
  enterAttributes(sys, request);
  const builtin = builtinOf(request);
  if (builtin) runCommand(sys, builtin.name, builtin.args);
  return link;
}
