/** Which file a tool's name stands for, as the package managers leave them in node_modules/.bin. */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { findScript } from "../../src/execution/script.ts";

const root = realpathSync(mkdtempSync(join(tmpdir(), "pf-script-")));
afterAll(() => rmSync(root, { recursive: true }));
const bin = join(root, "node_modules/.bin");

function write(name: string, text: string): string {
  const file = join(root, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  chmodSync(file, 0o755);
  return file;
}

/** As pnpm 10 writes them, without what is for Windows. */
const shim = (call: string, target: string): string => `#!/bin/sh
basedir=$(dirname "$(echo "$0" | sed -e 's,\\\\,/,g')")
if [ -z "$NODE_PATH" ]; then
  export NODE_PATH="${root}/node_modules/.pnpm/node_modules"
else
  export NODE_PATH="${root}/node_modules/.pnpm/node_modules:$NODE_PATH"
fi
if [ -x "$basedir/node" ]; then
  exec "$basedir/node"  "$basedir/${target}" "$@"
else
  exec ${call}"$basedir/${target}" "$@"
fi
`;

const tool = write(
  "node_modules/.pnpm/tool@1.0.0/node_modules/tool/bin/tool.js",
  "#!/usr/bin/env node\n",
);
const bare = write("node_modules/bare/cli", "#!/usr/bin/env -S node --no-warnings\n");
const shell = write("node_modules/shell/run.sh", "#!/bin/sh\n");

const rows: { what: string; name: string; path: string; isProgram: boolean }[] = [];
function expected(what: string, name: string, path: string, isProgram: boolean): void {
  rows.push({ what, name, path, isProgram });
}

const fromBin = "../.pnpm/tool@1.0.0/node_modules/tool/bin/tool.js";
write("node_modules/.bin/shimmed", shim("node  ", fromBin));
expected("pnpm's shell script", "shimmed", tool, false);
symlinkSync(join("..", "bare", "cli"), join(bin, "linked"));
expected("a link to a file without an extension", "linked", bare, false);
expected(
  "a script without a first line of its own",
  "plain",
  write("node_modules/.bin/plain", "console.log(1)\n"),
  false,
);
symlinkSync(join("..", "shell", "run.sh"), join(bin, "shell"));
expected("a link to a shell script", "shell", shell, true);
write("node_modules/.bin/shimmed-shell", shim("", "../shell/run.sh"));
expected("pnpm's shell script of one", "shimmed-shell", join(bin, "shimmed-shell"), true);
write("node_modules/.bin/gone", shim("node  ", "../gone/index.js"));
expected("a shell script whose target is gone", "gone", join(bin, "gone"), true);
expected(
  "a native program",
  "native",
  write("node_modules/.bin/native", "\u007fELF\u0002\u0001"),
  true,
);
expected(
  "a script for Python",
  "python",
  write("node_modules/.bin/python", "#!/usr/bin/python3\n"),
  true,
);

test.each(rows)("$what", ({ name, path, isProgram }) => {
  expect(findScript(name, join(root, "some/where"))).toEqual({ path, isProgram });
});

test("a file that is named by its path is a script", () => {
  expect(findScript("./run.sh", dirname(shell))).toEqual({ path: shell, isProgram: false });
});

test("what is not there is not found", () => {
  expect(findScript("none", root)).toBeUndefined();
  expect(findScript("./none", root)).toBeUndefined();
});
