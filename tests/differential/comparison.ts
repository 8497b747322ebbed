/** What must be the same when a program runs by itself and through prefork, and what differs. */
import type { ByteText, Context } from "./context.ts";
import type { Pair } from "./launcher.ts";
import type { Observation } from "./observation.ts";

/** The facts that are compared, each of which is tested for itself. */
export const aspects = [
  "end",
  "arguments",
  "environment",
  "directory",
  "executable",
  "descriptors",
  "limits",
  "niceness",
  "umask",
  "signals",
  "credentials",
  "acts",
  "things",
  "files",
] as const;
export type Aspect = (typeof aspects)[number];

export interface Difference {
  readonly aspect: Aspect;
  /** Lines that only one of the runs has. */
  readonly direct: readonly string[];
  readonly viaClient: readonly string[];
}

/** In these the words show that complain about a command that cannot be started. */
const complaintFacts: readonly string[] = ["position", "received", "content", "left"];

/** Everything in which the two runs of `context` differ. */
export function differences(context: Context, pair: Pair): Difference[] {
  const found: Difference[] = [];
  if (couldNotComplain(pair) || shellsDisagree(context, pair)) return found;
  for (const aspect of aspects) {
    const direct = linesOf(aspect, context, pair.direct);
    const viaClient = linesOf(aspect, context, pair.viaClient);
    const onlyDirect = without(direct, viaClient);
    const onlyClient = without(viaClient, direct);
    if (onlyDirect.length === 0 && onlyClient.length === 0) continue;
    found.push({ aspect, direct: onlyDirect, viaClient: onlyClient });
    // A program that was not started, or not as far, differs in all the rest for that reason.
    if (aspect === "end") break;
  }
  return found;
}

/**
 * nice(1), which starts the command for the direct run, ends in another way when it cannot write
 * that the command could not be started; prefork does not care.
 */
function couldNotComplain({ direct, viaClient }: Pair): boolean {
  if (direct.report || viaClient.report) return false;
  if (!["exit 125", "killed by SIGPIPE", "killed by SIGXFSZ"].includes(direct.end)) return false;
  return viaClient.end === "exit 126" || viaClient.end === "exit 127";
}

/** Where a path leads through something that is no directory, some shells say 126 and some 127. */
function shellsDisagree({ command }: Context, { direct, viaClient }: Pair): boolean {
  if (direct.report || viaClient.report) return false;
  const isBoth = [direct.end, viaClient.end].every((end) => /^exit 12[67]$/.test(end));
  const throughFile = ["/dev/null", "{observer}"];
  return (
    isBoth &&
    (/\/\.?$/.test(command.word) || throughFile.some((file) => command.path?.includes(file)))
  );
}

/** One aspect of a run as lines. */
function linesOf(aspect: Aspect, context: Context, seen: Observation): string[] {
  switch (aspect) {
    case "end": {
      if (!seen.report) return [`${seen.end}, not started`];
      return [seen.report.has("acts") ? seen.end : `${seen.end}, while acting`];
    }
    case "things":
      return seen.things.flatMap((facts, index) => thingLines(context, seen, facts, index));
    case "files":
      return [...seen.files]
        .filter(([path]) => !isComplaintsFile(context, seen, path))
        .map(([path, facts]) => `${shown(path)}: ${shown(facts)}`);
    default:
      return splitFact(aspect, seen.report?.get(aspect) ?? "");
  }
}

/** Strings end with a NUL, in the order that matters; other facts are lines. */
function splitFact(aspect: Aspect, fact: ByteText): string[] {
  if (aspect !== "arguments" && aspect !== "environment") return fact.split("\n");
  const strings = fact.split("\0");
  return [
    `${strings.length - 1} strings`,
    ...strings.map((text, index) => `${index}: ${shown(text)}`),
  ];
}

function thingLines(
  context: Context,
  seen: Observation,
  facts: ReadonlyMap<string, ByteText>,
  index: number,
): string[] {
  const isComplaints = takesComplaints(context, seen, index);
  return [...facts]
    .filter(([name]) => !isComplaints || !complaintFacts.includes(name))
    .map(([name, value]) => `thing ${index}, ${name}: ${shown(value)}`);
}

/** Whether words about a command that cannot be started were written there: these may differ. */
function takesComplaints(context: Context, { end, report }: Observation, thing: number): boolean {
  const isStart = report === undefined && (end === "exit 126" || end === "exit 127");
  return isStart && thingOf(context, 2) === thing;
}

function isComplaintsFile(context: Context, seen: Observation, path: string): boolean {
  const index = /^thing-(\d+)$/.exec(path)?.[1];
  return index !== undefined && takesComplaints(context, seen, Number(index));
}

function thingOf(context: Context, number: number): number | undefined {
  return context.descriptors.find((one) => one.number === number)?.thing;
}

/** What stands where the run wrote its stderr to, as far as it can be told. */
export function complaintsOf(context: Context, seen: Observation): string {
  const thing = thingOf(context, 2) ?? -1;
  const facts = seen.things[thing];
  const inFile = seen.files.get(`thing-${thing}`);
  return facts?.get("received") ?? facts?.get("content") ?? inFile?.replace(/^\d+ /, "") ?? "";
}

/** The lines of `some` that do not occur in `others` as often. */
function without(some: readonly string[], others: readonly string[]): string[] {
  const left = [...others];
  return some.filter((line) => {
    const index = left.indexOf(line);
    if (index >= 0) left.splice(index, 1);
    return index < 0;
  });
}

/** Bytes as printable text, shortened in the middle. */
export function shown(bytes: ByteText): string {
  const text = bytes.replace(/[^ -~]|\\/g, (character) =>
    character === "\\" ? "\\\\" : `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return text.length <= 300 ? text : `${text.slice(0, 200)}… ${text.length} …${text.slice(-60)}`;
}
