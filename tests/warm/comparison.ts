/** One case run both ways, and what differs. */
import { readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import {
  type End,
  quoted,
  type Running,
  type Sandbox,
  type StartOptions,
} from "../helpers/sandbox.ts";
import { copyProject, runUntilWarm, startDirect, startWarm } from "../helpers/warm.ts";
import { type Call, places, type Surroundings, type Tool } from "./cases.ts";

export interface Case {
  readonly index: number;
  readonly tool: Tool;
  readonly around: Surroundings;
  readonly call: Call;
  readonly isOnTerminal: boolean;
}

/** All that is compared. */
export interface Observation {
  readonly stdout: string;
  readonly stderr: string;
  readonly end: End;
  /** What was shown on the terminal, if there was one. */
  readonly terminal: string;
  /** The files of the call as they are afterwards. */
  readonly files: string;
}

export const aspects = ["end", "stdout", "stderr", "terminal", "files"] as const;

export interface Comparison {
  readonly direct: Observation;
  /** All runs through prefork, until one was warm. */
  readonly ours: readonly Observation[];
  readonly isWarm: boolean;
  /** Why none was. */
  readonly reason: string;
}

/** What the place that is a link leads to. */
const linkedPlace = "elsewhere/the/real-one";

/** Makes the directories in which cases run: see `places`. */
export function makePlaces(box: Sandbox): void {
  for (const place of places) {
    if (place === "linked") {
      copyProject(box.path(linkedPlace));
      symlinkSync(join("..", linkedPlace), join(box.work, place));
    } else {
      copyProject(join(box.work, place));
    }
  }
}

/** Where this is "direct", both sides are: it shows that the cases themselves always do the same. */
const isAgainstItself = process.env["PREFORK_AGAINST"] === "direct";

export async function compare(box: Sandbox, scripts: string, one: Case): Promise<Comparison> {
  const run = async (start: typeof startDirect): Promise<Observation> => {
    writeFiles(box, one);
    return await observe(box, one, (options) => {
      const script = spelled(box, scripts, one, start === startDirect);
      return start(box, script, one.call.args, options);
    });
  };
  const direct = await run(startDirect);
  if (isAgainstItself) return { direct, ours: [await run(startDirect)], isWarm: true, reason: "" };
  const { runs, ...warmth } = await runUntilWarm(box, async () => await run(startWarm));
  return { direct, ours: runs, ...warmth };
}

async function observe(
  box: Sandbox,
  { around, call, isOnTerminal }: Case,
  start: (options: StartOptions) => Running,
): Promise<Observation> {
  const cwd = join(box.work, around.place);
  const shown: string[] = [];
  const decoder = new TextDecoder("latin1");
  const { promise: isAllShown, resolve: allShown } = Promise.withResolvers<void>();
  const running = start({
    cwd,
    env: { ...around.env, ...call.env, PWD: cwd },
    ...(call.stdin === undefined ? {} : { stdin: call.stdin }),
    ...(isOnTerminal
      ? {
          terminal: {
            cols: 97,
            rows: 31,
            data: (_: unknown, bytes: Uint8Array) => {
              shown.push(decoder.decode(bytes));
            },
            exit: () => allShown(),
          },
        }
      : {}),
  });
  const { stdout, stderr, end } = await running.ended;
  if (isOnTerminal) {
    await isAllShown; // what was written last comes after the end
    running.terminal.close();
  }
  const files = Object.keys(call.files ?? {}).map((name) =>
    readFileSync(join(cwd, name), "latin1"),
  );
  const terminal = withoutPid(shown.join(""));
  return { stdout, stderr: withoutPid(stderr), end, terminal, files: files.join("\n") };
}

/** The runtime's warnings begin with the number of the process. */
function withoutPid(text: string): string {
  return text.replace(/^\(node:\d+\)/gm, "(node:PID)");
}

function writeFiles(box: Sandbox, { around, call }: Case): void {
  for (const [name, content] of Object.entries(call.files ?? {})) {
    writeFileSync(join(box.work, around.place, name), content);
  }
}

/** How the script is named to the runner. */
function spelled(box: Sandbox, scripts: string, one: Case, isDirect: boolean): string {
  const { script, name } = one.tool;
  if (script === undefined) return isDirect ? join("node_modules/.bin", name) : name;
  const path = join(scripts, script);
  switch (one.around.spelling) {
    case "absolute":
      return path;
    case "relative": {
      const place = one.around.place === "linked" ? linkedPlace : join("work", one.around.place);
      return relative(box.path(place), path);
    }
    case "link": {
      const link = join(box.work, one.around.place, "link to it");
      rmSync(link, { force: true });
      symlinkSync(path, link);
      return "./link to it";
    }
    default:
      return one.around.spelling satisfies never;
  }
}

/** A case as something like a shell's lines. */
export function describeCase({ index, tool, around, call, isOnTerminal }: Case): string {
  const env = Object.entries({ ...around.env, ...call.env });
  const script = tool.script ?? tool.name;
  return [
    `case ${index}, ${tool.name}${isOnTerminal ? ", on a terminal" : ""}`,
    ...Object.entries(call.files ?? {}).map(
      ([name, text]) => `printf %s ${quoted(text)} > ${name}`,
    ),
    `cd ${quoted(around.place)}`,
    ...(call.stdin === undefined ? [] : [`printf %s ${quoted(call.stdin.slice(0, 200))} |`]),
    `env -i … ${env.map(([name, value]) => `${name}=${quoted(value)}`).join(" ")} \\`,
    `  prefork run -w --warm ${script} ${call.args.map(quoted).join(" ")} # ${around.spelling}`,
    "",
  ].join("\n");
}

/** The first line in which two texts differ, on both sides. */
export function firstDifference(direct: string, ours: string): string {
  const [a, b] = [direct.split("\n"), ours.split("\n")];
  const index = a.findIndex((line, number) => line !== b[number]);
  const line = index < 0 ? a.length : index;
  const shown = (lines: readonly string[]): string =>
    lines.length > line
      ? JSON.stringify(aroundDifference(lines[line] ?? "", a[line] ?? "", b[line] ?? ""))
      : "(its end)";
  return `line ${line + 1}\n  directly: ${shown(a)}\n  by prefork: ${shown(b)}\n`;
}

/** A long line is cut to where the two begin to differ. */
function aroundDifference(own: string, a: string, b: string): string {
  let index = 0;
  while (index < a.length && a[index] === b[index]) index += 1;
  const begin = Math.max(index - 60, 0);
  return `${begin > 0 ? "…" : ""}${own.slice(begin, begin + 300)}`;
}
