/**
 * Which face am I? The name we were called by decides, then the first word; nothing else happens
 * here. The modules of a face are loaded when it is chosen: a client pays for the client only.
 */
import { openLibc } from "../ffi/libc.ts";
import type { Sys } from "../ffi/sys.ts";
import { dropStrings, firstString, latin1 } from "./base/strings.ts";
import { exitCodes } from "./cli/exit-codes.ts";
import { type Face, Output } from "./cli/output.ts";
import { run } from "./cli/run.ts";
import { holdSignals } from "./client/signals.ts";
import {
  imageName,
  imageSocketNumber,
  scriptName,
  starterName,
  starterSocketNumber,
} from "./domain/builtins.ts";
import { reasonOf } from "./os/errors.ts";
import { compileWhatIsHot, exitNow, ownArguments } from "./os/process.ts";
import { setSignalMask } from "./os/signals.ts";

/** @returns the module that is the program of this process, if that is not one of ours. */
async function main(sys: Sys): Promise<string> {
  const blockedSignals = holdSignals(sys); // before all else, see there
  // `process` is not asked: it is made when it is first used, and takes its time.
  const words = ownArguments(sys);
  const called = latin1(firstString(words));
  const name = called.slice(called.lastIndexOf("/") + 1);
  const face: Face = name === "pfc" || name === "pfd" ? name : "prefork";
  const subcommand = latin1(firstString(dropStrings(words, 1)));
  const output = new Output(sys, face);
  if (face === "pfc" || (face === "prefork" && subcommand === "run")) {
    const showHelp = async (): Promise<number> => {
      const cli = await import("./cli/main.ts");
      return await cli.showHelp(sys, output, "run");
    };
    const rest = dropStrings(words, face === "pfc" ? 1 : 2);
    await run(sys, output.for("run"), rest, { blockedSignals, showHelp });
  }
  compileWhatIsHot();
  setSignalMask(sys, blockedSignals);
  if (name === imageName) {
    const { runImage } = await import("./image/zygote.ts");
    runImage(sys, imageSocketNumber);
  }
  if (name === scriptName) {
    const { enterScript } = await import("./image/script/script.ts");
    return await enterScript(sys, imageSocketNumber);
  }
  if (name === starterName) {
    const { runFreshStarter } = await import("./image/starter.ts");
    runFreshStarter(sys, starterSocketNumber);
  }
  const cli = await import("./cli/main.ts");
  const rest = process.argv.slice(2);
  const status =
    face === "pfd"
      ? await cli.runSubcommand(sys, output, "serve", rest)
      : await cli.main(sys, output, rest);
  exitNow(sys, status);
}

const sys = openLibc();
const entry = await main(sys).catch((error: unknown) => {
  // A mistake of our own: one line, in the hope that somebody reports it.
  new Output(sys, "prefork").complain(`internal error: ${reasonOf(error)}`);
  exitNow(sys, exitCodes.preforkFailed);
});
// Here and nowhere else: what becomes of it, Bun treats as of any program's first module.
await import(entry);
