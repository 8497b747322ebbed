/**
 * The head's sources by other compilers than that in Bun: without a warning, for both architectures; as a head of the same
 * binary, which then does the same; and as a program with a libc and sanitizers, which meets no error of memory or arithmetic.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { contract } from "../../build/head/contract.ts";
import { type Head, withHead } from "../../build/head/elf.ts";
import { binary, ended, Sandbox } from "../helpers/sandbox.ts";

const directory = mkdtempSync(join(tmpdir(), "prefork-head-"));
afterAll(() => rmSync(directory, { recursive: true }));
writeFileSync(join(directory, "contract.h"), contract());

const source = join(import.meta.dir, "../../ffi/head/head.c");
const compilers = ["gcc", "clang"].filter((name) => Bun.which(name) !== null);
const canLink = Bun.which("objcopy") !== null && Bun.which("nm") !== null;
const warnings = [
  "-Wall",
  "-Wextra",
  "-Werror",
  "-Wshadow",
  "-Wwrite-strings",
  "-Wstrict-prototypes",
];
const freestanding = [
  "-Os",
  "-fPIE",
  "-ffreestanding",
  "-nostdlib",
  "-static",
  "-fno-stack-protector",
  "-fno-asynchronous-unwind-tables",
  "-fno-jump-tables",
  "-fcf-protection=none",
  "-fvisibility=hidden",
  "-mno-red-zone",
  "-mno-sse",
];

function run(...command: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`${command[0]}: ${stderr}`);
}

function compile(compiler: string, ...args: string[]): void {
  run(compiler, "-std=gnu11", "-I", directory, ...warnings, ...args);
}

/** Everything one behind the other, as Bun's compiler leaves it; what would need a relocation does not link. */
const linkScript = `ENTRY(pf_entry)
SECTIONS {
  . = 0;
  .all : { *(.text*) *(.rodata*) *(.data*) *(.bss*) }
  .reloc : { *(.rela*) *(.rel*) *(.got*) *(.dynamic) }
  ASSERT(SIZEOF(.reloc) == 0, "the head must not need relocation")
  /DISCARD/ : { *(.note*) *(.comment) *(.eh_frame*) *(.gnu*) *(.llvm*) }
}`;

/** The head as `compiler` makes it. */
function headOf(compiler: string): Head {
  const base = join(directory, compiler);
  writeFileSync(`${base}.ld`, linkScript);
  compile(
    compiler,
    ...freestanding,
    "-Wl,--build-id=none",
    "-Wl,-z,noexecstack",
    `-Wl,-T,${base}.ld`,
    source,
    "-o",
    `${base}.elf`,
  );
  run("objcopy", "-O", "binary", "-j", ".all", `${base}.elf`, `${base}.bin`);
  const symbols = Bun.spawnSync(["nm", `${base}.elf`]).stdout.toString();
  const addressOf = (name: string): number =>
    Number.parseInt(new RegExp(`^([0-9a-f]+) \\w ${name}$`, "m").exec(symbols)?.[1] ?? "", 16);
  const bytes = readFileSync(`${base}.bin`);
  return {
    bytes: bytes.toString("base64"),
    entry: addressOf("pf_entry"),
    parameters: bytes.indexOf("PREFORK-HEAD-03\0", 0, "latin1"),
    client: 0,
    lend: addressOf("pf_lend"),
  };
}

/** The executable as Bun has made it, which the build keeps. */
const plain = `${binary}-without-head`;

const shown = process.arch === "x64" ? compilers : [];

describe.skipIf(shown.length === 0)("the head by other compilers", () => {
  test.each(shown)("%s has nothing to say of it", (compiler) => {
    compile(compiler, ...freestanding, "-c", source, "-o", join(directory, "head.o"));
  });

  test.skipIf(!compilers.includes("clang"))("clang has nothing to say of it for arm64", () => {
    const flags = freestanding.filter(
      (flag) => !["-mno-red-zone", "-mno-sse", "-fcf-protection=none"].includes(flag),
    );
    compile(
      "clang",
      "--target=aarch64-linux-gnu",
      ...flags,
      "-Wno-unused-command-line-argument",
      "-c",
      source,
      "-o",
      join(directory, "arm64.o"),
    );
  });

  test.skipIf(!canLink || !existsSync(plain)).each(shown)(
    "%s makes a head that does the same, of 24 KiB at most",
    async (compiler) => {
      const head = headOf(compiler);
      expect(Buffer.from(head.bytes, "base64").length).toBeLessThanOrEqual(24 * 1024);
      const executable = join(directory, `prefork-${compiler}`);
      writeFileSync(executable, withHead(readFileSync(plain), head));
      chmodSync(executable, 0o755);
      await using box = new Sandbox();
      const socket = box.path("pfd.sock");
      expect(await box.run([executable, "serve", "-d", "--socket", socket])).toEqual(ended());
      const pfc = async (...words: string[]) =>
        await box.run([executable, "run", "--socket", socket, ...words]);
      expect(await pfc("-w", "sh", "-c", "echo out; echo err >&2; exit 3")).toEqual({
        stdout: "out\n",
        stderr: "err\n",
        end: 3,
      });
      expect(await pfc("-w", "sh", "-c", "kill -TERM $$")).toEqual(ended({ end: "SIGTERM" }));
      expect(await pfc("-w", "add", "1", "2")).toEqual(ended({ stdout: "3\n" }));
      expect(await pfc("-w", "--clear-env", "--env", "A=1", "env")).toEqual(
        ended({ stdout: "A=1\n" }),
      );
      expect(await pfc("/bin/true")).toEqual(ended());
      expect(await pfc("-w", "no-such-command")).toEqual({
        stdout: "",
        stderr: "pfc: no-such-command: command not found\n",
        end: 127,
      });
      expect((await pfc("-w", "true", "x".repeat(100_000))).end).toBe(0);
      await box.run([executable, "stop", "--socket", socket]);
    },
  );

  test.skipIf(process.arch !== "x64").each(shown)(
    "%s with sanitizers meets no error in the client",
    async (compiler) => {
      const program = join(directory, `hosted-${compiler}`);
      const args = [
        "-g",
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize=alignment",
        "-fno-sanitize-recover=all",
      ];
      const hosted = join(import.meta.dir, "hosted.c");
      // A compiler may come without the libraries for it.
      if (
        Bun.spawnSync([compiler, ...args, "-x", "c", "-", "-o", program], {
          stdin: Buffer.from("int main(void) { return 0; }"),
        }).exitCode !== 0
      )
        return;
      compile(
        compiler,
        ...args,
        "-Wno-unused-function",
        "-I",
        join(source, ".."),
        hosted,
        "-o",
        program,
      );
      await using box = new Sandbox();
      await box.serve();
      const env = { ASAN_OPTIONS: "detect_leaks=0", LSAN_OPTIONS: "detect_leaks=0" };
      const pfc = async (...words: string[]) => await box.run([program, ...words], { env });
      expect(await pfc("-w", "sh", "-c", "echo out; exit 3")).toEqual(
        ended({ stdout: "out\n", end: 3 }),
      );
      expect(await pfc("/bin/true")).toEqual(ended());
      expect(
        (
          await pfc(
            "-w",
            "--unset",
            "HOME",
            "--env",
            "A=b",
            "--env",
            "PATH",
            "--cwd",
            "/",
            "--timeout",
            "1.5m",
            "true",
          )
        ).end,
      ).toBe(0);
      expect((await pfc("-wn", "--fd", "1:7", "true", "x".repeat(100_000))).end).toBe(0);
      expect(await pfc("-w", "no-such-command")).toEqual({
        stdout: "",
        stderr: "pfc: no-such-command: command not found\n",
        end: 127,
      });
      // What is Bun's business is told by a status of its own.
      for (const words of [
        ["--help"],
        ["-t", "true"],
        ["--nonsense"],
        ["--fd", "x", "true"],
        ["--timeout", "1..2", "true"],
        [],
      ]) {
        expect((await pfc(...words)).end).toBe(77);
      }
    },
  );
});
