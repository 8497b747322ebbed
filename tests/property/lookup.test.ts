import { expect, test } from "bun:test";
import fc from "fast-check";
import { latin1 } from "../../src/base/strings.ts";
import { executableCandidates } from "../../src/domain/lookup.ts";
import { bytesOf, cBytes } from "../helpers/arbitraries.ts";
import { holdsFor } from "../helpers/property.ts";

/** execvp(3) on texts: split at the colons, nothing means here, and the name stands alone. */
function search(name: string, path: string): string[] {
  if (name.includes("/")) return [name];
  return path.split(":").map((directory) => (directory === "" ? name : `${directory}/${name}`));
}

const path = fc.oneof(
  fc.stringMatching(/^[/:a.]{0,12}$/).map(bytesOf),
  fc.array(cBytes, { maxLength: 5 }).map((all) => bytesOf(all.map(latin1).join(":"))),
);

test("the candidates are those of execvp, for any bytes", () => {
  const name = cBytes.filter((bytes) => bytes.length > 0);
  holdsFor(fc.tuple(name, path), ([wanted, along]) => {
    const found = [...executableCandidates(wanted, along)].map(latin1);
    expect(found).toEqual(search(latin1(wanted), latin1(along)));
  });
});
