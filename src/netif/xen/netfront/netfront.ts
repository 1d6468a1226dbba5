import type { MacAddress } from '../../../address/index.ts';
import { RingNetif, type RingSetup } from '../ring-netif.ts';
import { EXTRA_MCAST_ADD, EXTRA_MCAST_DEL, pair } from '../wire.ts';
import { writeState, XenbusState } from '../xenbus-state.ts';
import { type BackendAddress, FrontendBus } from './bus.ts';
import { FrontConnection } from './connection.ts';
import { type FrontWishes, readTerms, writeOffer } from './negotiate.ts';
import { ReceiveSlab } from './receive.ts';

export interface NetfrontSetup extends RingSetup {
  readonly wishes: FrontWishes;
  readonly groups: readonly MacAddress[];
}

/**
 * A Xen network frontend (`device/vif/INDEX`) as a netif: this domain's end of
 * the cable to its backend.
 *
 * Frames are built in pages that the backend was granted for reading, and
 * copied out of those that it was granted for writing. All that it writes is
 * checked before it is used; a backend that breaks the protocol is cut off, and
 * the handler's `closed` says what it did.
 */
export class Netfront extends RingNetif {
  protected override readonly bus: FrontendBus;
  readonly #setup: NetfrontSetup;
  readonly #slab = new ReceiveSlab();
  readonly #groups: MacAddress[];
  #connection: FrontConnection | null = null;
  /** The backend filters group addresses. */
  #filters = false;

  /** For `openNetfront`. */
  constructor(setup: NetfrontSetup) {
    super(setup, setup.wishes);
    const { hypervisor, clock, folder } = setup;
    const { driver } = this;
    this.#setup = setup;
    this.#groups = [...setup.groups];
    this.bus = new FrontendBus(
      hypervisor.store,
      folder,
      {
        connect: (backend) => this.#connect(backend),
        connected: () => this.#connected(),
        disconnect: () => {
          driver.disconnect();
          this.#connection = null;
        },
        gone: driver.gone,
      },
      clock,
    );
  }

  /**
   * Receives frames for a group address too, where the backend filters them
   * (`NetfrontOptions.multicastGroups`); where it does not, they come anyway.
   */
  addGroup(group: MacAddress): void {
    if (this.#groups.some((known) => known.equals(group))) return;
    this.#groups.push(group);
    this.#sendGroup(EXTRA_MCAST_ADD, group);
  }

  removeGroup(group: MacAddress): void {
    const index = this.#groups.findIndex((known) => known.equals(group));
    if (index < 0) return;
    this.#groups.splice(index, 1);
    this.#sendGroup(EXTRA_MCAST_DEL, group);
  }

  /** Before the domain is saved or moved: lets go of everything that will not be there afterwards. */
  suspend(): Promise<void> {
    return this.bus.suspend();
  }

  /** Connects anew after {@link suspend}. */
  resume(): Promise<void> {
    return this.bus.resume();
  }

  async #connect(backend: BackendAddress): Promise<void> {
    const { hypervisor, folder, wishes } = this.#setup;
    const { store } = hypervisor;
    const terms = await readTerms(store, backend.folder, wishes);
    this.attach(() => {
      this.#connection = new FrontConnection({
        ...this.share,
        backend: backend.domain,
        queues: terms.queues,
        ringPages: 2 ** terms.ringOrder,
        split: terms.splitChannels,
        slab: this.#slab,
      });
      return this.#connection;
    }, terms);
    this.#filters = terms.multicastControl;
    const connection = this.#connection!;
    await store.transaction(async (access) => {
      await writeOffer(access, folder, connection, terms, wishes);
      await writeState(access, folder, XenbusState.Connected);
    });
  }

  #connected(): void {
    this.driver.connected();
    for (const group of this.#groups) this.#sendGroup(EXTRA_MCAST_ADD, group);
  }

  #sendGroup(type: number, group: MacAddress): void {
    if (!this.connected || !this.#filters) return;
    const bytes = new Uint8Array(6);
    group.write(bytes, 0);
    const word0 = pair((bytes[1]! << 8) | bytes[0]!, type);
    const word1 = (bytes[5]! << 24) | (bytes[4]! << 16) | (bytes[3]! << 8) | bytes[2]!;
    this.guard(() => {
      if (!this.#connection!.sendExtra(word0, word1)) this.counters.txDropped++;
    });
  }
}
