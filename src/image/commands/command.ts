/** What a built-in command is. */

/** What a command prints and how it ends. Texts are latin1: one byte a character, as they came. */
export interface CommandResult {
  readonly output: string;
  readonly complaints: string;
  readonly status: number;
}

/** A command: its arguments as latin1 texts, so that any bytes pass through unharmed. */
export type Command = (args: readonly string[]) => CommandResult;
