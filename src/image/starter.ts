/**
 * A starter: a process of ours that waits ahead and starts one program after the other, where there is no native one. It
 * gets each client's own message, makes a child of the daemon's that takes on all of it and becomes the program, and tells
 * when that has happened or why not. What hangs on the way (a mount, a lease on the file) holds up this starter alone.
 *
 * In the memory file at `starterWordNumber` stands which child it has made for the job at hand. The child goes on only
 * when its own pid is there: so whoever reads 0 after the starter's death knows that the job has not begun.
 */
import { allocate, copyOf, cString, type Memory } from "../../ffi/memory.ts";
import type { Sys } from "../../ffi/sys.ts";
import {
  starterName,
  starterSocketNumber,
  starterWordNumber,
  starterWordSize,
} from "../domain/builtins.ts";
import { executeProgram, type StartFailure } from "../execution/program.ts";
import { check, retry, SystemError } from "../os/errors.ts";
import { Fd, type RawFd } from "../os/fd.ts";
import { closeOnExec, openPipe } from "../os/files.ts";
import { forkSibling } from "../os/fork.ts";
import { InheritedHeap } from "../os/heap.ts";
import { exitNow, setProcessName } from "../os/process.ts";
import { blockAllSignals, restoreIgnoredByBun } from "../os/signals.ts";
import { stringPointers } from "../os/spawn.ts";
import { takeControllingTerminal } from "../os/terminal.ts";
import {
  type Message,
  type RunRequest,
  type StartStage,
  startStages,
} from "../protocol/messages.ts";
import { MessageReceiver, type Received, sendMessage } from "../transport/channel.ts";
import { enterAttributes, enterDirectory, leaveGroup, placeDescriptors } from "./context.ts";

/** Starts what it is told to until the daemon closes its end of the socket. The process ends here. */
export function runStarter(sys: Sys): never {
  setProcessName(sys, starterName);
  restoreIgnoredByBun(sys);
  blockAllSignals(sys);
  closeOnExec(sys, starterSocketNumber);
  const daemon = new Fd(sys, starterSocketNumber);
  const receiver = new MessageReceiver(sys);
  const heap = new InheritedHeap(sys);
  for (;;) {
    writeWord(sys, 0);
    const received = receiver.receive(daemon.raw);
    if (typeof received === "string") exitNow(sys, 0); // the daemon needs us no more
    using job = received;
    if (job.message.type !== "run") exitNow(sys, 1);
    const answer = startJob(sys, heap, job, job.message);
    if (sendMessage(sys, daemon.raw, { id: job.id, message: answer }) !== "sent") exitNow(sys, 0);
  }
}

function writeWord(sys: Sys, pid: number): void {
  check(retry(sys.pwrite, starterWordNumber, memoryOf(pid), starterWordSize, 0), "pwrite");
}

function readWord(sys: Sys): number {
  const word = allocate(starterWordSize);
  check(retry(sys.pread, starterWordNumber, word, word.length, 0), "pread");
  return word.view.getInt32(0, true);
}

/** Waits until the job has become its program, or cannot. */
function startJob(sys: Sys, heap: InheritedHeap, job: Received, request: RunRequest): Message {
  try {
    using pipe = openPair(sys);
    using go = openPair(sys);
    heap.renew();
    const child = forkSibling(sys);
    if (child === 0) becomeJob(sys, { job, request, report: pipe.writeEnd, go });
    pipe.writeEnd[Symbol.dispose]();
    writeWord(sys, child);
    go.writeEnd[Symbol.dispose]();
    const [stage, number = 0] = readNumbers(sys, pipe.readEnd.raw, 2);
    if (stage === undefined) return { type: "started", pid: child };
    return { type: "notStarted", stage: stageOf(stage), errno: number };
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return { type: "notStarted", stage: "process", errno: error.errno };
  }
}

interface Pair extends Disposable {
  readonly readEnd: Fd;
  readonly writeEnd: Fd;
}

function openPair(sys: Sys): Pair {
  const { readEnd, writeEnd } = openPipe(sys);
  return {
    readEnd,
    writeEnd,
    [Symbol.dispose]: () => {
      readEnd[Symbol.dispose]();
      writeEnd[Symbol.dispose]();
    },
  };
}

interface Birth {
  readonly job: Received;
  readonly request: RunRequest;
  /** Takes at which step the child has failed, and is closed by exec. */
  readonly report: Fd;
  /** Its end comes when the child's pid has been written down, or the starter is dead. */
  readonly go: Pair;
}

function becomeJob(sys: Sys, { job, request, report, go }: Birth): never {
  let link = report;
  let stage: StartStage = "session";
  try {
    go.writeEnd[Symbol.dispose]();
    readNumbers(sys, go.readEnd.raw, 1);
    if (readWord(sys) !== sys.getpid()) exitNow(sys, 1); // another starter has the job
    leaveGroup(sys, request);
    const fds = job.fds.map((fd) => fd.raw);
    stage = "directory";
    enterDirectory(sys, request, fds);
    stage = "descriptors";
    link = placeDescriptors(sys, request, fds, report);
    stage = "terminal";
    if (request.controllingTerminal) takeControllingTerminal(sys, 0 as RawFd);
    const env = stringPointers(request.env);
    const failure = executeProgram(sys, request, (path, argv) => {
      const [file, words] = [cString(path), stringPointers(argv)];
      stage = "limits";
      enterAttributes(sys, request);
      return sys.execve(file, words, env);
    });
    fail(sys, link, failure);
  } catch (error) {
    fail(sys, link, { stage, errno: error instanceof SystemError ? error.errno : 0 });
  }
}

function fail(sys: Sys, link: Fd, failure: StartFailure): never {
  writeNumbers(sys, link.raw, startStages[failure.stage], failure.errno);
  exitNow(sys, 1);
}

function stageOf(number: number): StartStage {
  const entry = Object.entries(startStages).find(([, value]) => value === number);
  return (entry?.[0] ?? "process") as StartStage; // the child is the binary we are
}

function memoryOf(...numbers: readonly number[]): Memory {
  return copyOf(new Uint8Array(Int32Array.from(numbers).buffer));
}

function writeNumbers(sys: Sys, fd: RawFd, ...numbers: readonly number[]): void {
  const bytes = memoryOf(...numbers);
  sys.write(fd, bytes, bytes.length); // that it cannot be written is ignored: nobody reads it any more
}

/** Waits for so many numbers. @returns none when the end comes first. */
function readNumbers(sys: Sys, fd: RawFd, count: number): number[] {
  const bytes = allocate(4 * count);
  const size = check(retry(sys.read, fd, bytes, bytes.length), "read");
  return size < bytes.length ? [] : [...new Int32Array(bytes.buffer)];
}
