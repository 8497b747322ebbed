/** Functions of the runtime that are looked at while modules are loaded, and let go afterwards. */

type AnyFunction = (this: unknown, ...args: unknown[]) => unknown;

/** Puts functions of the runtime behind wrappers that call `watch`, until `unwrap`. */
export class Wrapping {
  readonly #undo: (() => void)[] = [];
  #isActive = true;

  /**
   * `owner[name]` calls `watch` with its arguments first; what that throws, the caller gets instead. A module that has
   * kept the wrapper may do so for ever: after `unwrap` it does what the function does, and no more.
   */
  wrap(
    owner: object,
    name: string,
    watch: (args: readonly unknown[]) => void,
    watchResult: (result: unknown) => void = () => {},
  ): void {
    this.#put(owner, name, (original) => {
      const isActive = (): boolean => this.#isActive;
      const wrapper = function (this: unknown, ...args: unknown[]): unknown {
        const isWatched = isActive();
        if (isWatched) watch(args);
        if (!new.target) {
          const result = Reflect.apply(original, this, args);
          if (isWatched) watchResult(result);
          return result;
        }
        return Reflect.construct(original, args, new.target === wrapper ? original : new.target);
      };
      return wrapper;
    });
  }

  /** `owner[name]` is `substitute` for now; who has kept it has the function itself after `unwrap`. */
  replace(owner: object, name: string, substitute: (...args: unknown[]) => unknown): void {
    this.#put(owner, name, (original) => {
      const isActive = (): boolean => this.#isActive;
      return function (this: unknown, ...args: unknown[]): unknown {
        return isActive() ? substitute(...args) : Reflect.apply(original, this, args);
      };
    });
  }

  #put(owner: object, name: string, wrapperOf: (original: AnyFunction) => AnyFunction): void {
    const holder = owner as Record<string, unknown>;
    const original = holder[name];
    if (typeof original !== "function") return;
    const own = Object.getOwnPropertyDescriptor(owner, name);
    const wrapper = wrapperOf(original as AnyFunction);
    Object.defineProperties(wrapper, Object.getOwnPropertyDescriptors(original));
    if (own?.configurable === false) {
      if (!own.writable) return;
      holder[name] = wrapper; // those of `Bun`
      this.#undo.push(() => {
        if (holder[name] === wrapper) holder[name] = original;
      });
      return;
    }
    const { enumerable = true } = own ?? {};
    Object.defineProperty(owner, name, {
      value: wrapper,
      configurable: true,
      enumerable,
      writable: true,
    });
    this.#undo.push(() => {
      if (holder[name] !== wrapper) return;
      if (own) Object.defineProperty(owner, name, own);
      else delete holder[name];
    });
  }

  /** Reading the property `owner[name]` calls `watch` first. */
  watch(owner: object, name: string, watch: () => void): void {
    const original = Object.getOwnPropertyDescriptor(owner, name);
    if (!original) return;
    const get = (): unknown => {
      watch();
      return original.get ? original.get.call(owner) : original.value;
    };
    Object.defineProperty(owner, name, { get, configurable: true, enumerable: true });
    this.#undo.push(() => Object.defineProperty(owner, name, original));
  }

  defer(undo: () => void): void {
    this.#undo.push(undo);
  }

  unwrap(): void {
    this.#isActive = false;
    for (const undo of this.#undo.reverse()) undo();
  }
}
