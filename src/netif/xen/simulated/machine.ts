import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { type Clock, RealClock } from '../../../time/index.ts';
import type { DomainId, Hypervisor } from '../hypervisor.ts';
import { SimulatedDomain } from './domain.ts';
import { checkDomain, MachineMemory } from './memory.ts';
import type { MachineTicket } from './messages.ts';
import { RemoteServer } from './remote-server.ts';
import { DomainStore, SimulatedStore } from './store.ts';

export interface SimulatedMachineOptions {
  /** For events and watches; the host's clock unless given. */
  readonly clock?: Clock;
  /** 8192 (32 MiB) unless given. */
  readonly pages?: number;
  /** Whether threads are to take part: the pages are then a `SharedArrayBuffer`, slower to copy. False unless given. */
  readonly shared?: boolean;
  /** How long each event is on its way, in ms; as soon as may be unless given. */
  readonly eventDelayMs?: () => number;
  /** Whether a transaction of xenstore that ends is to fail, as if another had collided with it; never unless given. */
  readonly collides?: () => boolean;
}

/** What is in use on a machine: nothing, when everything was closed. */
export interface MachineUse {
  readonly grants: number;
  readonly mappings: number;
  readonly pages: number;
  readonly ports: number;
  readonly watches: number;
}

/**
 * Xen in the memory of this process: domains with pages, grants, event channels
 * and a xenstore in common, to run a frontend against a backend where there is
 * no Xen. Other threads can have domains of it: see {@link ticket}.
 */
export class SimulatedMachine {
  readonly #clock: Clock;
  readonly #shared: boolean;
  readonly #memory: MachineMemory;
  readonly #store: SimulatedStore;
  readonly #eventDelayMs: () => number;
  readonly #domains = new Map<DomainId, SimulatedDomain>();
  #events = 0;
  readonly #remotes = new Map<DomainId, RemoteServer>();

  constructor(options: SimulatedMachineOptions = {}) {
    this.#clock = options.clock ?? new RealClock();
    this.#shared = options.shared ?? false;
    this.#memory = new MachineMemory(options.pages ?? 8192, this.#shared);
    this.#store = new SimulatedStore(this.#clock, options.collides ?? (() => false));
    this.#eventDelayMs = options.eventDelayMs ?? (() => 0);
  }

  /** The machine as a domain of this thread sees it: one per domain at a time. */
  domain(domain: DomainId): Hypervisor {
    checkDomain(domain);
    if (this.#domains.has(domain) || this.#remotes.has(domain)) {
      throw new RangeError(`domain ${domain} is there already`);
    }
    const store = new DomainStore(this.#store, domain);
    const hypervisor = new SimulatedDomain({
      memory: this.#memory,
      domain,
      clock: this.#clock,
      store,
      eventDelayMs: this.#eventDelayMs,
      wake: (remote, port) => this.#wake(remote, port),
      onClose: () => {
        store.close();
        this.#domains.delete(domain);
      },
    });
    this.#domains.set(domain, hypervisor);
    return hypervisor;
  }

  /**
   * What another thread needs to have `domain`: post it there together with its port, and call
   * `joinMachine`. The machine has to be `shared`.
   */
  ticket(domain: DomainId): { ticket: MachineTicket; transfer: [MessagePort] } {
    checkDomain(domain);
    if (!this.#shared) throw new RangeError('only a shared machine can have domains in other threads');
    const { port1, port2 } = new MessageChannel();
    const server = new RemoteServer({
      port: port1,
      store: new DomainStore(this.#store, domain),
      wake: (remote, port) => this.#wake(remote, port),
      onClose: () => this.#remotes.delete(domain),
    });
    this.#remotes.set(domain, server);
    return {
      ticket: {
        domain,
        buffer: this.#memory.buffer as SharedArrayBuffer,
        pages: this.#memory.pages,
        port: port2,
      },
      transfer: [port2],
    };
  }

  /** Events that domains of this thread have sent and that were delivered, or will be. */
  get events(): number {
    return this.#events;
  }

  get use(): MachineUse {
    let grants = 0;
    let mappings = 0;
    let ports = 0;
    for (let domain = 0; domain < 8; domain++) {
      const { granted, mapped } = this.#memory.grantsOf(domain);
      grants += granted;
      mappings += mapped;
      ports += this.#memory.portsOf(domain);
    }
    return { grants, mappings, pages: this.#memory.pagesInUse, ports, watches: this.#store.watches };
  }

  /** Ends what other threads still have. */
  close(): void {
    for (const server of [...this.#remotes.values()]) server.close();
  }

  #wake(domain: DomainId, port: number): void {
    this.#events++;
    this.#domains.get(domain)?.wake(port);
    this.#remotes.get(domain)?.wake(port);
  }
}
