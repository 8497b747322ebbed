/** A context as the request that launch.pl reads: lines of words, bytes as `x` and hex digits. */
import {
  type Act,
  type ByteText,
  type Context,
  type Directory,
  type Ending,
  type Program,
  resources,
  type Thing,
} from "./context.ts";

/** What the texts of a context stand for in one run. */
export interface Places {
  /** The directory made anew for each run. */
  readonly case: string;
  readonly observer: string;
}

/** The words to put in front of a command, none of which is part of the case. */
export type Prefix = readonly [program: string, ...words: string[]];

/** The request to run `context` by `prefix`, whose first word is the path of a program. */
export function encodeRequest(context: Context, prefix: Prefix, places: Places): string {
  const text = (value: ByteText): string => encodeBytes(substitute(value, places));
  const { command } = context;
  const path = command.path?.join(":");
  const environment = [...(path === undefined ? [] : [`PATH=${path}`]), ...context.environment];
  const lines = [
    ["directory", text("bin")],
    ["directory", text("other")],
    ...command.programs.flatMap(({ at, program }) => programSteps(at, program, text)),
    ...context.things.flatMap((thing, index) => thingSteps(thing, index, text)),
    ["enter", ...enterWords(context.directory, text)],
    ...context.descriptors.map(({ number, thing }) => ["install", number, thing]),
    ["program", text(prefix[0])],
    ["argv", ...[...prefix, command.word, ...context.args].map(text)],
    ["env", ...environment.map(text)],
    ["umask", context.umask.toString(8)],
    ["niceness", context.niceness],
    ...context.limits.map(({ resource, soft, hard }) => [
      "limit",
      resources[resource][0],
      limitWord(soft),
      limitWord(hard),
    ]),
    ["ignore", ...context.ignored],
    ["block", ...context.blocked],
    ["plan", text(planText(context.acts, context.ending, text))],
    ["go"],
  ];
  return lines.map((words) => `${words.join(" ")}\n`).join("");
}

/** What `{case}` and `{observer}` stand for is put in. */
export function substitute(value: ByteText, places: Places): ByteText {
  if (!value.includes("{")) return value;
  return value.replaceAll("{case}", places.case).replaceAll("{observer}", places.observer);
}

function encodeBytes(value: ByteText): string {
  return `x${Buffer.from(value, "latin1").toString("hex")}`;
}

type Words = readonly (string | number)[];
type Encode = (value: ByteText) => string;

function programSteps(at: ByteText, program: Program, text: Encode): Words[] {
  const file = (mode: number, content: ByteText): Words => [
    "file",
    text(at),
    mode.toString(8),
    text(content),
  ];
  const link = (target: ByteText): Words => ["link", text(at), text(target)];
  const interpreter = "{case}/bin/interpreter";
  switch (program) {
    case "observer":
      return [file(0o755, "#!{observer}\n")];
    case "link":
      return [link("{observer}")];
    case "shell-script":
      return [file(0o755, 'exec "{observer}" "$0" "$@"\n')];
    case "script-of-script":
      return [file(0o755, `#!{observer} one two \n`)];
    case "lost-interpreter":
      return [file(0o755, `#!${interpreter}\n`)];
    case "directory-interpreter":
      return [file(0o755, "#!{case}\n")];
    case "not-executable":
      return [file(0o644, "#!{observer}\n")];
    case "execute-only":
      return [file(0o111, "#!{observer}\n")];
    case "directory":
      return [["directory", text(at)]];
    case "empty":
      return [file(0o755, "")];
    case "garbage":
      return [file(0o755, "\x7fELF\x02\x01\x01\0garbage\n")];
    case "dangling":
      return [link("{case}/nowhere")];
    case "loop":
      return [link(`{case}/${at}`)];
    case "busy":
      return [file(0o755, "#!{observer}\n"), ["busy", text(at)]];
    default:
      return program satisfies never;
  }
}

/** The name of a thing's file in the case's directory. */
export function fileOf(index: number): string {
  return `thing-${index}`;
}

function thingSteps(thing: Thing, index: number, text: Encode): Words[] {
  const path = text(fileOf(index));
  const letter = (isNonBlocking: boolean): string => (isNonBlocking ? "n" : "-");
  switch (thing.kind) {
    case "file":
      return [
        ["file", path, "644", text(thing.content)],
        ["thing", "file", path, thing.flags, thing.offset, Number(thing.isUnlinked)],
      ];
    case "outside":
      return [["thing", "outside", text(thing.path), thing.flags]];
    case "memory":
      return [["thing", "memory", text(thing.content), thing.offset]];
    case "source": {
      const { content, hasWriter, isNonBlocking } = thing;
      return [["thing", "source", text(content), Number(hasWriter), letter(isNonBlocking)]];
    }
    case "sink":
      return [["thing", "sink", Number(thing.hasReader), letter(thing.isNonBlocking)]];
    case "fifo":
      return [["thing", "fifo", path, text(thing.content)]];
    case "socket": {
      const { type, content, hasPeer, isNonBlocking } = thing;
      return [["thing", "socket", type, text(content), Number(hasPeer), letter(isNonBlocking)]];
    }
    case "terminal":
      return [["thing", "terminal", text(thing.line)]];
    default:
      return [["thing", thing.kind]];
  }
}

function enterWords(directory: Directory, text: Encode): Words {
  switch (directory.kind) {
    case "inside":
      return ["inside", text(directory.name)];
    case "outside":
      return ["outside", text(directory.path)];
    case "mode":
      return ["mode", directory.mode.toString(8)];
    case "deep":
      return ["deep", directory.levels];
    default:
      return [directory.kind];
  }
}

function limitWord(value: number | string): string {
  return value === Number.POSITIVE_INFINITY ? "max" : String(value);
}

function planText(acts: readonly Act[], ending: Ending, text: Encode): ByteText {
  const lines: Words[] = acts.map((act) => {
    if (act.kind === "read") return ["read", act.number, act.count];
    if (act.kind === "write") return ["write", act.number, text(act.bytes)];
    return ["make", text(act.path)];
  });
  const last =
    ending.kind === "exit"
      ? ["end", "exit", ending.code]
      : ["end", "signal", ending.signal, ending.surely ? "surely" : "as-is"];
  return [...lines, last].map((words) => `${words.join(" ")}\n`).join("");
}
