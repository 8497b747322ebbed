/**
 * The table of calls as one text, for `libc.ts`. It is a macro: the bundler runs it and puts the text in
 * the place of the call, so that a client does not build a table of ninety entries for the twenty it calls.
 */
import { signatures, symbols } from "./sys.ts";

/** `;name:symbol report parameter parameter` of every call, one behind the other, and a last `;`. */
export function signatureText(): string {
  const entries = Object.entries(signatures).map(
    ([name, signature]) => `;${name}:${symbols.get(name) ?? name} ${signature.join(" ")}`,
  );
  return `${entries.join("")};`;
}
