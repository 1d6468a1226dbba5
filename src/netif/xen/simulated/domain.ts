import { allocate, ViewCache } from '../../../bytes/index.ts';
import { NetError } from '../../../errors.ts';
import type { Alarm, Clock } from '../../../time/index.ts';
import {
  COPY_OKAY,
  type DomainId,
  type EventChannel,
  type EventChannels,
  type GrantCopier,
  type Grants,
  type Hypervisor,
  type LocalMemory,
  type MappedPages,
  PAGE_SIZE,
  type SharedPages,
  type Xenstore,
} from '../hypervisor.ts';
import { type MachineMemory, PORT_UNBOUND } from './memory.ts';

/** GNTST_bad_gntref. */
const BAD_REFERENCE = -3;
/** GNTST_bad_copy_arg. */
const BAD_COPY = -10;

export interface DomainOptions {
  readonly memory: MachineMemory;
  readonly domain: DomainId;
  readonly clock: Clock;
  readonly store: Xenstore;
  /** How long an event is on its way; 0 for the next turn of the event loop. */
  readonly eventDelayMs: () => number;
  /** Tells the owner of the other end of a channel that its bit was set. */
  readonly wake: (domain: DomainId, port: number) => void;
  readonly onClose: () => void;
}

/** A domain of a simulated machine, in the thread that it runs in. */
export class SimulatedDomain implements Hypervisor {
  readonly domain: DomainId;
  readonly grants: Grants;
  readonly events: EventChannels;
  readonly store: Xenstore;
  readonly #channels = new Map<number, Channel>();
  readonly #held = new Set<{ release(): void }>();
  readonly #onClose: () => void;
  #closed = false;

  constructor(options: DomainOptions) {
    this.domain = options.domain;
    this.store = options.store;
    this.#onClose = options.onClose;
    this.grants = new SimulatedGrants(options.memory, options.domain, this.#held);
    const open = (port: number, handler: () => void): Channel => {
      const channel = new Channel(options, port, handler, () => this.#channels.delete(port));
      this.#channels.set(port, channel);
      return channel;
    };
    const { memory } = options;
    this.events = {
      listen: (remote, handler) =>
        open(
          memory.locked(() => memory.takePort(this.domain, PORT_UNBOUND, remote, 0)),
          handler,
        ),
      bind: (remote, remotePort, handler) => {
        const channel = open(
          memory.locked(() => memory.bindPort(this.domain, remote, remotePort)),
          handler,
        );
        channel.wake();
        return channel;
      },
    };
  }

  /** The bit of a port of ours was set. */
  wake(port: number): void {
    this.#channels.get(port)?.wake();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const channel of [...this.#channels.values()]) channel.close();
    for (const held of [...this.#held]) held.release();
    this.#onClose();
  }
}

class SimulatedGrants implements Grants {
  readonly #memory: MachineMemory;
  readonly #domain: DomainId;
  /** What is to be released when the domain ends. */
  readonly #held: Set<{ release(): void }>;

  constructor(memory: MachineMemory, domain: DomainId, held: Set<{ release(): void }>) {
    this.#memory = memory;
    this.#domain = domain;
    this.#held = held;
  }

  share(domain: DomainId, pages: number, writable: boolean): SharedPages {
    const memory = this.#memory;
    const references: number[] = [];
    const first = memory.locked(() => {
      const page = memory.takePages(pages);
      for (let i = 0; i < pages; i++) references.push(memory.grant(this.#domain, domain, page + i, writable));
      return page;
    });
    const end = this.#once(() => {
      memory.locked(() => {
        for (const reference of references) memory.ungrant(this.#domain, reference);
      });
    });
    return { bytes: memory.view(first, pages), references, end };
  }

  map(domain: DomainId, references: readonly number[]): MappedPages {
    const memory = this.#memory;
    const first = memory.locked(() => {
      const pages = references.map((reference) => memory.lookUp(domain, reference, this.#domain, true));
      const bad = pages.indexOf(-1);
      if (bad >= 0) {
        throw new NetError('EINVAL', {
          syscall: 'map',
          reason: `domain ${domain} has not granted ${references[bad]} to domain ${this.#domain} for writing`,
        });
      }
      // Real pages can be mapped side by side wherever they are; bytes of one buffer cannot.
      if (pages.some((page, i) => page !== pages[0]! + i)) {
        throw new NetError('EINVAL', {
          syscall: 'map',
          reason: 'a simulated machine maps pages together only if they were shared together',
        });
      }
      for (const reference of references) memory.pin(domain, reference);
      return pages[0]!;
    });
    const unmap = this.#once(() => {
      memory.locked(() => {
        for (const reference of references) memory.unpin(domain, reference);
      });
    });
    return { bytes: memory.view(first, references.length), unmap };
  }

  localMemory(size: number): LocalMemory {
    return new SimulatedLocalMemory(size);
  }

  copier(domain: DomainId, segments: number): GrantCopier {
    return new Copier(this.#memory, this.#domain, domain, segments);
  }

  #once(release: () => void): () => void {
    const held = {
      release: (): void => {
        if (this.#held.delete(held)) release();
      },
    };
    this.#held.add(held);
    return held.release;
  }
}

class SimulatedLocalMemory implements LocalMemory {
  readonly bytes: Uint8Array;
  /** The same as no Buffer: views of it are made in half the time. */
  readonly plain: Uint8Array;

  constructor(size: number) {
    this.bytes = allocate(size);
    this.plain = new Uint8Array(this.bytes.buffer, this.bytes.byteOffset, size);
  }
}

class Copier implements GrantCopier {
  readonly capacity: number;
  count = 0;
  readonly #memory: MachineMemory;
  readonly #own: DomainId;
  readonly #domain: DomainId;
  readonly #references: Float64Array;
  readonly #offsets: Int32Array;
  readonly #positions: Int32Array;
  readonly #lengths: Int32Array;
  readonly #statuses: Int16Array;
  readonly #pushes: Uint8Array;
  readonly #local: (Uint8Array | null)[];
  readonly #views = new ViewCache(9);
  readonly #runAll = (): void => {
    for (let i = 0; i < this.count; i++) this.#statuses[i] = this.#runOne(i);
  };

  constructor(memory: MachineMemory, own: DomainId, domain: DomainId, capacity: number) {
    this.#memory = memory;
    this.#own = own;
    this.#domain = domain;
    this.capacity = capacity;
    this.#references = new Float64Array(capacity);
    this.#offsets = new Int32Array(capacity);
    this.#positions = new Int32Array(capacity);
    this.#lengths = new Int32Array(capacity);
    this.#statuses = new Int16Array(capacity);
    this.#pushes = new Uint8Array(capacity);
    this.#local = new Array<Uint8Array | null>(capacity).fill(null);
  }

  pull(reference: number, offset: number, memory: LocalMemory, at: number, length: number): void {
    this.#add(reference, offset, memory, at, length, 0);
  }

  push(reference: number, offset: number, memory: LocalMemory, at: number, length: number): void {
    this.#add(reference, offset, memory, at, length, 1);
  }

  run(): void {
    this.#memory.locked(this.#runAll);
  }

  status(index: number): number {
    return this.#statuses[index]!;
  }

  clear(): void {
    this.#local.fill(null, 0, this.count);
    this.count = 0;
  }

  #add(reference: number, offset: number, local: LocalMemory, at: number, length: number, push: 0 | 1): void {
    const i = this.count++;
    // What the caller got wrong would be a write anywhere in the process on a real machine.
    if (i >= this.capacity || at < 0 || length < 0 || at + length > local.bytes.length) {
      throw new RangeError(
        `segment ${i} of ${this.capacity}: ${length} bytes at ${at} of ${local.bytes.length}`,
      );
    }
    this.#references[i] = reference;
    this.#offsets[i] = offset;
    this.#positions[i] = at;
    this.#lengths[i] = length;
    this.#pushes[i] = push;
    this.#local[i] = (local as SimulatedLocalMemory).plain;
  }

  #runOne(i: number): number {
    const memory = this.#memory;
    const push = this.#pushes[i] === 1;
    const offset = this.#offsets[i]!;
    const length = this.#lengths[i]!;
    if (offset < 0 || offset + length > PAGE_SIZE) return BAD_COPY;
    const page = memory.lookUp(this.#domain, this.#references[i]!, this.#own, push);
    if (page < 0) return BAD_REFERENCE;
    const there = memory.position(page) + offset;
    const here = this.#positions[i]!;
    const local = this.#local[i]!;
    if (push) this.#views.copy(memory.bytes, there, local, here, here + length);
    else this.#views.copy(local, here, memory.bytes, there, there + length);
    return COPY_OKAY;
  }
}

class Channel implements EventChannel {
  readonly port: number;
  readonly #options: DomainOptions;
  readonly #handler: () => void;
  readonly #forget: () => void;
  readonly #alarm: Alarm;
  #masked = false;
  #closed = false;

  constructor(options: DomainOptions, port: number, handler: () => void, forget: () => void) {
    this.#options = options;
    this.port = port;
    this.#handler = handler;
    this.#forget = forget;
    this.#alarm = options.clock.alarm(() => this.#deliver());
  }

  notify(): void {
    if (this.#closed) return;
    const { memory, domain, wake } = this.#options;
    const end = memory.raise(domain, this.port);
    if (end !== null) wake(end.domain, end.port);
  }

  unmask(): void {
    if (this.#closed) return;
    this.#masked = false;
    if (this.#options.memory.isRaised(this.#options.domain, this.port)) this.wake();
  }

  /** The bit was set. */
  wake(): void {
    if (this.#masked || this.#closed) return;
    const { clock, eventDelayMs } = this.#options;
    this.#alarm.set(clock.now() + eventDelayMs());
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#alarm.clear();
    this.#forget();
    const { memory, domain } = this.#options;
    memory.locked(() => memory.freePort(domain, this.port));
  }

  #deliver(): void {
    if (this.#masked || this.#closed) return;
    if (!this.#options.memory.lower(this.#options.domain, this.port)) return;
    this.#masked = true;
    this.#handler();
  }
}
