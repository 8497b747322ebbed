/** Many `add` at once and one after the other, while spares are killed and stopped: each starts once, and none is lost. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { childrenOf, processStat, signalProcess, zombiesOf } from "../helpers/process.ts";
import { ended, Sandbox } from "../helpers/sandbox.ts";
import { concurrently, until } from "../helpers/wait.ts";

setDefaultTimeout(600_000);

const jobs = Array.from({ length: 200 }, (_, n) => n);

async function addTo(box: Sandbox, n: number): Promise<void> {
  const result = await box.pfc("-w", "add", `${n}`, "0.5");
  expect({ n, ...result }).toEqual({ n, ...ended({ stdout: `${n}.5\n` }) });
}

/** Kills or stops one spare that has not begun a job. @returns whether there was one. */
async function strike(daemon: number, image: number, isKill: boolean): Promise<boolean> {
  const spares = childrenOf(daemon).filter(
    ({ name, pid }) => name === "pfd-image" && pid !== image,
  );
  const spare = spares[Math.floor(Math.random() * spares.length)]?.pid;
  if (spare === undefined || !signalProcess(spare, "SIGSTOP")) return false;
  const state = (): string => processStat(spare)?.state ?? "Z";
  // Without a deadline of its own: starting 200 clients holds this process up for as long as that takes.
  while (!"TZX".includes(state())) await Bun.sleep(5);
  // One that runs its job by now is shown as that, and goes on.
  if (processStat(spare)?.name !== "pfd-image") signalProcess(spare, "SIGCONT");
  else if (isKill) signalProcess(spare, "SIGKILL");
  return true;
}

/** Calls `work` while spares are struck, half a hundred times at most. @returns how many were. */
async function whileStriking(box: Sandbox, work: () => Promise<unknown>): Promise<number> {
  const { pid, image } = await box.untilWarm();
  let [struck, isOver] = [0, false];
  const strikes = (async () => {
    while (!isOver && struck < 50) {
      if (await strike(pid, image.pid, struck % 2 === 0)) struck += 1;
      await Bun.sleep(20);
    }
  })();
  await work();
  isOver = true;
  await strikes;
  return struck;
}

test("200 at once, on processors that are busy", async () => {
  await using box = new Sandbox();
  const daemon = await box.serveWarm();
  const busy = [0, 1].map(() => box.start(["bash", "-c", "while :; do :; done"]));
  await Promise.all(jobs.map((n) => addTo(box, n)));
  for (const one of busy) one.kill("SIGKILL");
  expect(daemon.log()).not.toMatch(/ (warn|error) /);
  // None ran cold, and there were more spares than one; now there is one again.
  const status = await box.status();
  expect(status).toMatchObject({ done: 200, failed: 0, image: { served: 200 } });
  await until("one spare waits", async () => (await box.status()).image.spares === 1);
});

test("200 at once, while spares are killed and stopped", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const struck = await whileStriking(box, () => Promise.all(jobs.map((n) => addTo(box, n))));
  expect(struck).toBeGreaterThan(0);
  expect(await box.status()).toMatchObject({ done: 200, failed: 0, running: 0 });
  await until("no zombie", () => zombiesOf(daemon.pid).length === 0);
});

test("200 one after the other, while spares are killed and stopped", async () => {
  await using box = new Sandbox();
  const daemon = await box.serve();
  const struck = await whileStriking(box, () => concurrently(jobs, 1, (n) => addTo(box, n)));
  expect(struck).toBeGreaterThan(0);
  expect(await box.status()).toMatchObject({ done: 200, failed: 0, running: 0 });
  await until("no zombie", () => zombiesOf(daemon.pid).length === 0);
});
