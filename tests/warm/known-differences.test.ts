/**
 * What differs from `bun SCRIPT`, as docs/warm-images.md says: should one of these change, so must that.
 * Cold or warm makes no difference here either.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { ended, Sandbox } from "../helpers/sandbox.ts";
import { equip, runUntilWarm, startDirect, startWarm } from "../helpers/warm.ts";

setDefaultTimeout(60_000);

const differences: readonly (readonly [what: string, text: string, bun: string, ours: string])[] = [
  [
    "promises come before ticks at the end of the entry module",
    "process.nextTick(() => console.log('tick'));\nqueueMicrotask(() => console.log('promise'));\n",
    "tick\npromise\n",
    "promise\ntick\n",
  ],
  [
    "the directory's .env is not read",
    "console.log(process.env.FROM_FILE);\n",
    "read\n",
    "undefined\n",
  ],
];

test.each([...differences])("%s", async (_, text, bun, ours) => {
  await using box = new Sandbox();
  equip(box);
  box.write("work/.env", "FROM_FILE=read\n");
  const script = box.write("work/script.ts", text);
  const options = { cwd: box.path("work") };
  await box.serve();
  expect(await startDirect(box, script, [], options).ended).toEqual(ended({ stdout: bun }));
  const { isWarm } = await runUntilWarm(box, async () => {
    const result = await startWarm(box, script, [], options).ended;
    expect(result).toEqual(ended({ stdout: ours }));
    return result;
  });
  expect(isWarm).toBe(true);
});
