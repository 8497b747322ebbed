/** The built-in commands and the image that runs them: what the daemon and the image agree on. */

/** The name by which the binary is called to be an image; its one argument names which. */
export const imageName = "pfd-image";

/** The name by which the binary is called to start programs. */
export const starterName = "pfd-starter";

/** The name by which the binary is called to run one built-in command that no image serves. */
export const commandProcessName = "pfd-command";

/** The name by which the binary is called to run, or to be an image of, a script of the user's. */
export const scriptName = "pfd-script";

/** The descriptor at which a starter, or the process of a command, finds the socket to its daemon. */
export const starterSocketNumber = 3;

/**
 * The descriptor at which a starter finds the memory file in whose first four bytes stands the pid of the child that it
 * has made for the job at hand, and 0 as long as there is none. The daemon reads it when a starter dies without a word.
 */
export const starterWordNumber = 4;
export const starterWordSize = 4;
export const starterFileSize = 4096;

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
