/**
 * What the head (ffi/head/) has in common with the TypeScript of prefork, as a C header: messages, limits, options, words,
 * and the kernel's numbers. Nothing of it is written down twice.
 */
import * as errnos from "../../ffi/errno.ts";
import * as constants from "../../ffi/linux/constants.ts";
import * as limits from "../../src/base/limits.ts";
import { exitCodes } from "../../src/cli/exit-codes.ts";
import { runOptions } from "../../src/cli/options.ts";
import { timedOutStatus } from "../../src/client/run.ts";
import { daemonWords } from "../../src/client/words.ts";
import {
  builtinNames,
  starterName,
  starterSocketNumber,
  starterWordNumber,
} from "../../src/domain/builtins.ts";
import { localNames, modes, projectMarkers } from "../../src/domain/discovery.ts";
import { signalNumbers } from "../../src/os/signals.ts";
import {
  disconnections,
  flagBodyInMemfd,
  magic,
  messageTypes,
  protocolMajor,
  refusalCodes,
  runFlags,
  startStages,
} from "../../src/protocol/messages.ts";

/** The bytes that stand for what a message is to have in their place. */
const blanks = { place: 1, pid: 2, theirs: 3 } as const;

/** The numbers that the head takes, by the names it has for them. */
export const numbers: Readonly<Record<string, number>> = {
  ...kernelNumbers(),
  ...numbersOf(errnos),
  ...signalNumbers,
  MAGIC: magic,
  PROTOCOL_MAJOR: protocolMajor,
  FLAG_BODY_IN_MEMFD: flagBodyInMemfd,
  ...prefixed("MESSAGE", messageTypes),
  ...prefixed("REFUSAL", refusalCodes),
  ...prefixed("STAGE", startStages),
  ...prefixed("RUN", runFlags),
  ...prefixed("DISCONNECTION", disconnections),
  ...prefixed("MODE", placesOf(modes)),
  ...prefixed("OPTION", placesOf(Object.keys(runOptions))),
  ...prefixed("WORD", blanks),
  ...limitsOf(),
  PREFORK_FAILED: exitCodes.preforkFailed,
  TIMED_OUT: timedOutStatus,
  STARTER_SOCKET: starterSocketNumber,
  STARTER_REPORT: starterWordNumber,
};

/** The texts; a list is its words, each ended by a NUL, and an empty one. */
export const texts: Readonly<Record<string, string>> = {
  MODES: listOf(modes),
  DISCONNECTIONS: listOf(Object.keys(disconnections)),
  BUILTINS: listOf(builtinNames),
  LOCAL_NAMES: listOf(localNames),
  PROJECT_MARKERS: listOf(projectMarkers),
  STARTER_NAME: starterName,
  // The letter, "f" for a flag or "v" for an option with a value, the name.
  OPTION_TABLE: listOf(
    Object.entries(runOptions).map(
      ([name, option]) =>
        `${"alias" in option ? option.alias : " "}${option.type === "boolean" ? "f" : "v"}${name}`,
    ),
  ),
  ...Object.fromEntries(
    Object.entries(daemonWords).map(([name, text]) => [`WORDS_${name}`, withBlanks(text)]),
  ),
};

/** The header itself. */
export function contract(): string {
  const lines = ["// Made by the build out of the TypeScript sources: build/head/contract.ts."];
  for (const [name, number] of Object.entries(numbers)) {
    // A number that an int does not hold is unsigned, as C has it in hexadecimal.
    lines.push(`#define ${name} ${number > 0x7fff_ffff ? `0x${number.toString(16)}u` : number}`);
  }
  for (const [name, text] of Object.entries(texts)) lines.push(`#define ${name} ${quoted(text)}`);
  return `${lines.join("\n")}\n`;
}

/** All but the numbers of system calls: those are in ffi/head/sys.h, for both architectures. */
function kernelNumbers(): Record<string, number> {
  const all = Object.entries(numbersOf(constants));
  return Object.fromEntries(all.filter(([name]) => !name.startsWith("SYS_")));
}

/** Those exports of a module that are numbers. */
function numbersOf(module: object): Record<string, number> {
  return Object.fromEntries(
    Object.entries(module).filter(
      (entry): entry is [string, number] => typeof entry[1] === "number",
    ),
  );
}

/** `answerTimeoutMs` as ANSWER_TIMEOUT_MS. */
function limitsOf(): Record<string, number> {
  return Object.fromEntries(
    Object.entries(numbersOf(limits)).map(([name, number]) => [
      name
        .replace(/(?<=[a-z])(?=[A-Z])/g, "_")
        .toUpperCase()
        .replaceAll("KI_B", "KIB"),
      number,
    ]),
  );
}

function prefixed(prefix: string, table: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(table).map(([name, number]) => [
      `${prefix}_${name.replaceAll("-", "_")}`,
      number,
    ]),
  );
}

function placesOf(names: readonly string[]): Record<string, number> {
  return Object.fromEntries(names.map((name, index) => [name, index]));
}

/** C ends a string with one NUL more: the empty word. */
function listOf(words: readonly string[]): string {
  return words.map((word) => `${word}\0`).join("");
}

function withBlanks(text: string): string {
  return text.replace(/\{(\w+)\}/g, (_, name: keyof typeof blanks) =>
    String.fromCharCode(blanks[name]),
  );
}

/** Octal escapes of three digits end by themselves, whatever comes behind them. */
function quoted(text: string): string {
  const escaped = [...text].map((char) => {
    const code = char.charCodeAt(0);
    const isPlain = code >= 0x20 && code < 0x7f && char !== '"' && char !== "\\";
    return isPlain ? char : `\\${code.toString(8).padStart(3, "0")}`;
  });
  return `"${escaped.join("")}"`;
}
