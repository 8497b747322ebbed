/** What `--env`, `--unset` and `--clear-env` make of the caller's environment, on bytes. */
import {
  environmentValue,
  fromLatin1,
  latin1,
  type StringList,
  stringList,
  strings,
  utf8,
} from "../base/strings.ts";

/** What is to be changed; texts are latin1, one byte a character. */
export interface EnvironmentEdits {
  readonly clear: boolean;
  /** Names. */
  readonly unset: readonly string[];
  /** NAME=VALUE, or a NAME alone for the caller's own value, in order: the last one of a name wins. */
  readonly set: readonly string[];
}

/** Clears, then unsets, then sets; what is not named keeps its place and its bytes. */
export function editEnvironment(env: StringList, edits: EnvironmentEdits): StringList {
  const settings = new Map<string, string>();
  for (const word of edits.set) {
    const name = nameOf(word);
    const value = name === word ? callersEntry(env, name) : word;
    if (value === undefined) settings.delete(name);
    else settings.set(name, value);
  }
  const dropped = new Set(edits.unset);
  const entries: string[] = [];
  for (const entry of edits.clear ? [] : strings(env).map(latin1)) {
    const name = nameOf(entry);
    const setting = settings.get(name);
    if (setting !== undefined) {
      // It takes the place of the first of its name.
      entries.push(setting);
      settings.delete(name);
      dropped.add(name);
    } else if (!dropped.has(name)) entries.push(entry);
  }
  entries.push(...settings.values());
  return stringList(fromLatin1(entries.map((entry) => `${entry}\0`).join("")));
}

/** What stands before the first `=`; all of it when there is none. */
export function nameOf(entry: string): string {
  const equals = entry.indexOf("=");
  return equals < 0 ? entry : entry.slice(0, equals);
}

/** As text, as the runtime reads it: the first of a name counts, and what has no `=` is no variable. */
export function environmentMap(env: StringList): Map<string, string> {
  const variables = new Map<string, string>();
  for (const entry of strings(env).map(utf8)) {
    const name = nameOf(entry);
    if (name === "" || name === entry || variables.has(name)) continue;
    variables.set(name, entry.slice(name.length + 1));
  }
  return variables;
}

function callersEntry(env: StringList, name: string): string | undefined {
  const value = environmentValue(env, name);
  return value && `${name}=${latin1(value)}`;
}
