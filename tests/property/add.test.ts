/** `add` against a reference that counts in units of the finest fraction among its arguments. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { add } from "../../src/image/commands/add.ts";
import { holdsFor } from "../helpers/property.ts";

interface Spelled {
  readonly sign: "" | "+" | "-";
  readonly whole: string;
  /** The point and what is behind it. */
  readonly fraction: string;
}

const digits = (size: { min: number; max: number }): fc.Arbitrary<string> =>
  fc
    .array(fc.constantFrom("0", "0", "0", "9", "9", "1", "2", "3", "4", "5", "6", "7", "8"), {
      minLength: size.min,
      maxLength: size.max,
    })
    .map((all) => all.join(""));

const number: fc.Arbitrary<Spelled> = fc
  .record({
    sign: fc.constantFrom("", "", "+", "-", "-"),
    whole: fc.oneof(digits({ min: 1, max: 4 }), digits({ min: 0, max: 80 })),
    fraction: fc.oneof(
      fc.constant(""),
      digits({ min: 0, max: 3 }).map((all) => `.${all}`),
      digits({ min: 0, max: 60 }).map((all) => `.${all}`),
    ),
  })
  .filter(({ whole, fraction }) => whole.length + fraction.length > (fraction === "" ? 0 : 1));
const numbers = fc.array(number, { maxLength: 12 });

const spell = ({ sign, whole, fraction }: Spelled): string => sign + whole + fraction;

function reference(all: readonly Spelled[]): string {
  const places = Math.max(0, ...all.map(({ fraction }) => fraction.length));
  const unit = 10n ** BigInt(places);
  let sum = 0n;
  for (const { sign, whole, fraction } of all) {
    const inUnits =
      BigInt(whole || "0") * unit + BigInt(fraction.slice(1).padEnd(places, "0") || "0");
    sum = sign === "-" ? sum - inUnits : sum + inUnits;
  }
  const size = sum < 0n ? -sum : sum;
  let text = `${size / unit}.${(size % unit).toString().padStart(places, "0")}`;
  while (text.endsWith("0")) text = text.slice(0, -1);
  if (text.endsWith(".")) text = text.slice(0, -1);
  return sum < 0n ? `-${text}` : text;
}

test("the sum is exact, whatever the size and the number of places", () => {
  holdsFor(numbers, (all) => {
    const expected = { output: `${reference(all)}\n`, complaints: "", status: 0 };
    expect(add(all.map(spell))).toEqual(expected);
  });
});

test("the sum of integers is BigInt's", () => {
  holdsFor(fc.array(fc.bigInt()), (all) => {
    const sum = all.reduce((a, b) => a + b, 0n);
    expect(add(all.map(String)).output).toBe(`${sum}\n`);
  });
});

test("the order does not matter, and a sum can be added on", () => {
  holdsFor(fc.tuple(numbers, numbers), ([a, b]) => {
    const [left, right] = [a.map(spell), b.map(spell)];
    const { output } = add([...left, ...right]);
    expect(add([...right, ...left]).output).toBe(output);
    const parts = [add(left), add(right)].map((part) => part.output.trimEnd());
    expect(add(parts).output).toBe(output);
  });
});

test("a number and its negative leave nothing", () => {
  holdsFor(number, (one) => {
    const opposite: Spelled = { ...one, sign: one.sign === "-" ? "" : "-" };
    expect(add([spell(one), spell(opposite)]).output).toBe("0\n");
  });
});

test("each bad argument gets its line, in order, and no sum is told", () => {
  const breaks = fc.tuple(number, fc.nat(90), fc.constantFrom(..." eE,_xn-+/'\"\t\xb2\xff"));
  const bad = breaks.map(([one, at, wrong]) => {
    const text = spell(one);
    const place = 1 + (at % text.length); // a sign in front would be no mistake
    return text.slice(0, place) + wrong + text.slice(place);
  });
  const mixed = fc.array(
    fc.oneof(
      number.map((one) => ({ text: spell(one), isGood: true })),
      bad.map((text) => ({ text, isGood: false })),
    ),
  );
  holdsFor(mixed, (args) => {
    const wrong = args.filter(({ isGood }) => !isGood);
    const { output, complaints, status } = add(args.map(({ text }) => text));
    expect(complaints).toBe(wrong.map(({ text }) => `add: '${text}' is not a number\n`).join(""));
    expect(status).toBe(wrong.length > 0 ? 1 : 0);
    expect(output === "").toBe(wrong.length > 0);
  });
});

test("any text is a number or is complained about", () => {
  holdsFor(
    fc.oneof(fc.string({ unit: "binary" }), fc.stringMatching(/^[+-.0-9e]{0,6}$/)),
    (text) => {
      const { output, complaints, status } = add([text]);
      if (status === 0) {
        expect(complaints).toBe("");
        expect(output).toMatch(/^-?(0|[1-9]\d*)(\.\d*[1-9])?\n$/);
      } else {
        expect([output, status]).toEqual(["", 1]);
        expect(complaints).not.toBe("");
      }
    },
  );
});
