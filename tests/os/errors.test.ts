import { describe, expect, test } from "bun:test";
import * as errno from "../../ffi/errno.ts";
import { errnoName, errnoText } from "../../ffi/errno-names.ts";
import { check, reasonOf, retry, SystemError } from "../../src/os/errors.ts";

test.each(Object.entries<number>(errno))("%s has its name and its words", (name, number) => {
  expect(errnoName(number)).toBe(name);
  expect(errnoText(number)).toMatch(/^[a-z][a-z /-]+$/);
});

test("no two errors have the same number or words", () => {
  const numbers = Object.values(errno);
  expect(new Set(numbers).size).toBe(numbers.length);
  expect(new Set(numbers.map(errnoText)).size).toBe(numbers.length);
});

test.each([0, -1, 9999, Number.NaN])("the number %d is shown as it is", (number) => {
  expect(errnoName(number)).toBe(`errno ${number}`);
  expect(errnoText(number)).toBe(`error number ${number}`);
});

describe("check", () => {
  test.each([0, 1, 2 ** 40])("passes %d on", (result) => {
    expect(check(result, "read")).toBe(result);
  });

  test.each([
    { result: -2, path: "/x", code: "ENOENT", message: "open /x: no such file or directory" },
    { result: -2, path: "", code: "ENOENT", message: "open : no such file or directory" },
    {
      result: -11,
      path: undefined,
      code: "EAGAIN",
      message: "open: resource temporarily unavailable",
    },
    { result: -4095, path: undefined, code: "errno 4095", message: "open: error number 4095" },
  ])("throws for $result what it means", ({ result, path, code, message }) => {
    let error: unknown;
    try {
      check(result, "open", path);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(SystemError);
    expect(error).toMatchObject({
      name: "SystemError",
      syscall: "open",
      errno: -result,
      code,
      message,
    });
  });
});

test.each([
  { what: "at once", answers: [5], result: 5, calls: 1 },
  { what: "after interruptions", answers: [-4, -4, -4, 0], result: 0, calls: 4 },
  { what: "with another error", answers: [-4, -9, 5], result: -9, calls: 2 },
  { what: "with EAGAIN, which is not retried", answers: [-11, 5], result: -11, calls: 1 },
])("retry ends $what", ({ answers, result, calls }) => {
  let count = 0;
  expect(retry(() => answers[count++] ?? Number.NaN)).toBe(result);
  expect(count).toBe(calls);
});

test.each([
  { error: new SystemError("bind", 98, "/s"), reason: "bind /s: address already in use" },
  { error: new TypeError("odd"), reason: "odd" },
  { error: "text", reason: "text" },
  { error: undefined, reason: "undefined" },
  { error: 0, reason: "0" },
])("a reason is told as '$reason'", ({ error, reason }) => {
  expect(reasonOf(error)).toBe(reason);
});
