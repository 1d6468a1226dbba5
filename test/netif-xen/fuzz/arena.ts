import { copy } from '../../../src/bytes/index.ts';
import {
  COPY_OKAY,
  type DomainId,
  type EventChannel,
  type GrantCopier,
  type Hypervisor,
  type LocalMemory,
  PAGE_SIZE,
  type SharedPages,
} from '../../../src/netif/xen/index.ts';

/** What stands in memory that nobody was granted. */
export const SECRET = 0xee;
/** What stands in granted pages before they are used. */
export const FRESH = 0x11;

const GUARD_PAGES = 1;
const FIRST_REFERENCE = 100;

export type Owner = 'front' | 'back';

/** Something that the netif must never do was done. */
export class Trespass extends Error {}

/**
 * A hypervisor that makes connections in microseconds and looks at every copy:
 * one piece of memory that is used again and again, with guard pages that hold a
 * pattern between what is granted. There is no xenstore in it.
 */
export class Arena {
  readonly memory = new Uint8Array(700 * PAGE_SIZE);
  /** By reference, from the first on: its page, and whether it may be written. */
  readonly #pages: number[] = [];
  readonly #writable: boolean[] = [];
  #next = 0;
  /** Event channels, each with the number of the one at its other end. */
  readonly #channels: { owner: Owner; handler: () => void; peer: number; raised: boolean }[] = [];
  /** Memory of the process, by size: kept, since making it costs more than a connection does. */
  readonly #local = new Map<number, LocalMemory[]>();
  readonly #lent: LocalMemory[] = [];

  constructor() {
    this.memory.fill(SECRET);
  }

  readonly grants = {
    share: (_: DomainId, pages: number, writable: boolean): SharedPages => this.#share(pages, writable),
    map: () => {
      throw new Trespass('nothing is mapped here');
    },
    localMemory: (size: number): LocalMemory => this.#lend(size),
    copier: (_: DomainId, segments: number): GrantCopier => new CheckedCopier(this, segments),
  };

  /** The hypervisor as one of the two ends sees it. */
  end(owner: Owner): Hypervisor {
    return {
      domain: owner === 'front' ? 1 : 0,
      grants: this.grants,
      events: {
        listen: (_, handler) => this.#channel(owner, handler, -1),
        bind: (_, port, handler) => this.#channel(owner, handler, port),
      },
      store: null as never,
      close: async () => {},
    };
  }

  /** Forgets all grants and channels, for the next connection. */
  reset(): void {
    for (const memory of this.#lent) {
      const { length } = memory.bytes;
      this.#local.set(length, [...(this.#local.get(length) ?? []), memory]);
    }
    this.#lent.length = 0;
    this.#pages.length = 0;
    this.#writable.length = 0;
    this.#channels.length = 0;
    this.#next = GUARD_PAGES;
  }

  /** Calls the handlers of an end's channels that were notified, or all of them. False if there were none. */
  deliver(owner: Owner, all: boolean): boolean {
    let any = false;
    for (const channel of this.#channels) {
      if (channel.owner !== owner || !(all || channel.raised)) continue;
      channel.raised = false;
      any = true;
      channel.handler();
    }
    return any;
  }

  /** Throws if anything was written between what is granted. */
  checkGuards(): void {
    const granted = new Set(this.#pages);
    for (let page = 0; page < this.memory.length / PAGE_SIZE; page++) {
      if (granted.has(page)) continue;
      for (let i = page * PAGE_SIZE; i < (page + 1) * PAGE_SIZE; i++) {
        if (this.memory[i] !== SECRET) throw new Trespass(`a byte outside of all grants was written: ${i}`);
      }
    }
  }

  /** Where the page of a reference begins; -1 if it was not granted so. */
  find(reference: number, writing: boolean): number {
    const index = reference - FIRST_REFERENCE;
    const page = this.#pages[index];
    if (page === undefined || (writing && !this.#writable[index])) return -1;
    return page * PAGE_SIZE;
  }

  #share(pages: number, writable: boolean): SharedPages {
    const first = this.#next;
    this.#next += pages + GUARD_PAGES;
    const bytes = this.memory.subarray(first * PAGE_SIZE, (first + pages) * PAGE_SIZE);
    if (bytes[0] === SECRET && bytes.at(-1) === SECRET) bytes.fill(FRESH);
    const references: number[] = [];
    for (let page = first; page < first + pages; page++) {
      references.push(FIRST_REFERENCE + this.#pages.length);
      this.#pages.push(page);
      this.#writable.push(writable);
    }
    return { bytes, references, end() {} };
  }

  #lend(size: number): LocalMemory {
    const memory = this.#local.get(size)?.pop() ?? { bytes: new Uint8Array(size) };
    this.#lent.push(memory);
    return memory;
  }

  #channel(owner: Owner, handler: () => void, peer: number): EventChannel {
    const port = this.#channels.length;
    const channel = { owner, handler, peer, raised: false };
    this.#channels.push(channel);
    const other = this.#channels[peer];
    if (other !== undefined) other.peer = port;
    const notify = (): void => {
      const end = this.#channels[channel.peer];
      if (end !== undefined) end.raised = true;
    };
    return { port, notify, unmask() {}, close() {} };
  }
}

/** Does what the hypervisor does, and does not forgive what it would: a netif that asks for a copy beyond a page. */
class CheckedCopier implements GrantCopier {
  readonly capacity: number;
  count = 0;
  readonly #arena: Arena;
  readonly #segments: {
    reference: number;
    offset: number;
    bytes: Uint8Array;
    at: number;
    length: number;
    push: boolean;
  }[] = [];
  readonly #statuses: number[] = [];

  constructor(arena: Arena, capacity: number) {
    this.#arena = arena;
    this.capacity = capacity;
  }

  pull(reference: number, offset: number, memory: LocalMemory, at: number, length: number): void {
    this.#add(reference, offset, memory, at, length, false);
  }

  push(reference: number, offset: number, memory: LocalMemory, at: number, length: number): void {
    this.#add(reference, offset, memory, at, length, true);
  }

  run(): void {
    const { memory } = this.#arena;
    for (const [i, { reference, offset, bytes, at, length, push }] of this.#segments.entries()) {
      const page = this.#arena.find(reference, push);
      this.#statuses[i] = page < 0 ? -3 : COPY_OKAY;
      if (page < 0) continue;
      if (push) copy(memory, page + offset, bytes, at, at + length);
      else copy(bytes, at, memory, page + offset, page + offset + length);
    }
  }

  status(index: number): number {
    return this.#statuses[index]!;
  }

  clear(): void {
    this.count = 0;
    this.#segments.length = 0;
  }

  #add(
    reference: number,
    offset: number,
    memory: LocalMemory,
    at: number,
    length: number,
    push: boolean,
  ): void {
    if (this.count++ >= this.capacity) throw new Trespass('more segments than the copier takes');
    if (offset < 0 || length <= 0 || offset + length > PAGE_SIZE) {
      throw new Trespass(`a copy of ${length} bytes at ${offset} of a page`);
    }
    const { bytes } = memory;
    if (at < 0 || at + length > bytes.length)
      throw new Trespass(`a copy of ${length} bytes at ${at} of our memory`);
    this.#segments.push({ reference, offset, bytes, at, length, push });
  }
}
