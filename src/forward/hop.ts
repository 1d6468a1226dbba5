import type { MacAddress } from '../address/index.ts';
import { EVICTED, type Waiting } from '../arp/index.ts';
import type { HeldPacket, HeldPath, Outbox } from '../internet/index.ts';
import type { IpErrorKind } from '../ip.ts';

/** A neighbour, of either family. */
export interface AnyNeighbour {
  readonly state: number;
  readonly mac: MacAddress | null;
  use(): void;
  enqueue(packet: Waiting): void;
}

/** Who hears of packets that the next hop could not be given. */
export type OnUnreachable = (bytes: Uint8Array, end: number) => void;

/** Where packets that are not ours go next: by which device, to which neighbour. Kept as long as no route changes. */
export class Hop implements HeldPath {
  readonly outbox: Outbox;
  /** Of the link. */
  readonly mtu: number;
  readonly #obtain: () => AnyNeighbour;
  readonly #onUnreachable: OnUnreachable;
  #neighbour: AnyNeighbour;

  /** `obtain` looks the neighbour up, again when its entry was pushed out. */
  constructor(outbox: Outbox, mtu: number, obtain: () => AnyNeighbour, onUnreachable: OnUnreachable) {
    this.outbox = outbox;
    this.mtu = mtu;
    this.#obtain = obtain;
    this.#onUnreachable = onUnreachable;
    this.#neighbour = obtain();
  }

  get neighbour(): AnyNeighbour {
    if (this.#neighbour.state === EVICTED) this.#neighbour = this.#obtain();
    return this.#neighbour;
  }

  get mac(): MacAddress | null {
    return this.neighbour.mac;
  }

  transmitHeld(packet: HeldPacket): void {
    const { neighbour } = this;
    if (neighbour.mac === null) {
      neighbour.enqueue(packet);
      return;
    }
    neighbour.use();
    this.outbox.send(packet.frame, this);
  }

  report(bytes: Uint8Array, end: number, _kind: IpErrorKind): void {
    this.#onUnreachable(bytes, end);
  }
}
