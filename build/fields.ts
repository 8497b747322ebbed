/**
 * A pass of the build over our sources: what they ask of a C structure whose layout is fixed (its size, a field's
 * offset, reading and writing a field) becomes the number, or the one call of its DataView, that it comes to. So the
 * executable works out no layout, and a client, which lives for ten milliseconds, builds no table for a dozen fields.
 * What cannot be told from the text alone (a name put together, another receiver) stays as it is written, and works
 * as `ffi/structs.ts` says: the tests, which run the sources, see the same.
 */
import * as structs from "../ffi/structs.ts";
import { Struct } from "../ffi/structs.ts";

/** Not this one: its layout depends on the architecture the executable will run on. */
const varying: ReadonlySet<string> = new Set(["epollEvent"]);

const fixed: ReadonlyMap<string, Struct<string>> = new Map(
  Object.entries(structs).flatMap(([name, value]) =>
    value instanceof Struct && !varying.has(name) ? [[name, value as Struct<string>]] : [],
  ),
);
const names: string = [...fixed.keys()].join("|");

const sizePattern: RegExp = new RegExp(`(?<![.\\w])(${names})\\.size\\b`, "g");
const destructuredPattern: RegExp = new RegExp(`\\bconst \\{ size \\} = (${names});`, "g");
const offsetPattern: RegExp = new RegExp(`(?<![.\\w])(${names})\\.offset\\("(\\w+)"\\)`, "g");
const callPattern: RegExp = new RegExp(`(?<![.\\w])(${names})\\.(get|set|point)\\(`, "g");

/** `source` with the fields of C structures worked out. */
export function withFieldsInPlace(source: string): string {
  const layoutsKnown = source
    .replace(sizePattern, (_, name: string) => `${structOf(name).size}`)
    .replace(destructuredPattern, (_, name: string) => `const size = ${structOf(name).size};`)
    .replace(offsetPattern, (_, name: string, field: string) => `${structOf(name).offset(field)}`);
  let out = "";
  let from = 0;
  for (const match of layoutsKnown.matchAll(callPattern)) {
    if (match.index < from) continue; // an argument of the call before; a second look would find it
    const [text, name = "", verb = ""] = match;
    const call = readArguments(layoutsKnown, match.index + text.length);
    const replacement = call && accessOf(structOf(name), verb, call.args);
    if (!call || replacement === undefined) continue;
    out += layoutsKnown.slice(from, match.index) + replacement;
    from = call.end;
  }
  return out + layoutsKnown.slice(from);
}

function structOf(name: string): Struct<string> {
  return fixed.get(name) as Struct<string>; // the patterns know no other names
}

/** The text of an access to one field; undefined when the field is not named in so many words. */
function accessOf(
  struct: Struct<string>,
  verb: string,
  [memory = "", quoted = "", ...rest]: readonly string[],
): string | undefined {
  const field = /^"(\w+)"$/.exec(quoted)?.[1];
  const isNested = [memory, ...rest].some((text) => text.search(callPattern) >= 0);
  if (field === undefined || isNested) return undefined;
  const value = verb === "get" ? "" : (rest.shift() ?? "");
  const base = rest[0];
  const offset = struct.offset(field);
  const at = base === undefined ? `${offset}` : `${offset} + (${base})`;
  if (verb === "point") return `${memory}.point(${at}, ${value})`;
  const type = struct.type(field);
  const kind = typeof type === "number" ? undefined : kinds[type];
  if (kind === undefined) return undefined;
  const isBig = kind.startsWith("Big");
  if (verb === "set") {
    return `${memory}.view.set${kind}(${at}, ${isBig ? `BigInt(${value})` : value}, true)`;
  }
  const read = `${memory}.view.get${kind}(${at}, true)`;
  return isBig ? `Number(${read})` : read;
}

/** DataView's words for the numbers of C. */
const kinds: Readonly<Record<string, string>> = {
  u8: "Uint8",
  u16: "Uint16",
  i32: "Int32",
  u32: "Uint32",
  i64: "BigInt64",
  u64: "BigUint64",
};

/** The texts of a call's arguments, from behind its `(`, and where the call ends; undefined: it is not plain. */
function readArguments(source: string, start: number): { args: string[]; end: number } | undefined {
  const args: string[] = [];
  let depth = 0;
  let from = start;
  for (let at = start; at < source.length; at++) {
    const character = source[at] as string;
    if ("([{".includes(character)) depth++;
    if ("`'".includes(character)) return undefined; // a text may hold any of these
    if (character === '"') at = source.indexOf('"', at + 1);
    const isEnd = depth === 0 && character === ")";
    if (isEnd || (depth === 0 && character === ",")) {
      const text = source.slice(from, at).trim();
      if (text !== "") args.push(text);
      from = at + 1;
    }
    if (isEnd) return { args, end: at + 1 };
    if (")]}".includes(character)) depth--;
  }
  return undefined;
}
