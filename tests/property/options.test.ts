/** Options spelled in every way there is, and words that are anything at all. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { type Options, readOptions, UsageError } from "../../src/cli/options.ts";
import { holdsFor } from "../helpers/property.ts";

const booleans = { wait: "w", create: "C", quiet: "q" } as const;
const valued = { fd: "f", mode: "m" } as const;
type BooleanName = keyof typeof booleans;
type ValuedName = keyof typeof valued;

const options: Options = {
  wait: { type: "boolean", alias: booleans.wait, description: "" },
  create: { type: "boolean", alias: booleans.create, description: "" },
  quiet: { type: "boolean", alias: booleans.quiet, description: "" },
  fd: { type: "string", alias: valued.fd, description: "" },
  mode: { type: "enum", alias: valued.mode, options: ["local", "-w", ""], description: "" },
};

/** Some words, and what they say. */
interface Piece {
  readonly words: readonly string[];
  readonly flags: readonly BooleanName[];
  readonly value?: { readonly name: ValuedName; readonly text: string };
}

const flag = fc.constantFrom<BooleanName>("wait", "create", "quiet");
const setting = fc.oneof(
  fc.tuple(
    fc.constant<ValuedName>("fd"),
    fc.oneof(fc.string(), fc.constantFrom("", "-", "--", "-w", "--wait", "=", "a=b")),
  ),
  fc.tuple(fc.constant<ValuedName>("mode"), fc.constantFrom("local", "-w", "")),
);

const piece: fc.Arbitrary<Piece> = fc.oneof(
  flag.map((name) => ({ words: [`--${name}`], flags: [name] })),
  fc.array(flag, { minLength: 1 }).map((names) => ({
    words: [`-${names.map((name) => booleans[name]).join("")}`],
    flags: names,
  })),
  setting.map(([name, text]) => ({ words: [`--${name}`, text], flags: [], value: { name, text } })),
  setting.map(([name, text]) => ({
    words: [`--${name}=${text}`],
    flags: [],
    value: { name, text },
  })),
  fc.tuple(fc.array(flag), setting, fc.boolean()).map(([names, [name, text], isApart]) => {
    const cluster = `-${names.map((one) => booleans[one]).join("")}${valued[name]}`;
    // Nothing can stand behind a letter, but not nothing at all.
    const words = isApart || text === "" ? [cluster, text] : [cluster + text];
    return { words, flags: names, value: { name, text } };
  }),
);

const rest = fc.oneof(
  fc.constant<string[]>([]),
  fc.array(fc.string()).map((words) => ["--", ...words]),
  fc
    .tuple(
      fc.oneof(
        fc.constantFrom("", "-", "ls", "=", "a-w"),
        fc.string().filter((s) => !s.startsWith("-")),
      ),
      fc.array(fc.oneof(fc.string(), fc.constantFrom("-w", "--", "--fd"))),
    )
    .map(([command, words]) => [command, ...words]),
);

test("every spelling says what it means, and the command's words are left alone", () => {
  holdsFor(fc.tuple(fc.array(piece), rest), ([pieces, behind]) => {
    const own = pieces.flatMap(({ words }) => words);
    const reading = readOptions([...own, ...behind], options);
    const given = Map.groupBy(
      pieces.flatMap(({ flags }) => flags),
      (name) => name,
    );
    expect(reading.flags).toEqual(new Map([...given].map(([name, all]) => [name, all.length])));
    for (const name of ["fd", "mode"] as const) {
      const texts = pieces.flatMap(({ value }) => (value?.name === name ? [value.text] : []));
      expect(reading.values.get(name) ?? []).toEqual(texts);
    }
    expect(reading.wordCount).toBe(own.length + (behind[0] === "--" ? 1 : 0));
  });
});

test("any words are read or refused, and never more than there are", () => {
  const word = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.stringMatching(/^-{0,3}[wCqfmx=-]{0,4}$/),
    fc.constantFrom("--wait", "--fd", "--mode", "--mode=local", "--fd=", "--", "-"),
  );
  holdsFor(fc.array(word), (words) => {
    try {
      const { wordCount, flags, values } = readOptions(words, options);
      expect(wordCount).toBeWithin(0, words.length + 1);
      for (const name of [...flags.keys(), ...values.keys()])
        expect(Object.keys(options)).toContain(name);
      // What follows does not change what was read.
      const own = words.slice(0, wordCount);
      expect(readOptions([...own, ...(own.at(-1) === "--" ? [] : ["ls"])], options)).toEqual({
        flags,
        values,
        wordCount,
      });
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
    }
  });
});
