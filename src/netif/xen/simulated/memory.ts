import { NetError } from '../../../errors.ts';
import { type DomainId, PAGE_SIZE } from '../hypervisor.ts';

/** Most domains of a machine, and what each may have at once. */
const DOMAINS = 8;
const GRANTS = 4096;
const PORTS = 64;

/** The first grants of a domain are not given out (GNTTAB_NR_RESERVED_ENTRIES). */
const FIRST_GRANT = 8;

/** Words of a grant: state · domain it is for · page · mappings. */
const GRANT_WORDS = 4;
/** Words of a port: state · the other end's domain · its port · pending. */
const PORT_WORDS = 4;

const LOCK = 0;
const GRANT_TABLES = 16;
const PORT_TABLES = GRANT_TABLES + DOMAINS * GRANTS * GRANT_WORDS;
const TABLE_WORDS = PORT_TABLES + DOMAINS * PORTS * PORT_WORDS;

/** Grant states, as bits. */
export const GRANTED = 1;
export const WRITABLE = 2;
/** Taken back while the other domain had it mapped. */
export const ENDING = 4;

/** Port states. */
export const PORT_FREE = 0;
export const PORT_UNBOUND = 1;
export const PORT_BOUND = 2;

const PAGE_FREE = 0;
const PAGE_USED = 1;

/** What is in a free page: whoever finds something else has caught a write through a stale view. */
const POISON = 0xdb;
const POISON_WORD = 0xdbdbdbdb | 0;

/**
 * The memory of a simulated machine: tables and pages in one buffer, so that
 * threads can share it. Every method takes and leaves the machine's lock where
 * it needs it, or says that the caller has to.
 */
export class MachineMemory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
  readonly pages: number;
  readonly #words: Int32Array;
  readonly #states: Uint8Array;
  readonly #bytes: Uint8Array;
  readonly #firstPage: number;

  /** @param buffer of another thread's machine; a new one of `pages` pages unless given */
  constructor(pages: number, shared: boolean, buffer?: ArrayBuffer | SharedArrayBuffer) {
    const tables = TABLE_WORDS * 4 + pages;
    this.#firstPage = Math.ceil(tables / PAGE_SIZE) * PAGE_SIZE;
    const size = this.#firstPage + pages * PAGE_SIZE;
    this.buffer = buffer ?? (shared ? new SharedArrayBuffer(size) : new ArrayBuffer(size));
    this.pages = pages;
    this.#words = new Int32Array(this.buffer, 0, TABLE_WORDS);
    this.#states = new Uint8Array(this.buffer, TABLE_WORDS * 4, pages);
    this.#bytes = new Uint8Array(this.buffer);
    if (buffer === undefined) this.#bytes.fill(POISON, this.#firstPage);
  }

  /** Runs `task` alone: other threads wait, awake, for as long as it takes. */
  locked<T>(task: () => T): T {
    while (Atomics.compareExchange(this.#words, LOCK, 0, 1) !== 0);
    try {
      return task();
    } finally {
      Atomics.store(this.#words, LOCK, 0);
    }
  }

  /** `count` pages, one behind the other, as Buffers are on Node. */
  view(page: number, count: number): Uint8Array {
    const start = this.#firstPage + page * PAGE_SIZE;
    return typeof Buffer === 'undefined'
      ? new Uint8Array(this.buffer, start, count * PAGE_SIZE)
      : Buffer.from(this.buffer as ArrayBuffer, start, count * PAGE_SIZE);
  }

  /** All pages, to copy from and to by {@link position}. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  position(page: number): number {
    return this.#firstPage + page * PAGE_SIZE;
  }

  /** The first of `count` fresh, zeroed pages. Under the lock. */
  takePages(count: number): number {
    const states = this.#states;
    for (let first = 0, run = 0; first + run < this.pages; ) {
      if (states[first + run] !== PAGE_FREE) {
        first += run + 1;
        run = 0;
      } else if (++run === count) {
        for (let page = first; page < first + count; page++) this.#clean(page);
        return first;
      }
    }
    throw new NetError('ENOMEM', {
      syscall: 'share',
      reason: `the simulated machine has no ${count} pages left in a row`,
    });
  }

  /** Under the lock. */
  freePage(page: number): void {
    const at = this.position(page);
    this.#bytes.fill(POISON, at, at + PAGE_SIZE);
    this.#states[page] = PAGE_FREE;
  }

  get pagesInUse(): number {
    return this.#states.reduce((sum, state) => sum + state, 0);
  }

  /** Makes a grant of `domain` and answers its reference. Under the lock. */
  grant(domain: DomainId, to: DomainId, page: number, writable: boolean): number {
    for (let reference = FIRST_GRANT; reference < GRANTS; reference++) {
      const at = this.#grantAt(domain, reference);
      if (this.#words[at] !== 0) continue;
      this.#words[at] = GRANTED | (writable ? WRITABLE : 0);
      this.#words[at + 1] = to;
      this.#words[at + 2] = page;
      this.#words[at + 3] = 0;
      return reference;
    }
    throw new NetError('ENOSPC', { syscall: 'share', reason: `domain ${domain} has no grants left` });
  }

  /** Takes a grant back, now or when it is not mapped any more. Under the lock. */
  ungrant(domain: DomainId, reference: number): void {
    const at = this.#grantAt(domain, reference);
    if (this.#words[at + 3]! > 0) this.#words[at]! |= ENDING;
    else this.#release(at);
  }

  /**
   * The page behind a reference, or -1 if `domain` did not grant it to `to` (for writing, if
   * that is asked for). Under the lock.
   */
  lookUp(domain: DomainId, reference: number, to: DomainId, writing: boolean): number {
    if (domain < 0 || domain >= DOMAINS || !(reference >= 0 && reference < GRANTS)) return -1;
    const at = this.#grantAt(domain, reference);
    const state = this.#words[at]!;
    if ((state & (GRANTED | ENDING)) !== GRANTED || this.#words[at + 1] !== to) return -1;
    if (writing && (state & WRITABLE) === 0) return -1;
    return this.#words[at + 2]!;
  }

  /** Counts a mapping of a reference that {@link lookUp} found. Under the lock. */
  pin(domain: DomainId, reference: number): void {
    this.#words[this.#grantAt(domain, reference) + 3]!++;
  }

  /** Under the lock. */
  unpin(domain: DomainId, reference: number): void {
    const at = this.#grantAt(domain, reference);
    if (--this.#words[at + 3]! === 0 && (this.#words[at]! & ENDING) !== 0) this.#release(at);
  }

  /** Grants of a domain in use, and mappings of them by others. */
  grantsOf(domain: DomainId): { granted: number; mapped: number } {
    let granted = 0;
    let mapped = 0;
    for (let reference = FIRST_GRANT; reference < GRANTS; reference++) {
      const at = this.#grantAt(domain, reference);
      if (this.#words[at] !== 0) granted++;
      mapped += this.#words[at + 3]!;
    }
    return { granted, mapped };
  }

  /** A port of `domain` in the given state. Under the lock. */
  takePort(domain: DomainId, state: number, remote: DomainId, remotePort: number): number {
    for (let port = 1; port < PORTS; port++) {
      const at = this.#portAt(domain, port);
      if (this.#words[at] !== PORT_FREE) continue;
      this.#words[at] = state;
      this.#words[at + 1] = remote;
      this.#words[at + 2] = remotePort;
      this.#words[at + 3] = 0;
      return port;
    }
    throw new NetError('ENOSPC', {
      syscall: 'listen',
      reason: `domain ${domain} has no event channels left`,
    });
  }

  /** Binds a new port of `domain` to one that `remote` offered. Under the lock. */
  bindPort(domain: DomainId, remote: DomainId, remotePort: number): number {
    const known = remote >= 0 && remote < DOMAINS && remotePort > 0 && remotePort < PORTS;
    const at = known ? this.#portAt(remote, remotePort) : -1;
    if (at < 0 || this.#words[at] !== PORT_UNBOUND || this.#words[at + 1] !== domain) {
      throw new NetError('EINVAL', {
        syscall: 'bind',
        reason: `domain ${remote} has not offered port ${remotePort} to domain ${domain}`,
      });
    }
    const port = this.takePort(domain, PORT_BOUND, remote, remotePort);
    this.#words[at] = PORT_BOUND;
    this.#words[at + 2] = port;
    // Xen does so, since the other end may have sent before anybody listened.
    this.#words[this.#portAt(domain, port) + 3] = 1;
    return port;
  }

  /** Frees a port; the other end, if there is one, is offered again. Under the lock. */
  freePort(domain: DomainId, port: number): void {
    const at = this.#portAt(domain, port);
    if (this.#words[at] === PORT_BOUND) {
      this.#words[this.#portAt(this.#words[at + 1]!, this.#words[at + 2]!)] = PORT_UNBOUND;
    }
    this.#words[at] = PORT_FREE;
  }

  /** Sets the bit of the port at the other end; that end if it has to be told, else null. */
  raise(domain: DomainId, port: number): { domain: DomainId; port: number } | null {
    const at = this.#portAt(domain, port);
    if (Atomics.load(this.#words, at) !== PORT_BOUND) return null;
    const end = { domain: this.#words[at + 1]!, port: this.#words[at + 2]! };
    return Atomics.exchange(this.#words, this.#portAt(end.domain, end.port) + 3, 1) === 0 ? end : null;
  }

  isRaised(domain: DomainId, port: number): boolean {
    return Atomics.load(this.#words, this.#portAt(domain, port) + 3) !== 0;
  }

  /** Clears the bit; whether it was set. */
  lower(domain: DomainId, port: number): boolean {
    return Atomics.exchange(this.#words, this.#portAt(domain, port) + 3, 0) !== 0;
  }

  portsOf(domain: DomainId): number {
    let count = 0;
    for (let port = 1; port < PORTS; port++) {
      if (this.#words[this.#portAt(domain, port)] !== PORT_FREE) count++;
    }
    return count;
  }

  #grantAt(domain: DomainId, reference: number): number {
    return GRANT_TABLES + (domain * GRANTS + reference) * GRANT_WORDS;
  }

  #portAt(domain: DomainId, port: number): number {
    return PORT_TABLES + (domain * PORTS + port) * PORT_WORDS;
  }

  #release(at: number): void {
    this.freePage(this.#words[at + 2]!);
    this.#words.fill(0, at, at + GRANT_WORDS);
  }

  #clean(page: number): void {
    const at = this.position(page);
    const words = new Int32Array(this.buffer, at, PAGE_SIZE / 4);
    for (let i = 0; i < words.length; i++) {
      if (words[i] !== POISON_WORD) throw new Error(`page ${page} was written at ${i * 4} while it was free`);
    }
    words.fill(0);
    this.#states[page] = PAGE_USED;
  }
}

export function checkDomain(domain: DomainId): void {
  if (Number.isInteger(domain) && domain >= 0 && domain < DOMAINS) return;
  throw new NetError('EINVAL', {
    syscall: 'domain',
    reason: `${domain}: the domains of a simulated machine are 0 to ${DOMAINS - 1}`,
  });
}
