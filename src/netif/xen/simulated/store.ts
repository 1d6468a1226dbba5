import { NetError } from '../../../errors.ts';
import type { Clock } from '../../../time/index.ts';
import type { DomainId, Xenstore, XenstoreAccess, XenstoreWatch } from '../hypervisor.ts';
import { absolute, type Change, isWithin, type Operation, Tree } from './tree.ts';

/** Attempts after which colliding transactions are taken for a fault of the simulation. */
const MOST_ATTEMPTS = 1000;

interface Watch {
  /** Absolute. */
  readonly path: string;
  readonly notify: (path: string) => void;
}

/** The one xenstore of a simulated machine: what domains have in common. */
export class SimulatedStore {
  readonly #tree = Tree.empty();
  readonly #watches = new Set<Watch>();
  readonly #clock: Clock;
  readonly #collides: () => boolean;

  /** @param collides asked at the end of every transaction: true makes it fail as if someone else had interfered */
  constructor(clock: Clock, collides: () => boolean) {
    this.#clock = clock;
    this.#collides = collides;
  }

  /** Nodes, and watches that are set. */
  get nodes(): number {
    return this.#tree.size;
  }

  get watches(): number {
    return this.#watches.size;
  }

  get tree(): Tree {
    return this.#tree;
  }

  apply(operation: Operation, as: DomainId): void {
    this.#announce(this.#tree.apply(operation, as));
  }

  /** A copy to work on, and how to make it come true: false if someone interfered. */
  begin(): { fork: Tree; end(operations: readonly Operation[], as: DomainId): boolean } {
    const since = this.#tree.generation;
    const fork = this.#tree.fork();
    return {
      fork,
      end: (operations, as) => {
        if (!this.#tree.agrees(fork, since) || this.#collides()) return false;
        this.#announce(operations.flatMap((operation) => this.#tree.apply(operation, as)));
        return true;
      },
    };
  }

  watch(path: string, notify: (path: string) => void): () => void {
    const watch: Watch = { path, notify };
    this.#watches.add(watch);
    this.#tell(watch, path);
    return () => {
      this.#watches.delete(watch);
    };
  }

  #announce(changes: readonly Change[]): void {
    for (const { path, removed } of changes) {
      for (const watch of this.#watches) {
        if (isWithin(path, watch.path)) this.#tell(watch, path);
        else if (removed && isWithin(watch.path, path)) this.#tell(watch, watch.path);
      }
    }
  }

  #tell(watch: Watch, path: string): void {
    this.#clock.defer(() => {
      if (this.#watches.has(watch)) watch.notify(path);
    });
  }
}

/** Xenstore as one domain sees it. */
export class DomainStore implements Xenstore {
  readonly #store: SimulatedStore;
  readonly #domain: DomainId;
  readonly #unwatch = new Set<() => void>();
  #closed = false;

  constructor(store: SimulatedStore, domain: DomainId) {
    this.#store = store;
    this.#domain = domain;
  }

  async read(path: string): Promise<string | null> {
    return this.#open().tree.read(absolute(path, this.#domain), this.#domain);
  }

  async list(path: string): Promise<string[] | null> {
    return this.#open().tree.list(absolute(path, this.#domain), this.#domain);
  }

  async write(path: string, value: string): Promise<void> {
    this.#open().apply({ kind: 'write', path: absolute(path, this.#domain), value }, this.#domain);
  }

  async makeDirectory(path: string): Promise<void> {
    this.#open().apply({ kind: 'write', path: absolute(path, this.#domain), value: null }, this.#domain);
  }

  async remove(path: string): Promise<void> {
    this.#open().apply({ kind: 'remove', path: absolute(path, this.#domain) }, this.#domain);
  }

  async setPermissions(path: string, permissions: readonly string[]): Promise<void> {
    this.#open().apply(
      { kind: 'permissions', path: absolute(path, this.#domain), permissions },
      this.#domain,
    );
  }

  async transaction<T>(body: (access: XenstoreAccess) => Promise<T>): Promise<T> {
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      const { access, end } = this.begin();
      const result = await body(access);
      if (end()) return result;
    }
    throw new NetError('EAGAIN', {
      syscall: 'transaction',
      reason: `it collided with others ${MOST_ATTEMPTS} times`,
    });
  }

  /** One attempt of a transaction; `end` answers false if it collided. */
  begin(): { access: XenstoreAccess; end(): boolean } {
    const { fork, end } = this.#open().begin();
    const access = new Transaction(fork, this.#domain);
    return {
      access,
      end: () => {
        this.#open();
        return end(access.operations, this.#domain);
      },
    };
  }

  async watch(path: string, changed: (path: string) => void): Promise<XenstoreWatch> {
    const whole = absolute(path, this.#domain);
    // The same prefix that was given, be it relative or not.
    const prefix = whole.length - path.length;
    const unwatch = this.#open().watch(whole, (at) => changed(at.slice(prefix)));
    this.#unwatch.add(unwatch);
    return {
      close: async () => {
        this.#unwatch.delete(unwatch);
        unwatch();
      },
    };
  }

  close(): void {
    this.#closed = true;
    for (const unwatch of this.#unwatch) unwatch();
    this.#unwatch.clear();
  }

  #open(): SimulatedStore {
    if (this.#closed) throw new NetError('EPIPE', { syscall: 'xenstore', reason: 'it was closed' });
    return this.#store;
  }
}

/** What a transaction's body works on: a copy, and the list of what it did. */
class Transaction implements XenstoreAccess {
  readonly operations: Operation[] = [];
  readonly #fork: Tree;
  readonly #domain: DomainId;

  constructor(fork: Tree, domain: DomainId) {
    this.#fork = fork;
    this.#domain = domain;
  }

  async read(path: string): Promise<string | null> {
    return this.#fork.read(absolute(path, this.#domain), this.#domain);
  }

  async list(path: string): Promise<string[] | null> {
    return this.#fork.list(absolute(path, this.#domain), this.#domain);
  }

  async write(path: string, value: string): Promise<void> {
    this.#do({ kind: 'write', path: absolute(path, this.#domain), value });
  }

  async makeDirectory(path: string): Promise<void> {
    this.#do({ kind: 'write', path: absolute(path, this.#domain), value: null });
  }

  async remove(path: string): Promise<void> {
    this.#do({ kind: 'remove', path: absolute(path, this.#domain) });
  }

  async setPermissions(path: string, permissions: readonly string[]): Promise<void> {
    this.#do({ kind: 'permissions', path: absolute(path, this.#domain), permissions });
  }

  #do(operation: Operation): void {
    this.#fork.apply(operation, this.#domain);
    this.operations.push(operation);
  }
}
