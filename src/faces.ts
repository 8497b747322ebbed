/**
 * All faces. The modules of one are loaded when it is chosen, see cli/face.ts; nothing else happens here.
 */
import { openLibc } from "../ffi/libc.ts";
import type { Sys } from "../ffi/sys.ts";
import { type Calling, howCalled } from "./cli/face.ts";
import { Output } from "./cli/output.ts";
import { type Asked, endAsMistaken, run } from "./cli/run.ts";
import type { Start } from "./client/start.ts";
import {
  commandProcessName,
  imageName,
  imageSocketNumber,
  scriptName,
  starterName,
  starterSocketNumber,
} from "./domain/builtins.ts";
import { compileWhatIsHot, exitNow } from "./os/process.ts";
import { setSignalMask } from "./os/signals.ts";

/** Is what we were called as. @returns the module that is the program of this process, if that is not one of ours. */
export async function enterFace(start: Start): Promise<string> {
  const sys = openLibc();
  const calling = howCalled(sys);
  const output = new Output(sys, calling.face);
  try {
    let asked: Asked | undefined;
    if (calling.clientWords) {
      const { openRelay } = await import("./client/relay.ts");
      asked = run(sys, output.for("run"), calling.clientWords, start, openRelay);
    }
    compileWhatIsHot();
    setSignalMask(sys, start.blockedSignals);
    return (
      (await scriptOf(sys, calling)) ?? exitNow(sys, await runCli(sys, output, calling, asked))
    );
  } catch (error) {
    endAsMistaken(sys, error);
  }
}

/** Does the work of an image or a starter. @returns the module of a script's process; undefined: we are none of these. */
async function scriptOf(sys: Sys, { name }: Calling): Promise<string | undefined> {
  if (name === imageName) {
    const { runImage } = await import("./image/lender.ts");
    runImage(sys);
  }
  if (name === starterName) {
    const { runStarter } = await import("./image/starter.ts");
    runStarter(sys);
  }
  if (name === commandProcessName) {
    const { runFreshCommand } = await import("./image/builtin-job.ts");
    runFreshCommand(sys, starterSocketNumber);
  }
  if (name !== scriptName) return undefined;
  const { enterScript } = await import("./image/script/script.ts");
  return await enterScript(sys, imageSocketNumber);
}

async function runCli(
  sys: Sys,
  output: Output,
  { face }: Calling,
  asked: Asked | undefined,
): Promise<number> {
  const cli = await import("./cli/main.ts");
  if (asked === "version") return await cli.runSubcommand(sys, output, "version", []);
  if (asked) return await cli.showHelp(sys, output, "run");
  const words = process.argv.slice(2);
  if (face === "pfd") return await cli.runSubcommand(sys, output, "serve", words);
  return await cli.main(sys, output, words);
}
