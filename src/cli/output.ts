/** What the commands print: the wording of failures, and where it goes. */
import type { Sys } from "../../ffi/sys.ts";
import { type RawFd, standard } from "../os/fd.ts";
import { writeText } from "../os/files.ts";

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

  print(text: string): void {
    this.#write(standard.output, text);
  }

  /** One line on stderr: what failed, why, and how to mend it. */
  complain(message: string): void {
    // Names and paths may hold line breaks; a message is one line all the same.
    const line = message.replace(/\r?\n/g, "\\n");
    this.#write(standard.error, `${this.#prefix}: ${line}\n`);
  }

  #write(fd: RawFd, text: string): void {
    try {
      writeText(this.#sys, fd, text);
    } catch {
      // Ignoring it: nobody listens, and there is nowhere else to say so.
    }
  }
}
