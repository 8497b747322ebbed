/** The names of the commands that prefork brings along; image/commands/ has what they do. */
export const builtinNames = ["add"] as const;
export type BuiltinName = (typeof builtinNames)[number];

export function isBuiltin(name: string): name is BuiltinName {
  return (builtinNames as readonly string[]).includes(name);
}
