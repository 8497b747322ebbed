/** Functions of the runtime that are looked at while modules are loaded, and let go afterwards. */

type AnyFunction = (this: unknown, ...args: unknown[]) => unknown;

/** Puts functions of the runtime behind wrappers that call `watch`, until `unwrap`. */
export class Wrapping {
  readonly #undo: (() => void)[] = [];
  #isActive = true;

  /**
   * `owner[name]` calls `watch` with its arguments first. A module that has kept the wrapper may do
   * so for ever: after `unwrap` it does what the function does, and no more.
   */
  wrap(owner: object, name: string, watch: (args: readonly unknown[]) => void): void {
    const holder = owner as Record<string, unknown>;
    const original = holder[name];
    if (typeof original !== "function") return;
    const isActive = (): boolean => this.#isActive;
    const wrapper = function (this: unknown, ...args: unknown[]): unknown {
      if (isActive()) watch(args);
      if (!new.target) return Reflect.apply(original as AnyFunction, this, args);
      return Reflect.construct(original, args, new.target === wrapper ? original : new.target);
    };
    Object.defineProperties(wrapper, Object.getOwnPropertyDescriptors(original));
    holder[name] = wrapper;
    this.#undo.push(() => {
      if (holder[name] === wrapper) holder[name] = original;
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
