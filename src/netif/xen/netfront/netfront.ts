import type { MacAddress } from '../../../address/index.ts';
import type { Clock } from '../../../time/index.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { RingNetif } from '../ring-netif.ts';
import { EXTRA_MCAST_ADD, EXTRA_MCAST_DEL, pair } from '../wire.ts';
import { writeState, XenbusState } from '../xenbus-state.ts';
import { type BackendAddress, FrontendBus } from './bus.ts';
import { FrontConnection } from './connection.ts';
import { type FrontWishes, readTerms, writeOffer } from './negotiate.ts';
import { ReceiveSlab } from './receive.ts';

export interface NetfrontSetup {
  readonly hypervisor: Hypervisor;
  readonly clock: Clock;
  /** In xenstore. */
  readonly folder: string;
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
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
    const { hypervisor, clock, folder, name, mac, mtu, wishes } = setup;
    super({
      clock,
      name,
      mac,
      mtu,
      offloads: wishes,
    });
    this.#setup = setup;
    this.#groups = [...setup.groups];
    this.bus = new FrontendBus(
      hypervisor.store,
      folder,
      {
        connect: (backend) => this.#connect(backend),
        connected: () => this.#connected(),
        disconnect: () => {
          this.detach();
          this.#connection = null;
        },
        gone: (error) => this.gone(error),
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
        hypervisor,
        backend: backend.domain,
        queues: terms.queues,
        ringPages: 2 ** terms.ringOrder,
        split: terms.splitChannels,
        slab: this.#slab,
        counters: this.counters,
        promises: {
          checksum: wishes.checksum,
          segmentation: wishes.segmentation,
          coalesce: wishes.software,
          longest: this.longestReceived,
        },
        onEvent: () => this.onEvent(),
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
    this.up();
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
