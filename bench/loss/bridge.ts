/** A bridge of two netifs whose traffic goes through a bottleneck and a bad way. */
import {
  type Frame,
  type ImpairedNetif,
  impair,
  type Netif,
  type NetifHandler,
} from '../../src/netif/index.ts';
import { type Clock, type Random, SeededRandom } from '../../src/time/index.ts';
import type { PathImpairments } from './cell.ts';
import type { Repeats } from './repeats.ts';

export interface BridgeOptions {
  readonly clock: Clock;
  readonly path: PathImpairments;
  readonly random?: Random;
  /** Told of what arrives at `right`. */
  readonly arrivals?: Repeats;
}

/**
 * What comes in at `left` leaves at `right` after the bottleneck and the way,
 * what comes in at `right` leaves at `left` after `back`. A frame that a full
 * device has no room for is lost, as on any bridge, and counted.
 */
export class Bridge {
  readonly bottleneck: ImpairedNetif;
  readonly way: ImpairedNetif;
  /** Frames that a device did not take. */
  refused = 0;
  readonly #back: ImpairedNetif;

  constructor(left: Netif, right: Netif, options: BridgeOptions) {
    const { clock, path, random = new SeededRandom(1) } = options;
    const end = options.arrivals === undefined ? right : options.arrivals.watchSent(right);
    this.way = impair(end, { clock, random, transmit: path.way });
    this.bottleneck = impair(this.way, { clock, random, transmit: path.bottleneck });
    this.#back = impair(left, { clock, random, transmit: path.back });
    this.#back.start(this.#into(this.bottleneck));
    this.bottleneck.start(this.#into(this.#back));
  }

  #into(out: Netif): NetifHandler {
    return {
      receive: (frame) => this.#forward(frame, out),
      flush: () => out.flush(),
      // Nothing waits: what was refused is gone.
      writable: () => {},
      closed: () => {},
    };
  }

  #forward(frame: Frame, out: Netif): void {
    const { bytes, start, end } = frame;
    const copy = out.reserve(end - start);
    if (copy === null) {
      this.refused++;
      return;
    }
    copy.bytes.set(bytes.subarray(start, end), copy.start);
    out.commit(copy);
  }

  /** Closes both netifs. */
  async close(): Promise<void> {
    await Promise.all([this.bottleneck.close(), this.#back.close()]);
  }
}
