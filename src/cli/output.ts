/** What the commands print: the wording of failures, and where it goes. */
import * as errno from "../../ffi/errno.ts";
import type { Sys } from "../../ffi/sys.ts";
import { SystemError } from "../os/errors.ts";
import { standard } from "../os/fd.ts";
import { writeText } from "../os/files.ts";
import { exitNow } from "../os/process.ts";
import { exitCodes } from "./exit-codes.ts";

/**
 * The face under which prefork was called. `called` is how a subcommand is spelled under it, for
 * the help, and `prefix` is what messages about it begin with: pfc for the client's work and pfd
 * for the daemon's, however they were called.
 */
export type Face = "prefork" | "pfc" | "pfd";

const prefixBySubcommand: Readonly<Record<string, string>> = { run: "pfc", serve: "pfd" };

export class Output {
  readonly #sys: Sys;
  readonly #face: Face;
  readonly #subcommand: string | undefined;

  constructor(sys: Sys, face: Face, subcommand?: string) {
    this.#sys = sys;
    this.#face = face;
    this.#subcommand = subcommand;
  }

  /** The same for one subcommand. */
  for(subcommand: string): Output {
    return new Output(this.#sys, this.#face, subcommand);
  }

  get called(): string {
    if (this.#face !== "prefork" || this.#subcommand === undefined) return this.#face;
    return `prefork ${this.#subcommand}`;
  }

  get #prefix(): string {
    return prefixBySubcommand[this.#subcommand ?? ""] ?? "prefork";
  }

  /** What was asked for. The process ends when it cannot be written, unless its reader has seen enough. */
  print(text: string): void {
    try {
      writeText(this.#sys, standard.output, text);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      if (error.errno === errno.EPIPE) return;
      this.complain(`cannot write: ${error.reason}`);
      exitNow(this.#sys, exitCodes.preforkFailed);
    }
  }

  /** One line on stderr: what failed, why, and how to mend it. */
  complain(message: string): void {
    // Names and paths may hold line breaks; a message is one line all the same.
    const line = message.replace(/\r?\n/g, "\\n");
    try {
      writeText(this.#sys, standard.error, `${this.#prefix}: ${line}\n`);
    } catch {
      // Ignoring it: nobody listens, and there is nowhere else to say so.
    }
  }
}
