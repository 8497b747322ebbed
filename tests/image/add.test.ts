import { describe, expect, test } from "bun:test";
import { add } from "../../src/image/commands/add.ts";

const zeros = "0".repeat(400);
const nines = "9".repeat(400);

test.each<{ args: string[]; sum: string }>([
  { args: [], sum: "0" },
  { args: ["0"], sum: "0" },
  { args: ["-0"], sum: "0" },
  { args: ["-0.0", "+0"], sum: "0" },
  { args: ["1", "2"], sum: "3" },
  { args: ["2", "-2"], sum: "0" },
  { args: ["-1", "-2"], sum: "-3" },
  { args: ["+5"], sum: "5" },
  { args: ["007", "-00"], sum: "7" },
  { args: ["0.1", "0.2"], sum: "0.3" },
  { args: ["0.5", "0.5"], sum: "1" },
  { args: ["-0.5"], sum: "-0.5" },
  { args: ["-.5", ".25"], sum: "-0.25" },
  { args: ["5.", "1"], sum: "6" },
  { args: [".5"], sum: "0.5" },
  { args: ["1.10", "0.90"], sum: "2" },
  { args: ["100", "0.00"], sum: "100" },
  { args: ["1000", "-0.001"], sum: "999.999" },
  { args: ["0.001", "-1"], sum: "-0.999" },
  { args: ["9007199254740992", "1"], sum: "9007199254740993" },
])("$args make $sum", ({ args, sum }) => {
  expect(add(args)).toEqual({ output: `${sum}\n`, complaints: "", status: 0 });
});

test.each<{ what: string; args: string[]; sum: string }>([
  { what: "a carry through 400 digits", args: [nines, "1"], sum: `1${zeros}` },
  { what: "a borrow through 400 digits", args: [`1${zeros}`, "-1"], sum: nines },
  { what: "400 places", args: [`0.${zeros}1`, `0.${zeros}1`], sum: `0.${zeros}2` },
  { what: "a carry over the point", args: [`0.${nines}`, `0.${zeros.slice(1)}1`], sum: "1" },
  { what: "zeros that mean nothing", args: [`${zeros}1`, `1.${zeros}`], sum: "2" },
  { what: "5000 arguments", args: new Array(5000).fill("0.01"), sum: "50" },
])("$what", ({ args, sum }) => {
  expect(add(args)).toEqual({ output: `${sum}\n`, complaints: "", status: 0 });
});

const bad = [
  ...["", " ", ".", "+", "-", "+.", "-.", "--1", "+-1", "++1", "1-", "1+", "1-2", "- 1"],
  ...["1.2.3", "..1", "1..", ".1.", "1,5", "1,000", "1_000", "1'000", "1 000", " 1", "1 ", "\t1"],
  ...["1e3", "1E3", "1e", "e", "0x10", "0b1", "0o7", "1n", "1f", "12a", "a12", "abc", "one"],
  ...["NaN", "Infinity", "-Infinity", "inf", "null", "true", "[]", "{}", "1/2", "1%", "$1"],
  ...["--help", "-h", "--", "\u00b2", "\u00bd", "\u0661", "\uff11", "\u2212" + "1", "\xff\xfe"],
  ...["1\r", "1\0", "\0", "1\u00a0", "\ufeff1", "__proto__", "1;2"],
];

describe.each(bad)("%j", (text) => {
  const complaint = `add: '${text}' is not a number\n`;

  test("is not a number", () => {
    expect(add([text])).toEqual({ output: "", complaints: complaint, status: 1 });
  });

  test("is complained about among numbers, of which no sum is told", () => {
    const expected = {
      output: "",
      complaints: `${complaint}add: 'x' is not a number\n`,
      status: 1,
    };
    expect(add(["1", text, "2", "x", "0.5"])).toEqual(expected);
  });
});

test.each(["1\n", "\n", "1\n2", "\n1", "a\nb\n"])("%j gets one line of complaint", (text) => {
  const { output, complaints, status } = add([text]);
  expect([output, status]).toEqual(["", 1]);
  expect(complaints).toMatch(/^add: '.*' is not a number\n$/);
});

test("an argument of every character is complained about as it came", () => {
  const text = Array.from({ length: 255 }, (_, index) => String.fromCharCode(index + 1))
    .join("")
    .replace("\n", "");
  expect(add([text]).complaints).toBe(`add: '${text}' is not a number\n`);
});
