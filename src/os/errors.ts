/** How a failed call of `Sys` becomes a typed error. */
import * as errno from "../../ffi/errno.ts";
import { errnoName, errnoText } from "../../ffi/errno-names.ts";

/** A system call failed in a way its caller did not expect. */
export class SystemError extends Error {
  override readonly name = "SystemError";
  readonly syscall: string;
  readonly errno: number;
  /** The error's symbolic name, such as "ENOENT". */
  readonly code: string;
  readonly path: string | undefined;
  /** The words for the errno alone. */
  readonly reason: string;

  constructor(syscall: string, number: number, path?: string) {
    super(`${syscall}${path === undefined ? "" : ` ${path}`}: ${errnoText(number)}`);
    this.syscall = syscall;
    this.errno = number;
    this.code = errnoName(number);
    this.reason = errnoText(number);
    this.path = path;
  }
}

/**
 * Passes a result on, or throws.
 * @throws SystemError when `result` is a negated errno.
 */
export function check(result: number, syscall: string, path?: string): number {
  if (result < 0) throw new SystemError(syscall, -result, path);
  return result;
}

/** Calls with `values` until the answer is not "interrupted by a signal". */
export function retry<Values extends readonly unknown[]>(
  call: (...values: Values) => number,
  ...values: Values
): number {
  for (;;) {
    const result = call(...values);
    if (result !== -errno.EINTR) return result;
  }
}

/** The words for an unexpected error: one line, never a stack trace. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
