/**
 * The image of the built-in commands: a process in which their code is loaded and compiled, and which runs one after the
 * other. A job is a process of its own that borrows this one's memory (ffi/head/lender.c). So what runs here must be a
 * function of its words: it writes nothing, waits for nothing, and leaves nothing behind but garbage.
 */

import { errnoText } from "../../ffi/errno-names.ts";
import { type Lender, linkLend } from "../../ffi/head.ts";
import { copyOf, type Memory } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import { fromLatin1, stringList } from "../base/strings.ts";
import { imageName, starterSocketNumber } from "../domain/builtins.ts";
import { ownHead } from "../os/executable.ts";
import type { RawFd } from "../os/fd.ts";
import { refuseThreads } from "../os/one-thread.ts";
import { exitNow, setProcessName, shownPlaces } from "../os/process.ts";
import { restoreIgnoredByBun } from "../os/signals.ts";
import { sendMessage } from "../transport/channel.ts";
import { type Builtin, builtinOf, complaintAbout, resultOf } from "./commands/table.ts";

/** So many rehearsals, and what a command calls is compiled as far as it will be. */
const rounds = 100;

/** Serves the daemon, which has left its socket at `starterSocketNumber`. The process ends here. */
export function runImage(sys: Sys): never {
  setProcessName(sys, imageName);
  restoreIgnoredByBun(sys);
  const head = ownHead(sys);
  if (!head) exitNow(sys, 1); // the daemon starts none then
  const lend = linkLend(head.lend);
  const shown = shownPlaces(sys);
  const lender = commandLender();
  for (let round = 0; round < rounds; round++) lender.run(fromLatin1("add\x001\x000.2\0"));
  refuseThreads(sys);
  sendMessage(sys, starterSocketNumber as RawFd, { id: 0, message: { type: "ready" } });
  lend(shown, lender);
  return exitNow(sys, 0);
}

/** Runs one command after the other, by their words. */
export function commandLender(): Lender {
  let last: Builtin | undefined;
  return {
    run: (words) => {
      last = builtinOf(stringList(words));
      if (!last) return { status: 1, output: nothing, complaint: nothing }; // the daemon sends us none but ours
      const { output, complaints, status } = resultOf(last);
      return { status, output: memoryOf(output), complaint: memoryOf(complaints) };
    },
    complaintAbout: (errno) => (last ? memoryOf(complaintAbout(last, errnoText(errno))) : nothing),
  };
}

function memoryOf(text: string): Memory {
  return text === "" ? nothing : copyOf(fromLatin1(text));
}
const nothing: Memory = copyOf(new Uint8Array());
