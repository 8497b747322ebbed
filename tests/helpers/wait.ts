/** Waiting for a condition instead of for a time. */

/** Looks again after so long: short against a process's start, long against a look. */
const pauseMs = 5;

/**
 * Waits until `look` gives something other than undefined and false, and returns that.
 * @throws Error naming `what` when it has not come true within `timeoutMs`.
 */
export async function until<Value>(
  what: string,
  look: () => Value | Promise<Value>,
  timeoutMs = 30_000,
): Promise<Exclude<Awaited<Value>, undefined | false>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await look();
    if (value !== undefined && value !== false) {
      return value as Exclude<Awaited<Value>, undefined | false>;
    }
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await Bun.sleep(pauseMs);
  }
}

/** Runs `work` over `items`, `width` at a time, and keeps the order of the results. */
export async function concurrently<Item, Result>(
  items: readonly Item[],
  width: number,
  work: (item: Item, index: number) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++;
      results[index] = await work(items[index] as Item, index); // the index is in range
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  return results;
}
