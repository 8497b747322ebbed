import { version } from "../../base/version.ts";
import { ownHead } from "../../os/executable.ts";
import { protocolMajor } from "../../protocol/messages.ts";
import { type Command, helpOption } from "./command.ts";

export const versionCommand: Command = {
  summary: "Print the version of prefork, its protocol and its runtime",
  options: {
    verbose: {
      type: "boolean",
      alias: "v",
      description: "and whether this binary has a head: a native client and starter",
    },
    help: helpOption,
  },
  examples: (name) => [
    [name, "one line"],
    [`${name} --verbose`, "what the binary is made of, too"],
  ],
  run: ({ sys, output }, values) => {
    output.print(`prefork ${version} (protocol ${protocolMajor}, bun ${Bun.version})\n`);
    if (values["verbose"] !== true) return 0;
    const head = ownHead(sys)
      ? "head: native client and starter"
      : "head: none (runs and starts are Bun's, and slower: see docs/head.md)";
    output.print(`${head}\n`);
    return 0;
  },
};
