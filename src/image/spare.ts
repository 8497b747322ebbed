/**
 * A spare: a process forked out of an image, ahead of its job, which is a built-in command.
 *
 * A forked process pays for each page of memory when it first writes to it, and for each function
 * when it first calls it. So a spare rehearses before it waits: it hands itself a job and goes the
 * whole way, up to the command's own code, on /dev/null. Then only the job is left to be done.
 */
import type { Sys } from "../../ffi/sys.ts";
import { fromLatin1, stringList } from "../base/strings.ts";
import type { Fd } from "../os/fd.ts";
import { openNull, openPlace } from "../os/files.ts";
import { ownArguments, ownEnvironment, setShownWords } from "../os/process.ts";
import { restoreIgnoredByBun } from "../os/signals.ts";
import { MessageReceiver } from "../transport/channel.ts";
import { builtinOf, runBuiltinJob } from "./builtin-job.ts";
import { runCommand } from "./commands/table.ts";
import { enterAttributes, enterDirectory, placeDescriptors } from "./context.ts";
import { rehearsedJob } from "./rehearsal.ts";

/** Waits for the job on `daemon` and becomes it. The process ends here. Consumes `daemon`. */
export function runSpare(sys: Sys, daemon: Fd): never {
  restoreIgnoredByBun(sys);
  const receiver = new MessageReceiver(sys);
  // What cannot be rehearsed is at least linked.
  for (const name of ["setpgid", "setsid", "_exit"] as const) void sys[name];
  runBuiltinJob(sys, receiver, rehearse(sys, receiver, daemon));
}

/** Runs a job of our own on /dev/null. @returns the socket to the daemon, under a new number. */
function rehearse(sys: Sys, receiver: MessageReceiver, daemon: Fd): Fd {
  const nothing = openNull(sys).raw;
  const { request, received } = rehearsedJob(sys, receiver, {
    argv: stringList(fromLatin1("add\x001\x000.2\0")),
    env: stringList(fromLatin1("PATH=/bin\0")),
    directory: openPlace(sys, "/").raw,
    streams: [nothing, nothing, nothing],
  });
  const fds = received.fds.map((fd) => fd.raw);
  enterDirectory(sys, request, fds);
  const link = placeDescriptors(sys, request, fds, daemon); // closes all that was opened here
  enterAttributes(sys, request);
  const builtin = builtinOf(request);
  if (builtin) runCommand(sys, builtin.name, builtin.args);
  setShownWords(sys, ownArguments(sys), ownEnvironment(sys)); // it is shown as what it is until its job comes
  return link;
}
