/** Texts that are almost configuration: whatever they are, they are read or refused in one line. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { ConfigurationError, parseConfiguration } from "../../src/domain/configuration.ts";
import { holdsFor } from "../helpers/property.ts";

const file = "/p/prefork.toml";
const knownKeys = [
  ...["script", "bin", "preload", "warmup", "spares", "env", "args", "timeout", "cold", "more"],
];
const value = fc.oneof(
  fc.constantFrom("true", "'x'", '"./y"', '""', "1", "-0.5", "nan", "2020-01-01", "{ a = 1 }", "]"),
  fc.constantFrom("[]", "['a', './b']", "[1, [2]]", '"""\n[commands.z]\n"""', "'''", "'2m'"),
  fc.string({ unit: "binary", maxLength: 4 }),
);
const line = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom("[commands.x]", "[commands.y] # y", "[commands]") },
  {
    weight: 6,
    arbitrary: fc.tuple(fc.constantFrom(...knownKeys), value).map((s) => s.join(" = ")),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom("[commands.'']", "x.bin = 'x'", "commands.z.cold = true"),
  },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 8 }) },
);
const text = fc
  .tuple(fc.array(line, { maxLength: 8 }), fc.constantFrom("\n", "\r\n"))
  .map(([lines, ending]) => lines.join(ending));

test("any text gives commands with their lines, or one line of complaint", () => {
  holdsFor(text, (words) => {
    const count = words.split("\n").length;
    try {
      for (const command of parseConfiguration(words, file)) {
        expect(command.line).toBeWithin(1, count + 1);
        expect([command.script, command.bin].filter((one) => one !== undefined)).toHaveLength(1);
        expect(command.script ?? file).toStartWith("/");
        expect(Number.isInteger(command.timeoutMs)).toBe(true);
      }
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      const [, number] = /^\/p\/prefork\.toml:(\d+): .+\)$/.exec(error.message) ?? [];
      expect(Number(number)).toBeWithin(1, count + 1);
    }
  });
});

test("comments and empty lines move a command's line, and nothing else", () => {
  const above = fc.array(fc.constantFrom("", " ", "# '''", '# """ [commands.y]'));
  holdsFor(above, (lines) => {
    const body = "[commands.x]\nbin = 'x'";
    const [alone] = parseConfiguration(body, file);
    const commands = parseConfiguration([...lines, body].join("\n"), file);
    expect(commands).toEqual([{ ...alone, line: lines.length + 1 } as (typeof commands)[number]]);
  });
});

test("what is wrong is found on its line, whatever stands around", () => {
  const good = fc.constantFrom(
    ...["args = [\n'#', # ]\n'[x]']", "env = []", "cold = false", "warmup = '''\n\na'''", "# x"],
  );
  holdsFor(fc.tuple(fc.uniqueArray(good), fc.uniqueArray(good)), ([before, after]) => {
    const above = ["[commands.x]", "bin = 'x'", ...before].join("\n");
    const below = ["[commands.y]", "bin = 'x'", ...after].join("\n");
    const at = above.split("\n").length + 1;
    for (const wrong of ["spares = 17", "spares = ", "spares"]) {
      const read = () => parseConfiguration([above, wrong, below].join("\n"), file);
      expect(read).toThrow(ConfigurationError);
      expect(read).toThrow(`${file}:${at}: `);
    }
  });
});
