/** `prefork serve`, and `pfd`. */
import { graceMsDefault, jobsMaxDefault } from "../../base/limits.ts";
import { type LogLevel, logLevels } from "../../daemon/log.ts";
import { enterOneThread, serve } from "../../daemon/serve.ts";
import { absolute, creationCandidate } from "../../domain/discovery.ts";
import { exitCodes } from "../exit-codes.ts";
import {
  discoveryOptions,
  type Options,
  parseCount,
  parseSeconds,
  versionOption,
} from "../options.ts";
import { discoveryRequest, ownVariables, surroundings } from "../place.ts";
import { type Command, helpOption, textValue } from "./command.ts";

const options = {
  ...discoveryOptions,
  daemonize: { type: "boolean", alias: "d", description: "go on in the background when ready" },
  "pid-file": {
    type: "string",
    valueHint: "FILE",
    description: "another PID file, besides the one beside the socket",
  },
  log: {
    type: "string",
    valueHint: "FILE",
    description:
      "append the log to FILE; else it goes to stderr, or, daemonized, beside the socket",
  },
  "log-level": {
    type: "enum",
    options: Object.keys(logLevels),
    default: "info",
    description: "how much to log; debug has every job",
  },
  grace: {
    type: "string",
    valueHint: "SECONDS",
    default: String(graceMsDefault / 1000),
    description: "how long jobs have to end at shutdown before they are killed",
  },
  "max-jobs": {
    type: "string",
    valueHint: "N",
    default: String(jobsMaxDefault),
    description: "how many jobs may run at once; more are refused",
  },
  "ready-fd": {
    type: "string",
    valueHint: "N",
    description: "write READY=1 to descriptor N when ready, and let the launcher's stdio go",
  },
  help: helpOption,
  version: versionOption,
} as const satisfies Options;

export const serveCommand: Command = {
  summary: "Be the daemon: accept commands on a Unix socket and run them",
  options,
  examples: (name) => [
    [`${name} --daemonize`, "in the background, at $XDG_RUNTIME_DIR/pfd.sock"],
    [`${name} --mode project -d`, "one for this project"],
    [`${name} --socket ./pfd.sock --log-level debug`, "in the foreground, with every job logged"],
  ],
  run: ({ sys, output }, values) => {
    const around = surroundings(sys, ownVariables, (message) => output.complain(message));
    const path = (name: string): string | undefined => {
      const value = textValue(values, name);
      return value === undefined ? undefined : absolute(value, around);
    };
    const readyFd = textValue(values, "ready-fd");
    const request = discoveryRequest(
      {
        socket: textValue(values, "socket"),
        mode: textValue(values, "mode"),
        project: textValue(values, "project"),
      },
      ownVariables,
    );
    const { socketPath, mode } = creationCandidate(request, around);
    const serveOptions = {
      socketPath,
      mode,
      pidFile: path("pid-file"),
      logFile: path("log"),
      logLevel: (textValue(values, "log-level") ?? options["log-level"].default) as LogLevel,
      graceMs: parseSeconds("grace", textValue(values, "grace") ?? options.grace.default),
      jobsMax: parseCount(
        "max-jobs",
        textValue(values, "max-jobs") ?? options["max-jobs"].default,
        {
          min: 1,
          max: 100_000,
        },
      ),
      daemonize: values["daemonize"] === true,
      readyFd:
        readyFd === undefined
          ? undefined
          : parseCount("ready-fd", readyFd, { min: 3, max: 65_535 }),
    };
    enterOneThread(sys, serveOptions.readyFd);
    return serve(sys, serveOptions, (reason) => {
      output.complain(reason);
      return exitCodes.daemonFailed;
    });
  },
};
