/** The exit statuses of prefork's own, where they are not a job's. */
export const exitCodes = {
  ok: 0,
  /** The daemon could not start, or ended badly. */
  daemonFailed: 1,
  /** A subcommand other than `run` was called wrongly. */
  usage: 2,
  /** prefork itself failed: no daemon, refused, lost, or `run` called wrongly. */
  preforkFailed: 125,
} as const;
