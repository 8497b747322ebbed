/** The built-in commands and the image that runs them: what the daemon and the image agree on. */

/** The name by which the binary is called to be an image; its one argument names which. */
export const imageName = "pfd-image";

/** The name by which the binary is called to be a starter of one job. */
export const starterName = "pfd-starter";

/** The name by which the binary is called to run, or to be an image of, a script of the user's. */
export const scriptName = "pfd-script";

/** The descriptor at which a starter finds the socket to its daemon. */
export const starterSocketNumber = 3;

/** The descriptor of the memory in which a starter reports the child it has begun. */
export const starterReportNumber = 4;

/** Where a script's image finds the other sides of its standard streams, and the daemon's log. */
export const imageProbeNumbers = [4, 5, 6] as const;
export const imageLogNumber = 7;

/** The descriptor at which an image finds the socket to its daemon. */
export const imageSocketNumber = 3;

/** The names of the commands that prefork brings along; image/commands/ has what they do. */
export const builtinNames = ["add"] as const;
export type BuiltinName = (typeof builtinNames)[number];

export function isBuiltin(name: string): name is BuiltinName {
  return (builtinNames as readonly string[]).includes(name);
}
