/**
 * The daemon's log: consola, with lines written synchronously to standard error. The daemon never
 * returns to Bun's event loop, so a stream that writes later would never write.
 */
import { type ConsolaInstance, createConsola } from "consola/core";
import type { Sys } from "../../ffi/sys.ts";
import { standard } from "../os/fd.ts";
import { writeText } from "../os/files.ts";

export const logLevels = { error: 0, warn: 1, info: 3, debug: 4 } as const;
export type LogLevel = keyof typeof logLevels;

export type Log = ConsolaInstance;

/** A log whose lines are `<time> <level> <message>`. A line that cannot be written is dropped. */
export function createLog(sys: Sys, level: LogLevel): Log {
  return createConsola({
    level: logLevels[level],
    throttle: 0, // every line counts, also a repeated one
    reporters: [
      {
        log: ({ date, type, args }) => {
          const line = `${date.toISOString()} ${type} ${args.join(" ")}\n`;
          try {
            writeText(sys, standard.error, line);
          } catch {
            // Ignoring it: a full disk or a closed terminal must not stop the jobs.
          }
        },
      },
    ],
  });
}
