/**
 * The structures of the head next to those of TypeScript: each field that both name is at the same place, and each structure
 * that is handed to the kernel or read from it has the same size. A C compiler compares them.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { contract } from "../../build/head/contract.ts";
import * as structs from "../../ffi/structs.ts";
import { schedAttrSize } from "../../src/base/limits.ts";
import { headerSize } from "../../src/protocol/messages.ts";

const compiler = Bun.which("gcc") ?? Bun.which("clang");
const directory = mkdtempSync(join(tmpdir(), "prefork-layout-"));
afterAll(() => rmSync(directory, { recursive: true }));

interface Pair<Name extends string = string> {
  /** The structure in ffi/head/. */
  readonly native: string;
  readonly struct: structs.Struct<Name>;
  /** The head's name of each field, by TypeScript's. */
  readonly fields: Readonly<Partial<Record<Name, string>>>;
  /** Left out: the head has its beginning only, or more behind it. */
  readonly isWhole?: true;
}

function pair<Name extends string>(one: Pair<Name>): Pair {
  return one as unknown as Pair;
}

const pairs: readonly Pair[] = [
  pair({
    native: "iovec",
    struct: structs.iovec,
    fields: { iov_base: "base", iov_len: "size" },
    isWhole: true,
  }),
  pair({
    native: "msghdr",
    struct: structs.msghdr,
    fields: {
      msg_name: "name",
      msg_namelen: "namelen",
      msg_iov: "iov",
      msg_iovlen: "iovlen",
      msg_control: "control",
      msg_controllen: "controllen",
      msg_flags: "flags",
    },
    isWhole: true,
  }),
  pair({
    native: "cmsghdr",
    struct: structs.cmsghdr,
    fields: { cmsg_len: "len", cmsg_level: "level", cmsg_type: "type" },
    isWhole: true,
  }),
  pair({
    native: "sockaddr_un",
    struct: structs.sockaddrUn,
    fields: { sun_family: "family", sun_path: "path" },
    isWhole: true,
  }),
  pair({
    native: "ucred",
    struct: structs.ucred,
    fields: { pid: "pid", uid: "uid", gid: "gid" },
    isWhole: true,
  }),
  pair({
    native: "pollfd",
    struct: structs.pollfd,
    fields: { fd: "fd", events: "events", revents: "revents" },
    isWhole: true,
  }),
  pair({
    native: "siginfo",
    struct: structs.signalfdSiginfo,
    fields: {
      ssi_signo: "signo",
      ssi_errno: "errno_",
      ssi_code: "code",
      ssi_pid: "pid",
      ssi_uid: "uid",
      ssi_ptr: "pointer",
    },
    isWhole: true,
  }),
  pair({
    native: "sched_attr",
    struct: structs.schedAttr,
    fields: {
      size: "size",
      sched_policy: "policy",
      sched_flags: "flags",
      sched_nice: "nice",
      sched_priority: "priority",
      sched_runtime: "runtime",
      sched_deadline: "deadline",
      sched_period: "period",
    },
  }),
  pair({
    native: "statx",
    struct: structs.statx,
    fields: {
      stx_mask: "mask",
      stx_blksize: "blksize",
      stx_attributes: "attributes",
      stx_nlink: "nlink",
      stx_uid: "uid",
      stx_gid: "gid",
      stx_mode: "mode",
    },
    isWhole: true,
  }),
  pair({
    native: "dirent64",
    struct: structs.linuxDirent64,
    fields: { d_ino: "ino", d_off: "off", d_reclen: "reclen", d_type: "type", d_name: "name" },
  }),
  pair({
    native: "shown",
    struct: structs.prctlMmMap,
    fields: {
      start_code: "code",
      start_brk: "heap",
      brk: "heap[1]",
      start_stack: "stack",
      arg_start: "argStart",
      arg_end: "argEnd",
      env_start: "envStart",
      env_end: "envEnd",
      auxv: "auxv",
      auxv_size: "auxvSize",
      exe_fd: "exe",
    },
    isWhole: true,
  }),
];

/** Numbers that TypeScript knows without a table of fields: where in its sources they are, what they are in C. */
const others: readonly [what: string, expected: number, native: string][] = [
  ["src/protocol/messages.ts", headerSize, "sizeof(struct header)"],
  ["src/base/limits.ts", schedAttrSize, "sizeof(struct sched_attr)"],
  ["src/base/limits.ts", schedAttrSize, "SCHEDULING_SIZE"],
  ["ffi/head.ts", 32, "sizeof(struct outcome)"],
  ["ffi/head.ts", 0, "__builtin_offsetof(struct outcome, output)"],
  ["ffi/head.ts", 8, "__builtin_offsetof(struct outcome, outputSize)"],
  ["ffi/head.ts", 16, "__builtin_offsetof(struct outcome, complaint)"],
  ["build/head/elf.ts", 16, "__builtin_offsetof(struct parameters, entry)"],
  ["build/head/elf.ts", 24, "__builtin_offsetof(struct parameters, phnum)"],
  ["src/os/executable.ts", 32, "__builtin_offsetof(struct parameters, lend)"],
  ["build/head/elf.ts", 40, "__builtin_offsetof(struct parameters, phdrs)"],
  ["build/head/elf.ts", 56, "sizeof(struct phdr)"],
  ["build/head/elf.ts", 64, "sizeof(struct ehdr)"],
  ["src/domain/builtins.ts", 0, "__builtin_offsetof(struct report, child)"],
];

function assertions(): string[] {
  const equal = (native: string, expected: number, what: string): string =>
    `_Static_assert(${native} == ${expected}, "${what}");`;
  const ofPairs = pairs.flatMap(({ native, struct, fields, isWhole }) => [
    ...Object.entries(fields).map(([name, field]) =>
      equal(
        `__builtin_offsetof(struct ${native}, ${field})`,
        struct.offset(name),
        `${native}.${field}`,
      ),
    ),
    ...(isWhole ? [equal(`sizeof(struct ${native})`, struct.size, native)] : []),
  ]);
  return [
    ...ofPairs,
    ...others.map(([what, expected, native]) => equal(native, expected, `${what}: ${native}`)),
  ];
}

/** @returns what the compiler says of `lines` behind the head. */
function compiled(lines: readonly string[]): string {
  const source = join(directory, "layout.c");
  writeFileSync(join(directory, "contract.h"), contract());
  const head = join(import.meta.dir, "../../ffi/head/head.c");
  writeFileSync(source, [`#include "${head}"`, ...lines, ""].join("\n"));
  const words = ["-std=gnu11", "-ffreestanding", "-fsyntax-only", "-I", directory, source];
  return Bun.spawnSync([compiler ?? "cc", ...words]).stderr.toString();
}

test.skipIf(compiler === null)("the head's structures are those of TypeScript", () => {
  expect(compiled(assertions())).toBe("");
});

test.skipIf(compiler === null)("and one that is not is found", () => {
  expect(compiled(['_Static_assert(sizeof(struct ucred) == 13, "ucred");'])).toContain("ucred");
});
