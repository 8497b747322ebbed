import { version } from "../../base/version.ts";
import { protocolMajor } from "../../protocol/messages.ts";
import { type Command, helpOption } from "./command.ts";

export const versionCommand: Command = {
  summary: "Print the version of prefork, its protocol and its runtime",
  options: { help: helpOption },
  examples: (name) => [[name, "one line"]],
  run: ({ output }) => {
    output.print(`prefork ${version} (protocol ${protocolMajor}, bun ${Bun.version})\n`);
    return 0;
  },
};
