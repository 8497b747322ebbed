/**
 * The proof that this image can be forked, before any job relies on it: two trial children do what
 * jobs do (timers, files through the thread pool, a child of their own, garbage, code that is
 * compiled anew, random values), and must come to a good end within a deadline.
 */
import type { Sys } from "../../../ffi/sys.ts";
import { trialTimeoutMs } from "../../base/limits.ts";
import { latin1 } from "../../base/strings.ts";
import { tryReap } from "../../os/children.ts";
import { check, reasonOf } from "../../os/errors.ts";
import type { Fd } from "../../os/fd.ts";
import { openPipe, readToEnd, writeText } from "../../os/files.ts";
import { InheritedHeap } from "../../os/heap.ts";
import { waitFor } from "../../os/poll.ts";
import { exitNow } from "../../os/process.ts";
import { signalNumbers, trySignal } from "../../os/signals.ts";
import { fs } from "./builtins.ts";
import { renewProcessNumbers, renewRandomness, replaceEventLoop } from "./renew.ts";

/** @returns why no job can be forked out of this process; undefined when it can. */
export async function tryFork(sys: Sys, log: Fd): Promise<string | undefined> {
  const words: string[] = [];
  const heap = new InheritedHeap(sys);
  for (let round = 0; round < 2; round++) {
    const { readEnd, writeEnd } = openPipe(sys);
    using answer = readEnd;
    heap.renew();
    const pid = check(sys.fork(), "fork");
    if (pid === 0) await beTrial(sys, writeEnd, log);
    writeEnd[Symbol.dispose]();
    const isAnswered =
      waitFor(sys, [{ fd: answer.raw, for: "reading" }], trialTimeoutMs).length > 0;
    const word = isAnswered ? latin1(readToEnd(sys, answer.raw)) : "";
    trySignal(sys, pid, signalNumbers.SIGKILL);
    tryReap(sys, pid, { wait: true });
    if (!isAnswered) return `a forked child did not end within ${trialTimeoutMs} ms`;
    if (!word.startsWith("ok ")) return `a forked child failed: ${word || "it died"}`;
    words.push(word);
  }
  return words[0] === words[1] ? "two forked children drew the same random values" : undefined;
}

async function beTrial(sys: Sys, answer: Fd, log: Fd): Promise<never> {
  let word: string;
  try {
    replaceEventLoop(sys);
    renewProcessNumbers(sys);
    renewRandomness();
    word = await rehearse();
  } catch (error) {
    word = reasonOf(error);
  }
  try {
    writeText(sys, answer.raw, word);
  } catch (error) {
    writeText(sys, log.raw, `a trial child cannot answer: ${reasonOf(error)}\n`);
  }
  exitNow(sys, 0);
}

async function rehearse(): Promise<string> {
  await new Promise((resolve) => setTimeout(resolve, 1));
  await fs.promises.readFile("/proc/self/stat");
  const child = Bun.spawn(["/bin/true"], { stdio: ["ignore", "ignore", "ignore"] });
  if ((await child.exited) !== 0) throw new Error("a child of it did not end well");
  Bun.gc(true);
  const compute = new Function("n", "let s = 0; for (let i = 0; i < n; i++) s += i; return s;");
  if (compute(200_000) !== 19_999_900_000) throw new Error("it cannot compute");
  return `ok ${Math.random()} ${crypto.randomUUID()} ${Bun.randomUUIDv7()}`;
}
