/** A context as something like a shell script: to be read, and mostly to be typed. */
import type { Difference } from "./comparison.ts";
import {
  type Act,
  type ByteText,
  type Context,
  type Directory,
  type Ending,
  type Limit,
  plain,
  resources,
  type Thing,
} from "./context.ts";
import { signalName } from "./observation.ts";
import { fileOf } from "./request.ts";

/** A difference, and how to see it oneself. */
export function describeFailure(
  context: Context,
  { aspect, direct, viaClient }: Difference,
): string {
  const lines = (side: string, texts: readonly string[]): string[] => [
    `${side}:`,
    ...texts.slice(0, linesShown).map((text) => `  ${text}`),
    ...(texts.length > linesShown ? [`  … and ${texts.length - linesShown} more`] : []),
  ];
  return [
    aspect,
    ...lines("only directly", direct),
    ...lines("only through prefork", viaClient),
    "",
    toShell(context),
    "",
  ].join("\n");
}

const linesShown = 12;

/** Only what is not as in `plain` is said. */
export function toShell(context: Context): string {
  const { command, ignored, blocked, niceness, umask } = context;
  const path = command.path === undefined ? [] : [`PATH=${command.path.join(":")}`];
  const entries = [...path, ...context.environment].map(word);
  return [
    ...command.programs.map(({ at, program }) => `# ${word(at)} is of kind ${program}`),
    ...descriptorLines(context),
    ...directoryLines(context.directory),
    ...context.limits.map(limitLine),
    ...(niceness === plain.niceness ? [] : [`renice -n +${niceness} $$`]),
    ...(ignored.length === 0 ? [] : [`trap '' ${names(ignored)}`]),
    ...(blocked.length === 0 ? [] : [`# blocked: ${names(blocked)}`]),
    ...(umask === plain.umask ? [] : [`umask ${umask.toString(8).padStart(3, "0")}`]),
    `env -i ${[...entries, "…", word(command.word), ...context.args.map(word)].join(" ")}`,
    ...context.acts.map((act) => `  # it does: ${describeAct(act)}`),
    `  # it ends: ${describeEnding(context.ending)}`,
  ].join("\n");
}

function descriptorLines({ things, descriptors }: Context): string[] {
  const isClosed = (wanted: number): boolean =>
    !descriptors.some(({ number }) => number === wanted);
  const opened = things.flatMap((thing, index) => {
    const numbers = descriptors.filter((one) => one.thing === index).map(({ number }) => number);
    if (numbers.length === 0) return [];
    return [`# descriptor ${numbers.join(" and ")}: ${describeThing(thing, index)}`];
  });
  const closed = [0, 1, 2].filter(isClosed).map((number) => `exec ${number}>&-`);
  return [...opened, ...closed];
}

function directoryLines(directory: Directory): string[] {
  if (directory === plain.directory) return [];
  const { kind, ...details } = directory;
  return [`cd … # ${kind} ${Object.values(details).map(String).map(word).join(" ")}`.trimEnd()];
}

function limitLine({ resource, soft, hard }: Limit): string {
  const [, option] = resources[resource];
  if (soft === "hard" && hard === "kept") return `ulimit -S ${option} hard`;
  const values = `${soft === "hard" ? hard : soft}:${hard === "kept" ? "" : hard}`;
  return `prlimit --pid $$ --${resource.toLowerCase()}=${values} # ulimit ${option}`;
}

function describeAct(act: Act): string {
  switch (act.kind) {
    case "read":
      return `read ${act.count} bytes of ${act.number}`;
    case "write":
      return `write ${word(act.bytes)} to ${act.number}`;
    case "make":
      return `make ${act.path}`;
    default:
      return act satisfies never;
  }
}

function describeEnding(ending: Ending): string {
  if (ending.kind === "exit") return `exit ${ending.code}`;
  const how = ending.surely ? " (default action, unblocked)" : "";
  return `kill -${signalName(ending.signal)} $$${how}`;
}

function describeThing(thing: Thing, index: number): string {
  const { kind, ...rest } = thing;
  const details = Object.entries(rest).map(([name, value]) => `${name}=${word(String(value))}`);
  const name = kind === "file" || kind === "fifo" ? ` ${fileOf(index)}` : "";
  return `${kind}${name} ${details.join(" ")}`.trimEnd();
}

function names(signals: readonly number[]): string {
  return signals.length > namesMax
    ? `${signals.length} signals of 64`
    : signals.map(signalName).join(" ");
}

/** More are not worth reading. */
const namesMax = 40;

/** A word as bash reads it, cut when it is long. */
function word(bytes: ByteText): string {
  if (/^[\w{}./:=+-]{1,100}$/.test(bytes)) return bytes;
  const text = bytes.replace(/[^ -~]|['\\]/g, (character) =>
    /['\\]/.test(character)
      ? `\\${character}`
      : `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return text.length <= 80 ? `$'${text}'` : `$'${text.slice(0, 40)}…'(${bytes.length} bytes)`;
}
