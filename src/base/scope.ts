/**
 * What was opened so far, closed again when a later step fails: a `DisposableStack` in a few lines.
 * The built-in one is compiled at its first use, which costs a client more than its system calls.
 */
export class Scope implements Disposable {
  #closers: (() => void)[] = [];

  /** Owns `resource` from here on. */
  use<Resource extends Disposable>(resource: Resource): Resource {
    this.#closers.push(() => resource[Symbol.dispose]());
    return resource;
  }

  adopt<Value>(value: Value, close: (value: Value) => void): Value {
    this.#closers.push(() => close(value));
    return value;
  }

  defer(close: () => void): void {
    this.#closers.push(close);
  }

  /** Gives all of it up, to the scope that is returned. */
  move(): Scope {
    const moved = new Scope();
    moved.#closers = this.#closers;
    this.#closers = [];
    return moved;
  }

  /** Closes in reverse order, all of it also when one fails; then the first failure is thrown. */
  [Symbol.dispose](): void {
    let failure: { error: unknown } | undefined;
    for (let close = this.#closers.pop(); close; close = this.#closers.pop()) {
      try {
        close();
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure) throw failure.error;
  }
}
