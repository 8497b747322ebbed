/** What was seen of one run: from outside by launch.pl, from inside by observe.pl. */
import { constants } from "node:os";
import type { ByteText } from "./context.ts";

export interface Observation {
  /** `exit N`, `killed by SIGNAL`, or `hung`. */
  readonly end: string;
  /** What the observer told, by name; undefined when it was not started. */
  readonly report: ReadonlyMap<string, ByteText> | undefined;
  /** What became of each thing, by its index: facts by name. */
  readonly things: readonly ReadonlyMap<string, ByteText>[];
  /** The files of the case's directory, by path: mode and content. */
  readonly files: ReadonlyMap<string, ByteText>;
}

/** Reads the lines with which launch.pl answers. @throws Error when it could not run the case. */
export function parseAnswer(lines: readonly string[]): Observation {
  let end = "";
  let report: Map<string, ByteText> | undefined;
  const things: Map<string, ByteText>[] = [];
  const names = new Map<string, string>();
  const files = new Map<string, ByteText>();
  for (const line of lines) {
    const [kind, ...words] = line.split(" ");
    const [first = "", second = "", ...rest] = words;
    switch (kind) {
      case "end":
        end = describeEnd(first);
        break;
      case "report":
        report = parseReport(decodeBytes(first));
        break;
      case "thing": {
        const index = Number(first);
        things[index] ??= new Map();
        if (second === "identity") {
          const [identity = "", name = ""] = rest;
          if (!names.has(identity)) names.set(identity, `thing ${index}`);
          things[index].set("name", nameless(decodeBytes(name)));
        } else {
          const [value = ""] = rest;
          things[index].set(second, value.startsWith("x") ? decodeBytes(value) : value);
        }
        break;
      }
      case "file": {
        const content = rest.map((word) => (word.startsWith("x") ? decodeBytes(word) : word));
        files.set(decodeBytes(first), [second, ...content].join(" "));
        break;
      }
      case "broken":
        throw new Error(`launch.pl: ${decodeBytes(first)}`);
      default:
        throw new Error(`launch.pl said '${line}'`);
    }
  }
  const descriptors = report?.get("descriptors");
  if (descriptors !== undefined) report?.set("descriptors", named(descriptors, names));
  return { end, report, things, files };
}

function decodeBytes(word: string): ByteText {
  return Buffer.from(word.slice(1), "hex").toString("latin1");
}

/** @returns undefined when nothing was reported. */
function parseReport(bytes: ByteText): Map<string, ByteText> | undefined {
  const report = new Map<string, ByteText>();
  for (let at = 0; at < bytes.length; ) {
    const headEnd = bytes.indexOf("\n", at);
    const [name = "", size = ""] = bytes.slice(at, headEnd).split(" ");
    const start = headEnd + 1;
    const end = start + Number(size);
    report.set(name, bytes.slice(start, end));
    at = end + 1;
  }
  return report.size === 0 ? undefined : report;
}

/** What the kernel numbers differs from run to run: the things' own numbers stand for it. */
function named(descriptors: ByteText, names: ReadonlyMap<string, string>): ByteText {
  return descriptors
    .split("\n")
    .map((line) => {
      const [number, identity = "", ...rest] = line.split(" ");
      const name = names.get(identity) ?? "not of the case";
      return `${number}: ${name}, ${nameless(rest.join(" "))}`;
    })
    .join("\n");
}

function nameless(target: ByteText): ByteText {
  return target.replace(/(pipe|socket):\[\d+\]/, "$1:[]").replace(/\/dev\/pts\/\d+/, "/dev/pts/");
}

function describeEnd(word: string): string {
  if (word === "hung") return word;
  const status = Number(word);
  const signal = status & 0x7f;
  return signal === 0 ? `exit ${status >> 8}` : `killed by ${signalName(signal)}`;
}

export function signalName(number: number): string {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found ? found[0] : `signal ${number}`;
}
