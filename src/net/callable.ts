export interface Callable<Instance, Args extends unknown[]> {
  new (...args: Args): Instance;
  (this: unknown, ...args: Args): Instance;
  prototype: Instance;
}

type AnyConstructor = (this: object, ...args: unknown[]) => unknown;

export interface CallableOptions<Instance, Args extends unknown[]> {
  readonly name: string;
  /**
   * A class for what is on its prototype (so it has no fields and no `#private`
   * members). Its constructor is never run, `initialise` does that.
   */
  readonly methods: { readonly prototype: Instance };
  readonly initialise: (instance: Instance, ...args: Args) => void;
  /**
   * The host's own constructor of such objects: its instances count as ours,
   * and it makes those that `isForHost` says only it can make.
   */
  readonly host: unknown;
  readonly isForHost: (...args: Args) => boolean;
}

/**
 * A constructor that also works without `new`, and on an object that inherits
 * from it (`Server.call(this)`), as Node's do and as old and new programs use
 * them: a class works one way only.
 */
export function callable<Instance extends object, Args extends unknown[]>(
  options: CallableOptions<Instance, Args>,
): Callable<Instance, Args> {
  const { name, methods, initialise, isForHost } = options;
  const host = options.host as AnyConstructor & { prototype: object };
  function Constructor(this: unknown, ...args: Args): object | undefined {
    if (inherits(this, Constructor.prototype as object)) {
      if (isForHost(...args)) return Reflect.construct(host, args) as object;
      initialise(this as unknown as Instance, ...args);
    } else if (inherits(this, host.prototype)) {
      // Something of the host's that inherits from its own.
      Reflect.apply(host, this as object, args);
    } else {
      return new Construct(...args);
    }
    return undefined;
  }
  const Construct = Constructor as unknown as Callable<Instance, Args>;
  const descriptors: Record<string | symbol, PropertyDescriptor> = {
    ...Object.getOwnPropertyDescriptors(methods.prototype),
  };
  for (const descriptor of Object.values(descriptors)) descriptor.enumerable = true;
  const prototype = Object.create(
    Object.getPrototypeOf(methods.prototype) as object,
    descriptors,
  ) as Instance;
  Object.defineProperty(prototype, 'constructor', { value: Construct, writable: true, enumerable: false });
  Object.defineProperty(Construct, 'name', { value: name, configurable: true });
  Object.defineProperty(Construct, 'prototype', { value: prototype, writable: true });
  Object.setPrototypeOf(Construct, Object.getPrototypeOf(methods) as object);
  return Construct;
}

/** Makes the host's instances pass for ours: `socket instanceof net.Socket`. */
export function admitHostInstances(Construct: object, host: unknown): void {
  const hostPrototype = (host as { prototype: object }).prototype;
  const ordinary = Function.prototype[Symbol.hasInstance];
  Object.defineProperty(Construct, Symbol.hasInstance, {
    value(this: unknown, instance: unknown): boolean {
      if (Reflect.apply(ordinary, this, [instance])) return true;
      // Classes derived from it inherit this method: theirs are not the host's.
      return this === Construct && inherits(instance, hostPrototype);
    },
  });
}

function inherits(instance: unknown, prototype: object): boolean {
  return (
    typeof instance === 'object' &&
    instance !== null &&
    Object.prototype.isPrototypeOf.call(prototype, instance)
  );
}

/** Runs a constructor of Node's, all of which can be called, on `instance`. */
export function construct(of: unknown, instance: object, ...args: unknown[]): void {
  Reflect.apply(of as AnyConstructor, instance, args);
}
