/** What a client tells its user when it cannot do its job. */

/** prefork itself failed; the message is one line: what, why, how to mend it. */
export class ClientError extends Error {
  override readonly name = "ClientError";
  /** The exit status: 125 unless the command was not found or not executable. */
  readonly status: number;

  constructor(message: string, status = 125) {
    super(message);
    this.status = status;
  }
}
