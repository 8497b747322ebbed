/**
 * Modules of the runtime, as `require` gives them. An ES import by us would make their namespaces, with the functions
 * that are there at that moment: what observe.ts puts in their place would then be missed by each module of the user's
 * that imports a function by its name.
 */
export const childProcess: typeof import("node:child_process") =
  process.getBuiltinModule("node:child_process");
export const fs: typeof import("node:fs") = process.getBuiltinModule("node:fs");
export const nodeCrypto: typeof import("node:crypto") = process.getBuiltinModule("node:crypto");
export const nodeModule: typeof import("node:module") = process.getBuiltinModule("node:module");
export const os: typeof import("node:os") = process.getBuiltinModule("node:os");
export const path: typeof import("node:path") = process.getBuiltinModule("node:path");
export const timers: typeof import("node:timers") = process.getBuiltinModule("node:timers");
export const vm: typeof import("node:vm") = process.getBuiltinModule("node:vm");
