import { describe, expect, test } from "bun:test";
import { type ExitStatus, isSuccess, parseWaitStatus } from "../../src/base/wait-status.ts";
import { nativeCompiler, runC } from "../helpers/c-compiler.ts";

test.each<{ status: number; means: ExitStatus; success: boolean }>([
  { status: 0, means: { kind: "exited", code: 0 }, success: true },
  { status: 0x0100, means: { kind: "exited", code: 1 }, success: false },
  { status: 0x7f00, means: { kind: "exited", code: 127 }, success: false },
  { status: 0xff00, means: { kind: "exited", code: 255 }, success: false },
  { status: 1, means: { kind: "signaled", signal: 1, core: false }, success: false },
  { status: 9, means: { kind: "signaled", signal: 9, core: false }, success: false },
  { status: 64, means: { kind: "signaled", signal: 64, core: false }, success: false },
  { status: 0x8b, means: { kind: "signaled", signal: 11, core: true }, success: false },
  { status: 0x86, means: { kind: "signaled", signal: 6, core: true }, success: false },
])("$status is $means.kind", ({ status, means, success }) => {
  expect(parseWaitStatus(status)).toEqual(means);
  expect(isSuccess(status)).toBe(success);
});

describe.skipIf(nativeCompiler === undefined)("as <sys/wait.h> says (needs cc)", () => {
  test("every status that an ended process can have", () => {
    // Stopped and continued ones (0x7f below) are never asked for: wait4 gets no WUNTRACED.
    const program = `int main(void) {
      for (int status = 0; status <= 0xffff; status++)
        if (WIFEXITED(status)) printf("%d exited %d\\n", status, WEXITSTATUS(status));
        else if (WIFSIGNALED(status))
          printf("%d signaled %d %d\\n", status, WTERMSIG(status), !!WCOREDUMP(status));
    }`;
    const lines = runC(nativeCompiler ?? "", program)
      .trimEnd()
      .split("\n");
    expect(lines.length).toBeGreaterThan(65_000);
    const ours = lines.map((line) => {
      const status = Number.parseInt(line, 10);
      const parsed = parseWaitStatus(status);
      expect(isSuccess(status)).toBe(parsed.kind === "exited" && parsed.code === 0);
      return parsed.kind === "exited"
        ? `${status} exited ${parsed.code}`
        : `${status} signaled ${parsed.signal} ${Number(parsed.core)}`;
    });
    expect(ours).toEqual(lines);
  });
});
