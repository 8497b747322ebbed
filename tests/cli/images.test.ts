/** How the daemon's report of its images is read and shown. */
import { expect, test } from "bun:test";
import {
  formatReadiness,
  imageTable,
  type ReportedScript,
  type ReportedVariant,
  scriptReadiness,
  summaryOf,
} from "../../src/cli/images.ts";

const variant: ReportedVariant = {
  state: "ready",
  pid: 5,
  spares: 2,
  served: 3,
  forks: [],
  modules: 0,
  inputs: 0,
  excluded: [],
  notes: [],
};
const starting: ReportedVariant = { ...variant, state: "starting" };
const script: ReportedScript = {
  identity: "",
  name: "lint\n",
  script: "/lint.ts",
  warm: 7,
  cold: 2,
  variants: [variant],
  orphans: [],
};
const quarantined = "it starts a thread";
const reason = "its image is being made";

test.each<{ what: string; of: ReportedScript | undefined; is: string }>([
  { what: "is not known", of: undefined, is: "cold: not run yet" },
  { what: "has told no reason", of: { ...script, variants: [] }, is: "cold: not run yet" },
  { what: "ran cold last", of: { ...script, variants: [], reason: "a\nb" }, is: "cold: a\\nb" },
  { what: "has an image", of: { ...script, reason }, is: "warm" },
  {
    what: "has one, and another fails",
    of: { ...script, variants: [starting, variant], quarantined },
    is: "warm",
  },
  { what: "gets one", of: { ...script, variants: [starting], reason }, is: "being made" },
  {
    what: "is given up",
    of: { ...script, variants: [], reason, quarantined },
    is: "quarantined: it starts a thread",
  },
])("a script that $what", ({ of, is }) => {
  expect(formatReadiness(scriptReadiness(of))).toBe(is);
});

test("a script in one line", () => {
  const forks = [{ role: "job", pid: 8 }] as const;
  const running = { ...script, variants: [{ ...variant, forks }], orphans: forks };
  const jobs = "jobs: 7 warm (2 running), 2 cold";
  expect(summaryOf(running)).toBe(`lint\\n: warm; images: 1, spares: 2; ${jobs}`);
});

test.each<{ what: string; images?: object }>([
  { what: "before scripts", images: {} },
  {
    what: "before forks",
    images: {
      images: [{ ...script, variants: [{ ...variant, forks: undefined }], orphans: undefined }],
    },
  },
])("a daemon of $what is understood", ({ images }) => {
  const image = { state: "ready", pid: 4, spares: 1, served: 0 };
  const table = imageTable({ image, ...images });
  const row = "  image           4           -           -           -\n";
  expect(table).toContain(`base: ready\n${row}`);
});

test("an image without a process has no row", () => {
  const down: ReportedVariant = { ...variant, state: "down", pid: 0 };
  expect(imageTable({ image: down, images: [{ ...script, variants: [down] }] })).toMatch(
    /PSS MB\nbase: down\nlint\\n: down\n {2}all +- +-\n$/,
  );
});

test("only memory that is known is counted", () => {
  const memory = { privateKiB: 1024, sharedKiB: 2048, proportionalKiB: 1536 };
  const forks = [
    { role: "spare", pid: 6, memory },
    { role: "job", pid: 7 },
  ] as const;
  const image = { ...variant, memory, forks };
  const orphans = [{ role: "job", pid: 8, memory }] as const;
  const table = imageTable({ image, images: [{ ...script, variants: [], orphans }] });
  expect(table).toBe(
    [
      "                pid  private MB   shared MB      PSS MB",
      "base: ready",
      "  image           5         1.0         2.0         1.5",
      "  spare           6         1.0         2.0         1.5",
      "  job             7           -           -           -",
      "lint\\n: cold: not run yet",
      "lint\\n: image let go",
      "  job             8         1.0         2.0         1.5",
      "  all                       3.0                     4.5",
      "",
    ].join("\n"),
  );
});
