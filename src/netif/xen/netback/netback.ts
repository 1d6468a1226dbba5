import { RingNetif, type RingSetup } from '../ring-netif.ts';
import { BackendBus, type FrontendAddress } from './bus.ts';
import { BackConnection } from './connection.ts';
import { GroupFilter } from './groups.ts';
import { CopySlab } from './guest-transmit.ts';
import { type BackOffer, readChoice, writeBackOffer } from './negotiate.ts';

export interface NetbackSetup extends RingSetup {
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
    super(setup, setup.offer);
    const { hypervisor, clock, folder, offer } = setup;
    this.#setup = setup;
    this.#slab = new CopySlab(hypervisor.grants);
    this.bus = new BackendBus(
      hypervisor.store,
      folder,
      {
        ...this.driver,
        offer: () => writeBackOffer(hypervisor.store, folder, offer),
        connect: (frontend) => this.#connect(frontend),
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
          ...this.share,
          frontend: frontend.domain,
          queues: choice.queues,
          slab: this.#slab,
          groups: choice.multicastControl ? new GroupFilter() : null,
        }),
      choice,
    );
  }
}
