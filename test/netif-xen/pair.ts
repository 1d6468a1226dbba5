import { MacAddress } from '../../src/address/index.ts';
import type { NetbackOptions, NetfrontOptions } from '../../src/netif/xen/index.ts';
import {
  attachVif,
  type Hypervisor,
  type Netback,
  type Netfront,
  openNetback,
  openNetfront,
  SimulatedMachine,
  type SimulatedMachineOptions,
  type Vif,
} from '../../src/netif/xen/index.ts';
import { runVirtual, VirtualClock } from '../../src/time/index.ts';

export const VIF: Vif = { frontend: 1, backend: 0, index: 0 };
export const MAC = MacAddress.parse('00:16:3e:00:00:02');

export interface PairOptions {
  readonly machine?: Omit<SimulatedMachineOptions, 'clock'>;
  readonly front?: Partial<NetfrontOptions>;
  readonly back?: Partial<NetbackOptions>;
  readonly mtu?: number;
}

/** A machine of two domains with a network card between them, on virtual time. */
export class Lab {
  readonly clock = new VirtualClock();
  readonly machine: SimulatedMachine;
  readonly dom0: Hypervisor;
  readonly guest: Hypervisor;

  constructor(options: Omit<SimulatedMachineOptions, 'clock'> = {}) {
    this.machine = new SimulatedMachine({ pages: 2048, ...options, clock: this.clock });
    this.dom0 = this.machine.domain(0);
    this.guest = this.machine.domain(1);
  }

  run<T>(promise: Promise<T>, limitMs = 600_000): Promise<T> {
    return runVirtual(this.clock, promise, limitMs);
  }

  /** Lets `ms` of virtual time pass. */
  pass(ms: number): Promise<void> {
    return this.clock.runFor(ms);
  }

  attach(mtu?: number): Promise<void> {
    return this.run(attachVif(this.dom0.store, { ...VIF, mac: MAC, ...(mtu === undefined ? {} : { mtu }) }));
  }

  openFront(options: Partial<NetfrontOptions> = {}): Promise<Netfront> {
    return openNetfront({ hypervisor: this.guest, clock: this.clock, ...options });
  }

  openBack(options: Partial<NetbackOptions> = {}): Promise<Netback> {
    return openNetback({ hypervisor: this.dom0, clock: this.clock, frontend: 1, ...options });
  }

  /** Both ends, connected. */
  async open(options: PairOptions = {}): Promise<{ front: Netfront; back: Netback }> {
    await this.attach(options.mtu);
    const [front, back] = await this.run(
      Promise.all([this.openFront(options.front), this.openBack(options.back)]),
    );
    return { front, back };
  }

  state(folder: string): Promise<string | null> {
    return this.run(this.dom0.store.read(`${folder}/state`));
  }
}

export async function makePair(
  options: PairOptions = {},
): Promise<{ lab: Lab; front: Netfront; back: Netback }> {
  const lab = new Lab(options.machine);
  return { lab, ...(await lab.open(options)) };
}
