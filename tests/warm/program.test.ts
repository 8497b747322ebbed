/** The entry module of a script is the program, as it is under `bun SCRIPT`. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { type Ended, Sandbox } from "../helpers/sandbox.ts";
import { until } from "../helpers/wait.ts";
import { equip, runUntilWarm, startDirect, startWarm } from "../helpers/warm.ts";

setDefaultTimeout(60_000);

test("what it exports to be served is served", async () => {
  await using box = new Sandbox();
  equip(box);
  const script = box.write(
    "work/serve.ts",
    `export default {
       port: 0,
       hostname: "127.0.0.1",
       fetch() {
         setTimeout(() => process.exit(5), 10);
         return new Response("served");
       },
     };
    `,
  );
  await box.serve();
  const ask = async (start: typeof startWarm): Promise<Ended> => {
    const run = start(box, script, []);
    const said = /http:\/\/127\.0\.0\.1:(\d+)/;
    const url = await until("it listens", () => said.exec(run.stdout + run.stderr)?.[0]);
    expect(await (await fetch(url)).text()).toBe("served");
    const { stdout, stderr, end } = await run.ended;
    return { stdout: stdout.replace(said, "URL"), stderr: stderr.replace(said, "URL"), end };
  };
  const direct = await ask(startDirect);
  expect(direct.end).toBe(5);
  const { runs, isWarm } = await runUntilWarm(box, async () => await ask(startWarm));
  expect(isWarm).toBe(true);
  for (const result of runs) expect(result).toEqual(direct);
});
