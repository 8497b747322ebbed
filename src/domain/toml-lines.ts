/**
 * On which line of a TOML text something stands. The values are read by Bun's parser, which tells
 * no lines; this is a rough reading of statements only: their extent, and the path each one sets.
 */

/** A table's header, or a key with its value, which may go on over several lines. */
interface Statement {
  /** Counted from 1. */
  readonly line: number;
  /** The index behind it in the text. */
  readonly end: number;
  /** The statement as a whole text of TOML that sets its path to nothing of interest. */
  readonly skeleton: string;
  readonly isHeader: boolean;
}

/** Lines are told for so many levels: commands, NAME, KEY. */
const depthMax = 3;

/** The lines of one text that parses. */
export class TomlLines {
  /** By path, as `keyOf` spells it. */
  readonly #lines = new Map<string, number>();

  constructor(text: string) {
    let table: readonly string[] = [];
    for (const { line, skeleton, isHeader } of statements(text)) {
      const path = pathSetBy(skeleton);
      if (isHeader) table = path;
      this.#note(isHeader ? path : [...table, ...path], line);
    }
  }

  /** The line that sets `path`, or else what is around it. */
  of(path: readonly string[]): number {
    for (let length = path.length; length > 0; length--) {
      const line = this.#lines.get(keyOf(path.slice(0, length)));
      if (line !== undefined) return line;
    }
    return 1;
  }

  /** The first mention of a path counts, and a path is mentioned by what is set below it. */
  #note(path: readonly string[], line: number): void {
    for (let length = Math.min(path.length, depthMax); length > 0; length--) {
      const key = keyOf(path.slice(0, length));
      if (!this.#lines.has(key)) this.#lines.set(key, line);
    }
  }
}

/** The line of the statement at which a text stops to be TOML. */
export function lineOfSyntaxError(text: string, isToml: (text: string) => boolean): number {
  const all = statements(text);
  let [good, bad] = [0, all.length]; // the first `good` statements parse; with `bad` they do not
  while (bad - good > 1) {
    const middle = (good + bad) >>> 1;
    if (isToml(text.slice(0, all[middle - 1]?.end))) good = middle;
    else bad = middle;
  }
  return all[bad - 1]?.line ?? 1;
}

function keyOf(path: readonly string[]): string {
  return JSON.stringify(path);
}

/** The path, or its beginning, to the innermost value of a text with one key at each level. */
function pathSetBy(skeleton: string): string[] {
  const path: string[] = [];
  let value: unknown = parsed(skeleton);
  while (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const [entry] = Object.entries(value);
    if (!entry || path.length === depthMax) break;
    path.push(entry[0]);
    value = entry[1];
  }
  return path;
}

/** Nothing, where our reading of a statement was too rough: its line is that of what is around. */
function parsed(skeleton: string): unknown {
  try {
    return Bun.TOML.parse(skeleton);
  } catch {
    return undefined;
  }
}

function statements(text: string): Statement[] {
  const all: Statement[] = [];
  let [at, line] = [0, 1];
  while (at < text.length) {
    const blank = /[ \t\r\ufeff]*(?:#[^\n]*)?/y;
    blank.lastIndex = at;
    blank.test(text);
    at = blank.lastIndex;
    if (at >= text.length) break;
    if (text[at] === "\n") {
      at++;
      line++;
      continue;
    }
    const statement = statementAt(text, at, line);
    all.push(statement);
    line += text.slice(at, statement.end).split("\n").length - 1;
    at = statement.end;
  }
  return all;
}

/** Reads up to the line break that is in no string and no bracket, or to the end. */
function statementAt(text: string, start: number, line: number): Statement {
  const isHeader = text[start] === "[";
  // The next thing of interest: a comment, a string, a bracket, an equals sign, a line break.
  // What is not closed goes on to the end of the text or line, so that nothing is read twice.
  const part =
    /#[^\n]*|"""(?:\\[\s\S]|[^\\])*?(?:"{3,5}|\\?$)|'''[\s\S]*?(?:'{3,5}|$)|"(?:\\.|[^"\\\n])*"?|'[^'\n]*'?|[[\]{}=\n]/g;
  part.lastIndex = start;
  let depth = 0;
  let equals: number | undefined;
  let contentEnd = text.length;
  let end = text.length;
  for (let match = part.exec(text); match; match = part.exec(text)) {
    const [found] = match;
    if (found === "[" || found === "{") depth++;
    else if (found === "]" || found === "}") depth--;
    else if (found === "=") equals ??= match.index;
    else if (found.startsWith("#")) contentEnd = Math.min(contentEnd, match.index);
    else if (found === "\n" && (depth <= 0 || isHeader)) {
      end = match.index;
      break;
    }
  }
  const skeleton = isHeader
    ? text.slice(start, Math.min(contentEnd, end)).trimEnd()
    : `${text.slice(start, equals ?? end)}= 0`;
  return { line, end, skeleton, isHeader };
}
