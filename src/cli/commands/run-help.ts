/** `run` as the help shows it. It is carried out by cli/run.ts, which reads the same options. */
import { runOptions } from "../options.ts";
import type { Command } from "./command.ts";

export const runHelp: Command = {
  summary:
    "Run a command in the daemon, with this terminal, these files, this directory and environment",
  options: runOptions,
  operand: {
    name: "command",
    description: "what to run, and its arguments: options end at the first word that is not one",
  },
  examples: (name) => [
    [`${name} make -j8`, "hand it over and leave at once"],
    [`${name} -w sort < list`, "wait, and exit as it exited"],
    [`${name} -Cw add 1 2`, "start a daemon if there is none"],
    [`${name} -w --fd 3 sh -c 'echo hi >&3' 3>log`, "pass one more descriptor"],
    [`${name} -w -- -odd-name`, "a command that looks like an option"],
  ],
  run: () => {
    throw new Error("run has a path of its own");
  },
};
