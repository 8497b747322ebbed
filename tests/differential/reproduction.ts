/** A context as something like a shell script: to be read, and mostly to be typed. */
import type { Difference } from "./comparison.ts";
import { type ByteText, type Context, plain, resources, type Thing } from "./context.ts";
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
  const { command, directory } = context;
  const lines: string[] = [];
  const say = (isSaid: boolean, line: () => string): void => {
    if (isSaid) lines.push(line());
  };
  for (const { at, program } of command.programs) lines.push(`# ${word(at)} is of kind ${program}`);
  for (const [index, thing] of context.things.entries()) {
    const numbers = context.descriptors.filter((one) => one.thing === index);
    say(numbers.length > 0, () => {
      const places = numbers.map(({ number }) => number).join(" and ");
      return `# descriptor ${places}: ${describe(thing, index)}`;
    });
  }
  for (const number of [0, 1, 2]) {
    say(!context.descriptors.some((one) => one.number === number), () => `exec ${number}>&-`);
  }
  say(directory !== plain.directory, () => {
    const details = Object.entries(directory).filter(([name]) => name !== "kind");
    return `cd … # ${directory.kind} ${details.map(([name, value]) => `${name} ${word(String(value))}`).join(" ")}`;
  });
  for (const { resource, soft, hard } of context.limits) {
    lines.push(
      `prlimit --pid $$ --${resource.toLowerCase()}=${soft}:${hard === "kept" ? "" : hard} # ulimit ${resources[resource][1]}`,
    );
  }
  say(context.niceness !== 0, () => `renice -n +${context.niceness} $$`);
  say(context.ignored.length > 0, () => `trap '' ${names(context.ignored)}`);
  say(context.blocked.length > 0, () => `# blocked: ${names(context.blocked)}`);
  say(context.umask !== plain.umask, () => `umask ${context.umask.toString(8).padStart(3, "0")}`);
  const path = command.path === undefined ? [] : [`PATH=${command.path.join(":")}`];
  const entries = [...path, ...context.environment].map(word);
  lines.push(`env -i ${[...entries, "…", command.word, ...context.args.map(word)].join(" ")}`);
  for (const act of context.acts) {
    const what =
      act.kind === "read"
        ? `${act.count} bytes of ${act.number}`
        : act.kind === "write"
          ? `${word(act.bytes)} to ${act.number}`
          : act.path;
    lines.push(`  # it does: ${act.kind} ${what}`);
  }
  const { ending } = context;
  lines.push(
    ending.kind === "exit"
      ? `  # it ends: exit ${ending.code}`
      : `  # it ends: kill -${signalName(ending.signal)} $$${ending.surely ? " (default action, unblocked)" : ""}`,
  );
  return lines.join("\n");
}

function describe(thing: Thing, index: number): string {
  const { kind, ...rest } = thing;
  const details = Object.entries(rest).map(([name, value]) => `${name}=${word(String(value))}`);
  const name = kind === "file" || kind === "fifo" ? ` ${fileOf(index)}` : "";
  return `${kind}${name} ${details.join(" ")}`.trimEnd();
}

function names(signals: readonly number[]): string {
  const many = 40;
  const all = signals.map(signalName).join(" ");
  return signals.length < many ? all : `${signals.length} signals of 64`;
}

/** A word as bash reads it. */
function word(bytes: ByteText): string {
  if (/^[\w{}./:=+-]{1,100}$/.test(bytes)) return bytes;
  const text = bytes.replace(/[^ -~]|['\\]/g, (character) =>
    /['\\]/.test(character)
      ? `\\${character}`
      : `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return text.length <= 80 ? `$'${text}'` : `$'${text.slice(0, 40)}…'(${bytes.length} bytes)`;
}
