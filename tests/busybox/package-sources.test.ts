/** Which package sources a machine's own are turned into. */
import { describe, expect, test } from "bun:test";
import { packageSources } from "./package-sources.ts";

describe("one line each", () => {
  const cases: [string, string, string][] = [
    [
      "gets its source packages",
      "deb http://a.example/debian bookworm main\n",
      "deb http://a.example/debian bookworm main\ndeb-src http://a.example/debian bookworm main\n",
    ],
    [
      "keeps its options",
      "deb [arch=amd64 signed-by=/k.gpg] http://a.example/ bookworm-updates main contrib",
      "deb [arch=amd64 signed-by=/k.gpg] http://a.example/ bookworm-updates main contrib\n" +
        "deb-src [arch=amd64 signed-by=/k.gpg] http://a.example/ bookworm-updates main contrib\n",
    ],
    [
      "counts when it is named by what it is",
      "deb http://a.example/ stable main",
      "deb http://a.example/ stable main\ndeb-src http://a.example/ stable main\n",
    ],
    ["is left out when it is of another release", "deb http://a.example/ bullseye main", ""],
    ["is left out when it is somebody else's", "deb http://b.example/ cloud-bookworm main", ""],
    ["is left out when it is a disc", "deb cdrom:[Disc 1]/ bookworm main", ""],
    ["is left out when it has sources only", "deb-src http://a.example/ bookworm main", ""],
    ["is left out when it is a comment", "# deb http://a.example/ bookworm main", ""],
    ["may be missing", "\n", ""],
  ];
  test.each(cases)("%s", (_, text, expected) => {
    expect(packageSources("sources.list", text, "bookworm")).toBe(expected);
  });
});

describe("one paragraph each", () => {
  const cases: [string, string, string][] = [
    [
      "gets its source packages, and loses comments",
      "Types: deb\n# from a snapshot\nURIs: http://a.example/debian\nSuites: bookworm bookworm-updates\n" +
        "Components: main\nSigned-By: /k.gpg\n",
      "Types: deb deb-src\nURIs: http://a.example/debian\nSuites: bookworm bookworm-updates\n" +
        "Components: main\nSigned-By: /k.gpg\n\n",
    ],
    [
      "keeps the suites of this release only",
      "Types: deb deb-src\nURIs: http://a.example/\nSuites: bullseye bookworm\nComponents: main",
      "Types: deb deb-src\nURIs: http://a.example/\nSuites: bookworm\nComponents: main\n\n",
    ],
    [
      "is chosen one by one",
      "Types: deb\nURIs: http://b.example/\nSuites: nodistro\nComponents: main\n\n\n" +
        "Types: deb\nURIs: http://a.example/\nSuites: bookworm\nComponents: main\n",
      "Types: deb deb-src\nURIs: http://a.example/\nSuites: bookworm\nComponents: main\n\n",
    ],
    ["is left out when it is off", "Types: deb\nEnabled: no\nSuites: bookworm\n", ""],
    ["is left out when it has sources only", "Types: deb-src\nSuites: bookworm\n", ""],
    ["may be missing", "# nothing\n", ""],
  ];
  test.each(cases)("%s", (_, text, expected) => {
    expect(packageSources("debian.sources", text, "bookworm")).toBe(expected);
  });
});
