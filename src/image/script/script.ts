/**
 * A process for one script of the user's: an image, which loads the script's modules and forks
 * children that run it, or a fresh process that runs it once. In either case the entry module is
 * imported last of all by main.ts, as the program of this process: so what it throws, awaits and
 * leaves running is treated by Bun as it is in `bun script.ts`.
 *
 * The daemon says what to be (`orders`), then a job comes (`run`): to a fresh process on the same
 * socket, to a child of an image on a socket of its own (forks.ts).
 */

import { SYS_close_range } from "../../../ffi/linux/constants.ts";
import type { Sys } from "../../../ffi/sys.ts";
import { ownDescriptorsMin } from "../../base/limits.ts";
import { imageLogNumber, imageProbeNumbers, scriptName } from "../../domain/builtins.ts";
import type { Orders } from "../../domain/warmth.ts";
import { check } from "../../os/errors.ts";
import { duplicate, type Fd, type RawFd } from "../../os/fd.ts";
import { stateOf } from "../../os/files.ts";
import { exitNow, ownExecutable, setProcessName } from "../../os/process.ts";
import { MessageReceiver } from "../../transport/channel.ts";
import { becomeJob } from "./job.ts";
import { prepareImage } from "./prepare.ts";
import { standIn } from "./stand-ins.ts";

/** Waits for a job and becomes it. @returns the entry module, which is to be imported now. */
export async function enterScript(sys: Sys, socketNumber: number): Promise<string> {
  const daemon = moveUp(sys, socketNumber);
  process.execPath = nameThatLeadsTo(sys, process.execPath);
  setProcessName(sys, scriptName);
  const receiver = new MessageReceiver(sys);
  const orders = receiveOrders(sys, receiver, daemon);
  for (const name of Object.keys(process.env)) {
    if (name.startsWith("BUN_")) delete process.env[name]; // how we were started is no job's business
  }
  standIn();
  if (!orders.isImage) {
    leaveLowNumbers(sys, socketNumber);
    return becomeJob(sys, receiver, daemon, { orders });
  }
  const probes = imageProbeNumbers.map((number) => moveUp(sys, number));
  const log = moveUp(sys, imageLogNumber);
  leaveLowNumbers(sys, socketNumber);
  const { spare, ...made } = await prepareImage(sys, receiver, { daemon, probes, log }, orders);
  return becomeJob(sys, receiver, spare, made);
}

/**
 * A name by which this very program, or what has taken its place, can be started: the kernel's own for a file that has been
 * replaced or removed leads nowhere. See /proc/PID/exe in proc(5).
 */
function nameThatLeadsTo(sys: Sys, name: string): string {
  if (!name.endsWith(deleted) || stateOf(sys, name)) return name;
  const place = name.slice(0, -deleted.length);
  return stateOf(sys, place) ? place : ownExecutable;
}

const deleted = " (deleted)";

/** Takes what we were given under a number that a job may want. */
function moveUp(sys: Sys, number: number): Fd {
  return duplicate(sys, number as RawFd, ownDescriptorsMin);
}

/**
 * The numbers that jobs give to their descriptors were taken while the runtime started, so that it
 * has opened its own above them; now they are free.
 */
function leaveLowNumbers(sys: Sys, lowest: number): void {
  check(sys.close_range(SYS_close_range, lowest, ownDescriptorsMin - 1, 0), "close_range");
}

function receiveOrders(sys: Sys, receiver: MessageReceiver, daemon: Fd): Orders {
  const received = receiver.receive(daemon.raw);
  if (typeof received === "string") exitNow(sys, 0); // the daemon needs us no more
  if (received.message.type !== "orders") exitNow(sys, 1);
  return JSON.parse(received.message.json) as Orders; // the daemon is the binary we are
}
