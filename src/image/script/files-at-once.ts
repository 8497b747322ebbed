/**
 * Asynchronous file access of an image that is being made: done at once, for the runtime would start threads for it,
 * and with them the image could not be forked. What is read this way is seen as any other reading (observe.ts).
 */

import { fs } from "./builtins.ts";
import type { Wrapping } from "./wrap.ts";

type AnyFunction = (...args: unknown[]) => unknown;
type Functions = Record<string, AnyFunction | undefined>;

/** What these return is not what their namesakes do: a `FileHandle`, an iterator. */
const special: ReadonlySet<string> = new Set(["open", "glob"]);

/** Until `wrapping` is undone `fs.promises.NAME()` and `fs.NAME()` do what `fs.NAMESync()` does. */
export function accessFilesAtOnce(wrapping: Wrapping): void {
  const all = fs as unknown as Functions;
  const promises = fs.promises as unknown as Functions;
  for (const name of Object.keys(fs.promises)) {
    const atOnce = (args: unknown[]): unknown => all[`${name}Sync`]?.(...args);
    if (!all[`${name}Sync`]) continue;
    if (!special.has(name)) wrapping.replace(promises, name, async (...args) => atOnce(args));
    wrapping.replace(all, name, (...args) => {
      const callback = args.pop() as AnyFunction;
      try {
        const result = atOnce(args);
        process.nextTick(callback, null, result);
      } catch (error) {
        process.nextTick(callback, error);
      }
    });
  }
}
