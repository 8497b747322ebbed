/** A script's three streams, whatever they are: it does the same as under Bun, cold and warm. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { type Ended, quoted, Sandbox } from "../helpers/sandbox.ts";
import {
  copyScripts,
  directCommand,
  directEnv,
  equip,
  runUntilWarm,
  warmCommand,
} from "../helpers/warm.ts";

setDefaultTimeout(120_000);

/** What a shell makes of them; the files are in the working directory. */
const redirections = [
  "</dev/null",
  ">/dev/null",
  "2>/dev/null",
  "</dev/null >/dev/null",
  "</dev/null >/dev/null 2>/dev/null",
  "</dev/null >/dev/null 2>&1",
  ">/dev/full",
  "2>/dev/full",
  "<input >output",
  "<input >>output 2>>output",
  "<input >output 2>&1",
  "<>input >&0 2>&0",
  "<input >both 2>both",
  "<&-",
  ">&-",
  "2>&-",
  ">&- 2>&- <&-",
  "<input | cat",
  "2>&1 <input | cat",
] as const;

for (const redirection of redirections) {
  test(redirection, async () => {
    await using box = new Sandbox();
    equip(box);
    const script = join(copyScripts(box), "streams.ts");
    await box.serve();
    const run = async (words: readonly string[], env = {}): Promise<Ended & { files: string }> => {
      box.write("work/input", "some input\n");
      for (const name of ["output", "both"]) box.write(`work/${name}`, "");
      const command = `set -o pipefail; ${words.map(quoted).join(" ")} ${redirection}`;
      const result = await box.run(["bash", "-c", command], { env: { ...box.env, ...env } });
      const files = ["input", "output", "both"].map((name) => box.read(`work/${name}`)).join("|");
      return { ...result, files };
    };
    const direct = await run(directCommand(script, []), directEnv);
    const { runs, isWarm, reason } = await runUntilWarm(box, () =>
      run(warmCommand(box, script, [])),
    );
    expect(reason).toBe("");
    expect(isWarm).toBe(true);
    for (const one of runs) expect(one).toEqual(direct);
  });
}
