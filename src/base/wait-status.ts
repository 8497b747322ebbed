/** The kernel's wait status, taken apart. See wait(2). */

export type ExitStatus =
  | { readonly kind: "exited"; readonly code: number }
  | { readonly kind: "signaled"; readonly signal: number; readonly core: boolean };

export function parseWaitStatus(status: number): ExitStatus {
  const signal = status & 0x7f;
  if (signal === 0) return { kind: "exited", code: (status >> 8) & 0xff };
  return { kind: "signaled", signal, core: (status & 0x80) !== 0 };
}

/** Whether the process ended by itself with 0. */
export function isSuccess(status: number): boolean {
  return (status & 0xff7f) === 0;
}
