/** Every number and layout that ffi/ states about C, compared with what a C compiler says. */
import { beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { epollEventPacked } from "../../ffi/linux/constants.ts";
import { allocate } from "../../ffi/memory.ts";
import {
  Struct,
  schedAttr,
  sigsetSize,
  sockaddrUn,
  spawnAttributesSize,
  spawnFileActionsSize,
} from "../../ffi/structs.ts";
import { schedAttrSize, signalMax, socketPathBytesMax } from "../../src/base/limits.ts";
import { signalNumbers } from "../../src/os/signals.ts";
import {
  counterparts,
  errorNumbers,
  exportedStructs,
  type Field,
  fieldsOf,
  layout,
  numericConstants,
  structNames,
} from "../helpers/abi.ts";
import { complaintsAbout, evaluate, nativeCompiler } from "../helpers/c-compiler.ts";

const fields: Field[] = structNames.flatMap(fieldsOf);

const printAbi: string = join(import.meta.dir, "../fixtures/print-abi.ts");

/** poll(2)'s masks are shorts in C; we read them as the bits they are. */
const masks: ReadonlySet<string> = new Set(["struct pollfd.events", "struct pollfd.revents"]);

/** True in C for a pointer and for an unsigned integer, false for all else. */
const isUnsigned = ({ lvalue }: Field): string =>
  `_Generic(${lvalue}, char: 0, short: 0, int: 0, long: 0, long long: 0, default: 1)`;

test("every structure has its C counterpart", () => {
  expect(exportedStructs().sort()).toEqual([...structNames].sort());
});

test("there are constants and error numbers to compare", () => {
  expect(numericConstants().size).toBeGreaterThan(50);
  expect(errorNumbers().size).toBeGreaterThan(20);
});

describe.skipIf(nativeCompiler === undefined)("as the C compiler says (needs cc)", () => {
  const expressions = [
    ...numericConstants().keys(),
    ...errorNumbers().keys(),
    ...layout().keys(),
    ...fields.map(({ lvalue }) => `sizeof(${lvalue})`),
    ...fields.map(isUnsigned),
    ...Object.keys(signalNumbers),
    "SIGRTMAX",
    "sizeof(sigset_t)",
    "sizeof(posix_spawn_file_actions_t)",
    "sizeof(posix_spawnattr_t)",
    "sizeof(void *)",
    "sizeof(((struct sockaddr_un *)0)->sun_path)",
    "sizeof(struct epoll_event)",
  ];
  const said = new Map<string, number>();
  beforeAll(() => {
    const values = evaluate(nativeCompiler ?? "", expressions);
    for (const [index, value] of values.entries()) said.set(expressions[index] ?? "", value);
    expect(said.size).toBe(new Set(expressions).size);
  });
  /** What C says; NaN, which equals nothing, for an expression it was not asked about. */
  const inC = (expression: string): number => said.get(expression) ?? Number.NaN;

  test.each([...numericConstants()])("%s is %d", (name, ours) => {
    expect(ours).toBe(inC(name));
  });

  test.each([...errorNumbers()])("%s is %d", (name, ours) => {
    expect(ours).toBe(inC(name));
  });

  test.each(Object.entries<number>(signalNumbers))("%s is %d", (name, ours) => {
    expect(ours).toBe(inC(name));
  });

  test("signalMax is SIGRTMAX", () => {
    expect(signalMax).toBe(inC("SIGRTMAX"));
  });

  test.each([...layout()])("%s is %d", (expression, ours) => {
    expect(ours).toBe(inC(expression));
  });

  test.each(fields)("$shown is as wide as in C", ({ struct, name, lvalue }) => {
    const memory = allocate(struct.size);
    const width = inC(`sizeof(${lvalue})`);
    const next = struct.offset(name) + width;
    try {
      struct.set(memory, name, -1);
    } catch (error) {
      // Pointers and arrays are not set as numbers: at least the C member ends inside.
      expect(error).toBeInstanceOf(TypeError);
      expect(next).toBeLessThanOrEqual(struct.size);
      return;
    }
    const expected = new Uint8Array(struct.size).fill(0xff, struct.offset(name), next);
    expect(new Uint8Array(memory)).toEqual(expected);
  });

  test.each(fields.filter(({ shown }) => !masks.has(shown)))(
    "$shown has the sign it has in C",
    (field) => {
      const { struct, name } = field;
      const memory = allocate(struct.size).fill(0xff);
      let value: number;
      try {
        value = struct.get(memory, name);
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError); // an array has none
        expect(name).toBeOneOf(["sun_path", "sa_mask", "c_cc", "d_name"]);
        return;
      }
      expect(value > 0).toBe(inC(isUnsigned(field)) === 1);
    },
  );

  test("a pointer is 8 bytes", () => {
    expect(inC("sizeof(void *)")).toBe(8);
  });

  test("the opaque types of posix_spawn fit into what we allocate for them", () => {
    const actions = inC("sizeof(posix_spawn_file_actions_t)");
    const attributes = inC("sizeof(posix_spawnattr_t)");
    expect(actions).toBeWithin(1, spawnFileActionsSize + 1);
    expect(attributes).toBeWithin(1, spawnAttributesSize + 1);
  });

  test("sigset_t is as large as stated", () => {
    expect(sigsetSize).toBe(inC("sizeof(sigset_t)"));
  });

  test("sun_path ends the address and holds the longest path and its NUL", () => {
    const size = inC("sizeof(((struct sockaddr_un *)0)->sun_path)");
    expect(sockaddrUn.size - sockaddrUn.offset("sun_path")).toBe(size);
    expect(socketPathBytesMax + 1).toBe(size);
  });

  test("the scheduling attributes of the protocol are those of the first version", () => {
    expect(schedAttrSize).toBe(schedAttr.offset("sched_util_min"));
  });

  test("epoll_event is packed exactly where C packs it", () => {
    expect(epollEventPacked).toBe(inC("sizeof(struct epoll_event)") === 12);
  });

  test("a wrong claim is found", () => {
    const complaints = complaintsAbout(nativeCompiler ?? "", new Map([["O_CREAT", 1]]));
    expect(complaints).toContain("is not 1");
  });
});

describe.each([
  { architecture: "x64", machine: /^x86_64-/, compiler: "x86_64-linux-gnu-gcc" },
  { architecture: "arm64", machine: /^aarch64-/, compiler: "aarch64-linux-gnu-gcc" },
])("on $architecture", ({ architecture, machine, compiler }) => {
  const path = Bun.which(compiler);

  test.skipIf(path === null)(`all is as ${compiler} says (needs it)`, () => {
    const target = Bun.spawnSync([path ?? "", "-dumpmachine"]).stdout.toString();
    expect(target).toMatch(machine);
    const { stdout } = Bun.spawnSync([process.execPath, printAbi, architecture]);
    const ours = new Map<string, number>(JSON.parse(stdout.toString()));
    expect(ours.size).toBeGreaterThan(100);
    expect(complaintsAbout(path ?? "", ours)).toBe("");
  });
});

test("an architecture we have no table for is refused by name", () => {
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, printAbi, "riscv64"]);
  expect(stderr.toString()).toContain("prefork runs on x86-64 and arm64, not on riscv64");
  expect(exitCode).toBe(1);
});

describe("Struct", () => {
  const mixed = { a: "u8", b: "u16", c: "u8", d: "u32", e: "u8", f: "u64", g: "u8" } as const;

  test("aligns each field to its size, and the whole to the widest", () => {
    const struct = new Struct(() => mixed);
    const offsets = Object.keys(mixed).map((name) => struct.offset(name as keyof typeof mixed));
    expect(offsets).toEqual([0, 2, 4, 8, 12, 16, 24]);
    expect(struct.size).toBe(32);
  });

  test("packed, has no gaps and no tail", () => {
    const struct = new Struct(() => mixed, { packed: true });
    const offsets = Object.keys(mixed).map((name) => struct.offset(name as keyof typeof mixed));
    expect(offsets).toEqual([0, 1, 3, 4, 8, 9, 17]);
    expect(struct.size).toBe(18);
  });

  test.each([
    { what: "bytes need no alignment", fields: { a: "u8", b: 3, c: "u16" }, size: 6 },
    { what: "an array of bytes alone", fields: { a: 7 }, size: 7 },
    { what: "one byte", fields: { a: "u8" }, size: 1 },
    { what: "a pointer behind a byte", fields: { a: "u8", b: "ptr" }, size: 16 },
    { what: "a tail is filled up to the widest", fields: { a: "i64", b: "i32" }, size: 16 },
    { what: "no tail when it ends aligned", fields: { a: "i32", b: "i32" }, size: 8 },
  ] as const)("$what", ({ fields: these, size }) => {
    expect(new Struct<string>(() => these).size).toBe(size);
  });

  test.each([
    { type: "u8", values: [0, 1, 0x7f, 0x80, 0xff] },
    { type: "u16", values: [0, 1, 0x7fff, 0x8000, 0xffff] },
    { type: "i32", values: [0, 1, -1, 0x7fff_ffff, -0x8000_0000] },
    { type: "u32", values: [0, 1, 0x8000_0000, 0xffff_ffff] },
    { type: "i64", values: [0, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER] },
    { type: "u64", values: [0, 2 ** 32, Number.MAX_SAFE_INTEGER] },
  ] as const)("a $type reads back as written, at any base, and touches nothing else", (row) => {
    const struct = new Struct(() => ({ before: "u8", value: row.type, after: "u8" }));
    for (const base of [0, struct.size, struct.size + 3]) {
      for (const value of row.values) {
        const memory = allocate(base + struct.size).fill(0x5a);
        struct.set(memory, "value", value, base);
        expect(struct.get(memory, "value", base)).toBe(value);
        expect(struct.get(memory, "before", base)).toBe(0x5a);
        expect(struct.get(memory, "after", base)).toBe(0x5a);
      }
    }
  });

  test("points to another block, and to nothing", () => {
    const struct = new Struct(() => ({ count: "u32", where: "ptr" }));
    const memory = allocate(struct.size);
    const target = allocate(10);
    struct.point(memory, "where", target);
    expect(struct.get(memory, "where")).toBe(Number(target.address));
    struct.point(memory, "where", null);
    expect(struct.get(memory, "where")).toBe(0);
  });

  const refusing: Struct<string> = new Struct<string>(() => ({
    bytes: 4,
    where: "ptr",
    wide: "i64",
  }));
  test.each([
    { what: "reading a field there is not", act: () => refusing.get(allocate(24), "other") },
    { what: "writing a field there is not", act: () => refusing.set(allocate(24), "other", 1) },
    { what: "the offset of a field there is not", act: () => refusing.offset("toString") },
    { what: "an array as a number", act: () => refusing.get(allocate(24), "bytes") },
    { what: "writing an array as a number", act: () => refusing.set(allocate(24), "bytes", 1) },
    { what: "writing a pointer as a number", act: () => refusing.set(allocate(24), "where", 1) },
  ])("refuses $what with a TypeError", ({ act }) => {
    expect(act).toThrow(TypeError);
  });

  test.each([
    { what: "a fraction in 64 bits", act: () => refusing.set(allocate(24), "wide", 0.5) },
    { what: "a block too small to read", act: () => refusing.get(allocate(8), "wide") },
    { what: "a block too small to write", act: () => refusing.set(allocate(8), "wide", 1) },
    { what: "a base behind the end", act: () => refusing.get(allocate(24), "wide", 24) },
  ])("refuses $what with a RangeError", ({ act }) => {
    expect(act).toThrow(RangeError);
  });
});

test("the table of counterparts names each C type once", () => {
  const types = Object.values(counterparts).map(({ type }) => type);
  expect(new Set(types).size).toBe(types.length);
});
