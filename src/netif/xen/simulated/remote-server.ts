import type { MessagePort } from 'node:worker_threads';
import { NetError } from '../../../errors.ts';
import type { DomainId, XenstoreAccess, XenstoreWatch } from '../hypervisor.ts';
import type { FromMachine, ToMachine } from './messages.ts';
import type { DomainStore } from './store.ts';

export interface RemoteServerOptions {
  readonly port: MessagePort;
  readonly store: DomainStore;
  readonly wake: (domain: DomainId, port: number) => void;
  readonly onClose: () => void;
}

type Answer = string | string[] | number | boolean | null;

/** The machine's end of a domain in another thread: its xenstore, and the events for it. */
export class RemoteServer {
  readonly #options: RemoteServerOptions;
  readonly #transactions = new Map<number, ReturnType<DomainStore['begin']>>();
  readonly #watches = new Map<number, XenstoreWatch>();
  #lastTransaction = 0;
  #closed = false;

  constructor(options: RemoteServerOptions) {
    this.#options = options;
    options.port.on('message', (message: ToMachine) => void this.#receive(message));
  }

  wake(port: number): void {
    this.#send({ kind: 'wake', port });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.store.close();
    this.#options.port.close();
    this.#options.onClose();
  }

  #send(message: FromMachine): void {
    this.#options.port.postMessage(message);
  }

  async #receive(message: ToMachine): Promise<void> {
    if (message.kind === 'wake') return this.#options.wake(message.domain, message.port);
    if (message.kind === 'close') return this.close();
    const { call } = message;
    try {
      this.#send({ kind: 'answer', call, value: await this.#answer(message) });
    } catch (error) {
      // Whatever it was, the one who asked is told.
      const { code, message: text } = error as NetError;
      this.#send({ kind: 'failure', call, code: code ?? 'EINVAL', message: text });
    }
  }

  async #answer(message: Exclude<ToMachine, { kind: 'wake' | 'close' }>): Promise<Answer> {
    const { store } = this.#options;
    switch (message.kind) {
      case 'begin':
        this.#transactions.set(++this.#lastTransaction, store.begin());
        return this.#lastTransaction;
      case 'end': {
        const transaction = this.#transaction(message.transaction);
        this.#transactions.delete(message.transaction);
        return message.commit && transaction.end();
      }
      case 'watch': {
        const { watch } = message;
        const changed = (path: string): void => this.#send({ kind: 'changed', watch, path });
        this.#watches.set(watch, await store.watch(message.path, changed));
        return null;
      }
      case 'unwatch':
        await this.#watches.get(message.watch)?.close();
        this.#watches.delete(message.watch);
        return null;
      case 'store': {
        const access: XenstoreAccess =
          message.transaction === 0 ? store : this.#transaction(message.transaction).access;
        return call(access, message);
      }
    }
  }

  #transaction(number: number): ReturnType<DomainStore['begin']> {
    const found = this.#transactions.get(number);
    if (found === undefined) throw new NetError('ENOENT', { syscall: 'transaction', reason: 'it is over' });
    return found;
  }
}

async function call(
  access: XenstoreAccess,
  { method, path, argument }: Extract<ToMachine, { kind: 'store' }>,
): Promise<Answer> {
  switch (method) {
    case 'read':
      return access.read(path);
    case 'list':
      return access.list(path);
    case 'write':
      await access.write(path, argument as string);
      return null;
    case 'makeDirectory':
      await access.makeDirectory(path);
      return null;
    case 'remove':
      await access.remove(path);
      return null;
    case 'setPermissions':
      await access.setPermissions(path, argument as readonly string[]);
      return null;
  }
}
