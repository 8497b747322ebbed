/**
 * The client, as far as most runs need it: without the help and `--tty`. This is evaluated before anything else of the
 * program and awaits nothing; main.ts begins when there is more to do. The build makes one file of it and of what it
 * uses (see build.ts): a client lives for some milliseconds, and each function it loads is paid for.
 */
import { openLibc } from "../ffi/libc.ts";
import { howCalled } from "./cli/face.ts";
import { Output } from "./cli/output.ts";
import { run } from "./cli/run.ts";
import { readStart } from "./client/start.ts";

const sys = openLibc();

export const start = readStart(sys);

const { face, clientWords } = howCalled(sys);
if (clientWords) run(sys, new Output(sys, face).for("run"), clientWords, start);
