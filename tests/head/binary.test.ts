/** The head in the finished binary: what its file says, and that Bun begins behind it as if there were none. */
import { describe, expect, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { type Head, UnfitExecutableError, withHead } from "../../build/head/elf.ts";
import { nativeCompiler } from "../helpers/c-compiler.ts";
import { binary, ended, Sandbox } from "../helpers/sandbox.ts";

const PT_LOAD = 1;
const PT_INTERP = 3;
const PT_GNU_STACK = 0x6474e551;
const [executable, writable] = [1, 2];

interface ProgramHeader {
  readonly type: number;
  readonly flags: number;
  readonly filesz: number;
  readonly memsz: number;
}

/** The program headers that the kernel sees. */
function programHeaders(file: Buffer): ProgramHeader[] {
  const table = Number(file.readBigUInt64LE(32));
  return Array.from({ length: file.readUInt16LE(56) }, (_, index) => {
    const at = table + index * 56;
    return {
      type: file.readUInt32LE(at),
      flags: file.readUInt32LE(at + 4),
      filesz: Number(file.readBigUInt64LE(at + 32)),
      memsz: Number(file.readBigUInt64LE(at + 40)),
    };
  });
}

const line = /^prefork \S+ \(protocol \d+, bun \S+\)\n$/;

describe("the file", () => {
  const headers = programHeaders(readFileSync(binary));

  test("has a head, and says so", async () => {
    await using box = new Sandbox();
    expect(headers.filter(({ type }) => type === PT_INTERP)).toEqual([]);
    const { stdout, end } = await box.prefork("version", "--verbose");
    expect({ last: stdout.split("\n").at(-2), end }).toEqual({
      last: "head: native client and starter",
      end: 0,
    });
  });

  test("maps nothing both writable and executable, the stack included", () => {
    const both = headers.filter(
      ({ type, flags }) =>
        (type === PT_LOAD || type === PT_GNU_STACK) &&
        (flags & executable) !== 0 &&
        (flags & writable) !== 0,
    );
    expect(both).toEqual([]);
    expect(headers.filter(({ type }) => type === PT_GNU_STACK)).toHaveLength(1);
  });

  test("has the head as its last part, of eleven pages at most and without data of its own", () => {
    const last = headers.findLast(({ type }) => type === PT_LOAD);
    expect(last?.flags).toBe(executable | 4);
    expect(last?.memsz).toBe(last?.filesz as number);
    expect(last?.filesz).toBeLessThanOrEqual(44 * 1024);
  });
});

describe("Bun begins behind the head", () => {
  const loader = "/lib64/ld-linux-x86-64.so.2";

  test("under an odd name, and under none", async () => {
    await using box = new Sandbox();
    for (const name of ["-sh", "", "a/b/", "run"]) {
      const script = `exec -a '${name}' '${binary}' version`;
      const { stdout, end } = await box.run(["bash", "-c", script]);
      expect({ isLine: line.test(stdout), end }).toEqual({ isLine: true, end: 0 });
    }
  });

  test.skipIf(!existsSync(loader))("when ld.so is run as the program", async () => {
    await using box = new Sandbox();
    const { stdout, end } = await box.run([loader, binary, "version"]);
    expect({ isLine: line.test(stdout), end }).toEqual({ isLine: true, end: 0 });
  });

  test("as bun itself, with the path of this file as its own", async () => {
    await using box = new Sandbox();
    const env = { BUN_BE_BUN: "1" };
    expect(await box.run([binary, "-e", "console.log(process.execPath)"], { env })).toEqual(
      ended({ stdout: `${binary}\n` }),
    );
    // Also where the words would be a client's.
    writeFileSync(box.path("script.js"), "console.log(process.argv.length)");
    expect(await box.run([binary, "run", box.path("script.js")], { env })).toEqual(
      ended({ stdout: "2\n" }),
    );
  });

  test("with its standard descriptors closed, and with few resources", async () => {
    await using box = new Sandbox();
    const closed = await box.run(["bash", "-c", `'${binary}' version 0<&- 2<&-`]);
    expect(closed.stdout).toMatch(line);
    const bound = await box.run(["bash", "-c", `ulimit -n 64; '${binary}' version`]);
    expect(bound.stdout).toMatch(line);
    const fixed = await box.run(["setarch", "-R", binary, "version"]);
    expect(fixed.stdout).toMatch(line);
  });

  test("in a directory that is gone", async () => {
    await using box = new Sandbox();
    mkdirSync(box.path("gone"));
    const script = `cd '${box.path("gone")}' && rmdir '${box.path("gone")}' && '${binary}' version`;
    expect((await box.run(["bash", "-c", script])).stdout).toMatch(line);
  });

  test.skipIf(!nativeCompiler)("with what LD_PRELOAD names loaded into it", async () => {
    await using box = new Sandbox();
    const library = box.path("hello.so");
    writeFileSync(
      box.path("hello.c"),
      '#include <unistd.h>\n__attribute__((constructor)) static void hello(void) { if (write(2, "loaded\\n", 7)) {} }\n',
    );
    const compiled = await box.run([
      nativeCompiler ?? "",
      "-shared",
      "-fPIC",
      box.path("hello.c"),
      "-o",
      library,
    ]);
    expect(compiled).toEqual(ended());
    const { stdout, stderr } = await box.run([binary, "version"], { env: { LD_PRELOAD: library } });
    expect(stdout).toMatch(line);
    expect(stderr).toBe("loaded\n");
  });

  test.skipIf(process.getuid?.() !== 0)(
    "or says what is missing, where there is no interpreter",
    async () => {
      await using box = new Sandbox();
      mkdirSync(box.path("root"));
      const copy = box.path("root/prefork");
      try {
        linkSync(binary, copy);
      } catch {
        copyFileSync(binary, copy); // another file system
      }
      const { stderr, end } = await box.run([
        "/usr/sbin/chroot",
        box.path("root"),
        "/prefork",
        "version",
      ]);
      expect(stderr).toMatch(
        /^prefork: cannot load \/lib\S+: no such file \(this binary needs glibc\)\n$/,
      );
      expect(end).toBe(127);
    },
  );

  test("for what the client of the head leaves to it, in the same words", async () => {
    await using box = new Sandbox();
    const env = { PREFORK_CLIENT: "bun" };
    for (const words of [
      ["--help"],
      ["--nonsense", "x"],
      ["--fd", "77", "true"],
      [],
      ["-n", "--stdin", "true"],
    ]) {
      expect(await box.pfc(...words)).toEqual(
        await box.run([join(dirname(binary), "pfc"), ...words], { env }),
      );
    }
  });
});

describe("withHead", () => {
  const parameters = 16;
  const bytes = Buffer.alloc(1024);
  bytes.write("PREFORK-HEAD-03\0", parameters, "latin1");
  const head: Head = { bytes: bytes.toString("base64"), entry: 0, parameters, client: 0, lend: 0 };
  const changed = (change: (file: Buffer) => void): Buffer => {
    const file = Buffer.from(readFileSync("/proc/self/exe").subarray(0, 4096));
    change(file);
    return file;
  };

  const rows: [string, Buffer][] = [
    ["no ELF file", Buffer.from("#!/bin/sh\n".padEnd(100))],
    ["an empty file", Buffer.alloc(0)],
    ["one of 32 bits", changed((file) => file.writeUInt8(1, 4))],
    ["big endian", changed((file) => file.writeUInt8(2, 5))],
    ["one whose addresses are not fixed", changed((file) => file.writeUInt16LE(3, 16))],
    ["one for another processor", changed((file) => file.writeUInt16LE(8, 18))],
    ["one that has a head already", readFileSync(binary)],
  ];
  test.each(rows)("refuses %s", (_, file) => {
    expect(() => withHead(file, head)).toThrow(UnfitExecutableError);
  });

  test("leaves all of the program's own bytes but its headers", () => {
    const plain = readFileSync("/proc/self/exe");
    const result = Buffer.from(withHead(plain, head));
    const afterHeaders = Number(plain.readBigUInt64LE(32)) + plain.readUInt16LE(56) * 56;
    expect(
      result.subarray(afterHeaders, plain.length).equals(plain.subarray(afterHeaders)),
    ).toBeTrue();
    expect(result.length).toBeGreaterThan(plain.length);
    expect(programHeaders(result)).toHaveLength(programHeaders(plain).length);
  });
});
