import type { MacAddress } from '../../../address/index.ts';
import type { Clock } from '../../../time/index.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { RingNetif } from '../ring-netif.ts';
import { BackendBus, type FrontendAddress } from './bus.ts';
import { BackConnection } from './connection.ts';
import { GroupFilter } from './groups.ts';
import { CopySlab } from './guest-transmit.ts';
import { type BackOffer, readChoice, writeBackOffer } from './negotiate.ts';

export interface NetbackSetup {
  readonly hypervisor: Hypervisor;
  readonly clock: Clock;
  /** In xenstore. */
  readonly folder: string;
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly offer: BackOffer;
}

/**
 * A Xen network backend (`backend/vif/DOMAIN/INDEX`) as a netif: the far end of
 * the cable of a guest's network card.
 *
 * Frames go to and from the guest's pages by grant copy, in batches. All that
 * the guest says is checked before it is used; one that breaks the protocol is
 * cut off, and the handler's `closed` says what it did.
 */
export class Netback extends RingNetif {
  protected override readonly bus: BackendBus;
  readonly #setup: NetbackSetup;
  readonly #slab: CopySlab;

  /** For `openNetback`. */
  constructor(setup: NetbackSetup) {
    const { hypervisor, clock, folder, name, mac, mtu, offer } = setup;
    super({
      clock,
      name,
      mac,
      mtu,
      offloads: offer,
    });
    this.#setup = setup;
    this.#slab = new CopySlab(hypervisor.grants);
    this.bus = new BackendBus(
      hypervisor.store,
      folder,
      {
        offer: () => writeBackOffer(hypervisor.store, folder, offer),
        connect: (frontend) => this.#connect(frontend),
        connected: () => this.up(),
        disconnect: () => this.detach(),
        gone: (error) => this.gone(error),
      },
      clock,
    );
  }

  async #connect(frontend: FrontendAddress): Promise<void> {
    const { hypervisor, offer } = this.#setup;
    const choice = await readChoice(hypervisor.store, frontend.folder, offer);
    this.attach(
      () =>
        new BackConnection({
          hypervisor,
          frontend: frontend.domain,
          queues: choice.queues,
          slab: this.#slab,
          counters: this.counters,
          promises: {
            checksum: offer.checksum,
            segmentation: offer.segmentation,
            coalesce: offer.software,
            longest: this.longestReceived,
          },
          groups: choice.multicastControl ? new GroupFilter() : null,
          onEvent: () => this.onEvent(),
        }),
      choice,
    );
  }
}
