import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  isLoadable,
  loadOrder,
  staticImports,
  survey,
  withImporters,
} from "../../src/image/script/modules.ts";

const directory = mkdtempSync(join(tmpdir(), "pf-modules-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const file = join(directory, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

const graph = new Map([
  ["/main", ["/a", "/b"]],
  ["/a", ["/shared"]],
  ["/b", ["/shared", "/circle"]],
  ["/shared", []],
  ["/circle", ["/b"]],
]);

describe("the order of loading", () => {
  test("what is imported comes first, as the entry module imports it", () => {
    const recorded = ["/circle", "/b", "/shared", "/a", "/main"];
    expect(loadOrder(graph, "/main", recorded)).toEqual(["/shared", "/a", "/circle", "/b"]);
  });

  test("what no text leads to comes last", () => {
    expect(loadOrder(graph, "/main", ["/late", "/a"]).at(-1)).toBe("/late");
  });

  test("whoever imports a tainted module is, too", () => {
    expect([...withImporters(graph, new Set(["/circle"]))].sort()).toEqual([
      "/b",
      "/circle",
      "/main",
    ]);
    expect([...withImporters(graph, new Set())]).toEqual([]);
  });
});

test.each([
  ["/x/a.ts", true],
  ["/x/a.cjs", true],
  ["/x/a.json", false],
  ["/x/a.node", false],
  ["/$bunfs/root/a.js", false],
  ["a.ts", false],
])("%s can be loaded ahead: %p", (file, isOne) => {
  expect(isLoadable(file)).toBe(isOne);
});

test("a tool that names its interpreter has imports like any other", () => {
  const library = write("named/library.js", "module.exports = 1;\n");
  const main = write("named/main.js", '#!/usr/bin/env node\nrequire("./library.js");\n');
  expect(survey([main, library]).graph.get(main)).toEqual([library]);
});

test("static imports are those that are not in a function", () => {
  const other = write("static/other.ts", "export const x: number = 1;\n");
  const main = write(
    "static/main.ts",
    'import { x } from "./other.ts";\nimport "node:fs";\nimport "./missing.ts";\nconst y = () => import("./late.ts");\nconsole.log(x, y);\n',
  );
  write("static/late.ts", "");
  expect(staticImports(main)).toEqual([other]);
});

test("a survey finds the imports, and the places where a lookup found nothing", () => {
  const dependency = write("dependency.ts", "export const x: number = 1;\n");
  const tool = write("node_modules/tool/index.js", "module.exports = process.env;\n");
  const main = write(
    "deep/main.ts",
    'import { x } from "../dependency";\nconst tool = require("tool");\nexport default [x, tool, Bun.env];\n',
  );
  const { graph: found, absent, readsEnvironment } = survey([main, dependency, tool]);
  expect(found.get(main)).toEqual([dependency, tool]);
  expect([...readsEnvironment]).toEqual([main]);
  // Bun would take these instead if they were there.
  expect(absent).toContain(join(directory, "dependency.tsx"));
  expect(absent).toContain(join(directory, "deep/node_modules/tool"));
  expect(absent).toContain(join(directory, "deep/tsconfig.json"));
  expect(absent).not.toContain(join(directory, "dependency.js"));
  expect(absent).not.toContain(dependency);
});

test("what cannot be read or parsed has no imports", () => {
  const broken = write("broken.ts", "import from from from\n");
  const missing = join(directory, "missing.ts");
  const { graph: found } = survey([broken, missing]);
  expect([...found.values()]).toEqual([[], []]);
});
