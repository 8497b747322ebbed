/** The pass that puts the fields of C structures in place: what comes out does what went in would do. */
import { describe, expect, test } from "bun:test";
import { Glob } from "bun";
import { withFieldsInPlace } from "../../build/fields.ts";
import { allocate } from "../../ffi/memory.ts";
import { epollEvent, msghdr, rlimit, siginfo, ucred } from "../../ffi/structs.ts";

const scope = { allocate, epollEvent, msghdr, rlimit, siginfo, ucred };

/** What an expression over `memory` comes to. */
function outcomeOf(expression: string, memory: Uint8Array): unknown {
  const names = [...Object.keys(scope), "memory"];
  return new Function(...names, `return ${expression}`)(...Object.values(scope), memory);
}

describe("is worked out", () => {
  const rows: [before: string, after: string][] = [
    ["msghdr.size", "56"],
    ['rlimit.offset("rlim_max")', "8"],
    ['ucred.get(memory, "uid")', "memory.view.getUint32(4, true)"],
    ['siginfo.get(memory, "si_pid", 1 + 2)', "memory.view.getInt32(16 + (1 + 2), true)"],
    ['msghdr.get(memory, "msg_iovlen")', "Number(memory.view.getBigUint64(24, true))"],
    ['ucred.get(memory, "uid", ")".length)', 'memory.view.getUint32(4 + (")".length), true)'],
    ['ucred.set(memory, "pid", -1)', "memory.view.setInt32(0, -1, true)"],
    [
      'msghdr.set(memory, "msg_controllen", Math.max(1, 2))',
      "memory.view.setBigUint64(40, BigInt(Math.max(1, 2)), true)",
    ],
  ];

  test.each(rows)("%s", (before, after) => {
    expect(withFieldsInPlace(before)).toBe(after);
    const bytes = Array.from({ length: 128 }, (_, index) => 7 * (index % 30));
    for (let at = 6; at < 128; at += 8) bytes[at] = bytes[at + 1] = 0; // 64-bit values are safe integers
    const [one, other] = [allocate(128), allocate(128)];
    one.set(bytes);
    other.set(bytes);
    expect(outcomeOf(after, one)).toBe(outcomeOf(before, other));
    expect(new Uint8Array(one)).toEqual(new Uint8Array(other));
  });

  test("a pointer", () => {
    const after = withFieldsInPlace('msghdr.point(header, "msg_iov", vector);');
    expect(after).toBe("header.point(16, vector);");
  });

  test("a size that is taken out", () => {
    expect(withFieldsInPlace("const { size } = rlimit;")).toBe("const size = 16;");
  });
});

test.each([
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is source text
  "rusage.get(usage, `${field}_sec`)",
  "termios.set(raw, name, 1)",
  'epollEvent.get(memory, "data")',
  'sockaddrUn.set(memory, "sun_path", 1)',
  'other.msghdr.get(memory, "msg_iov")',
  "msghdr.set(memory, \"msg_flags\", code(')'))",
])("%s is left as it is", (source) => {
  expect(withFieldsInPlace(source)).toBe(source);
});

test("an access inside another is still worked out", () => {
  const source = 'ucred.set(a, "pid", ucred.get(b, "pid") | 1)';
  expect(withFieldsInPlace(source)).toBe('ucred.set(a, "pid", b.view.getInt32(0, true) | 1)');
});

test("the sources of src/os, which the build reads so, hold something to be worked out", async () => {
  let changed = 0;
  for (const path of new Glob("src/os/*.ts").scanSync(".")) {
    const source = await Bun.file(path).text();
    if (withFieldsInPlace(source) !== source) changed++;
  }
  expect(changed).toBeGreaterThan(8);
});
