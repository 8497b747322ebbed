/** `--tty`: a job with a terminal of its own, and what is carried between it and the caller's. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { sharedSandbox, testLikeness } from "../helpers/likeness.ts";
import { descriptorsOf, processStat, signalProcess } from "../helpers/process.ts";
import { ended } from "../helpers/sandbox.ts";
import { keys, type Shell, Shell as Terminal } from "../helpers/terminal.ts";
import { until } from "../helpers/wait.ts";
