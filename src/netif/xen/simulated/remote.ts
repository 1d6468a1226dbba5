import type { MessagePort } from 'node:worker_threads';
import { NetError, type NetErrorCode } from '../../../errors.ts';
import { type Clock, RealClock } from '../../../time/index.ts';
import type { Hypervisor, Xenstore, XenstoreAccess, XenstoreWatch } from '../hypervisor.ts';
import { SimulatedDomain } from './domain.ts';
import { MachineMemory } from './memory.ts';
import type { FromMachine, MachineTicket, ToMachine } from './messages.ts';

type Answer = string | string[] | number | boolean | null;

/** A domain, in this thread, of the machine of another thread (`SimulatedMachine.ticket`). */
export function joinMachine(ticket: MachineTicket, clock: Clock = new RealClock()): Hypervisor {
  const { domain, buffer, pages, port } = ticket;
  const store = new RemoteStore(port);
  const hypervisor = new SimulatedDomain({
    memory: new MachineMemory(pages, true, buffer),
    domain,
    clock,
    store,
    eventDelayMs: () => 0,
    wake: (remote, at) => port.postMessage({ kind: 'wake', domain: remote, port: at } satisfies ToMachine),
    onClose: () => {
      store.close();
      port.postMessage({ kind: 'close' } satisfies ToMachine);
      port.close();
    },
  });
  port.on('message', (message: FromMachine) => {
    if (message.kind === 'wake') hypervisor.wake(message.port);
    else store.receive(message);
  });
  return hypervisor;
}

class RemoteStore implements Xenstore {
  readonly #port: MessagePort;
  readonly #calls = new Map<number, { resolve(value: Answer): void; reject(error: Error): void }>();
  readonly #watches = new Map<number, (path: string) => void>();
  #lastCall = 0;
  #lastWatch = 0;
  #closed = false;
  readonly #direct: XenstoreAccess;

  constructor(port: MessagePort) {
    this.#port = port;
    this.#direct = this.#access(0);
  }

  read(path: string): Promise<string | null> {
    return this.#direct.read(path);
  }

  list(path: string): Promise<string[] | null> {
    return this.#direct.list(path);
  }

  write(path: string, value: string): Promise<void> {
    return this.#direct.write(path, value);
  }

  makeDirectory(path: string): Promise<void> {
    return this.#direct.makeDirectory(path);
  }

  remove(path: string): Promise<void> {
    return this.#direct.remove(path);
  }

  setPermissions(path: string, permissions: readonly string[]): Promise<void> {
    return this.#direct.setPermissions(path, permissions);
  }

  async transaction<T>(body: (access: XenstoreAccess) => Promise<T>): Promise<T> {
    for (;;) {
      const transaction = (await this.#call((call) => ({ kind: 'begin', call }))) as number;
      let result: T;
      try {
        result = await body(this.#access(transaction));
      } catch (error) {
        await this.#call((call) => ({ kind: 'end', call, transaction, commit: false }));
        throw error;
      }
      if (await this.#call((call) => ({ kind: 'end', call, transaction, commit: true }))) return result;
    }
  }

  async watch(path: string, changed: (path: string) => void): Promise<XenstoreWatch> {
    const watch = ++this.#lastWatch;
    this.#watches.set(watch, changed);
    await this.#call((call) => ({ kind: 'watch', call, watch, path }));
    return {
      close: async () => {
        if (!this.#watches.delete(watch) || this.#closed) return;
        await this.#call((call) => ({ kind: 'unwatch', call, watch }));
      },
    };
  }

  receive(message: Exclude<FromMachine, { kind: 'wake' }>): void {
    if (message.kind === 'changed') {
      this.#watches.get(message.watch)?.(message.path);
      return;
    }
    const call = this.#calls.get(message.call);
    this.#calls.delete(message.call);
    if (message.kind === 'answer') call?.resolve(message.value);
    else
      call?.reject(
        new NetError(message.code as NetErrorCode, { syscall: 'xenstore', reason: message.message }),
      );
  }

  close(): void {
    this.#closed = true;
    for (const { reject } of this.#calls.values()) reject(isClosed());
    this.#calls.clear();
    this.#watches.clear();
  }

  #access(transaction: number): XenstoreAccess {
    const call = (
      method: Extract<ToMachine, { kind: 'store' }>['method'],
      path: string,
      argument: string | readonly string[] | null = null,
    ): Promise<Answer> =>
      this.#call((number) => ({ kind: 'store', call: number, transaction, method, path, argument }));
    return {
      read: async (path) => (await call('read', path)) as string | null,
      list: async (path) => (await call('list', path)) as string[] | null,
      write: async (path, value) => void (await call('write', path, value)),
      makeDirectory: async (path) => void (await call('makeDirectory', path)),
      remove: async (path) => void (await call('remove', path)),
      setPermissions: async (path, permissions) => void (await call('setPermissions', path, permissions)),
    };
  }

  #call(message: (call: number) => ToMachine): Promise<Answer> {
    if (this.#closed) return Promise.reject(isClosed());
    return new Promise((resolve, reject) => {
      const call = ++this.#lastCall;
      this.#calls.set(call, { resolve, reject });
      this.#port.postMessage(message(call));
    });
  }
}

function isClosed(): NetError {
  return new NetError('EPIPE', { syscall: 'xenstore', reason: 'it was closed' });
}
