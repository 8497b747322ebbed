import { expect, test } from "bun:test";
import { builtinNames, isBuiltin } from "../../src/domain/builtins.ts";

test.each([...builtinNames])("%s is a command of ours", (name) => {
  expect(isBuiltin(name)).toBe(true);
});

test.each(["", "Add", "ADD", "add ", " add", "./add", "/bin/add", "ad", "adds", "length", "0"])(
  "%j is none",
  (name) => {
    expect(isBuiltin(name)).toBe(false);
  },
);
