import { get16, get32 } from '../../src/bytes/index.ts';
import { ETHERNET_HEADER, type Frame, type Netif } from '../../src/netif/index.ts';

const IPV4 = 0x0800;
const TCP = 6;

/** TCP segments with data that came to a netif, and how many of them had come before. */
export class Repeats {
  segments = 0;
  /** Segments whose first byte had arrived in an earlier one: sent again without need, or doubled on the way. */
  repeated = 0;
  readonly #seen = new Set<number>();

  /** `netif`, with what it receives counted here. */
  watchReceived(netif: Netif): Netif {
    return wrap(netif, {
      start: (handler) =>
        netif.start({
          receive: (frame) => {
            this.#note(frame);
            handler.receive(frame);
          },
          flush: () => handler.flush(),
          writable: () => handler.writable(),
          closed: (error) => handler.closed(error),
        }),
    });
  }

  /** `netif`, with what is sent through it counted here. */
  watchSent(netif: Netif): Netif {
    return wrap(netif, {
      commit: (frame) => {
        this.#note(frame);
        netif.commit(frame);
      },
    });
  }

  #note({ bytes, start }: Frame): void {
    if (get16(bytes, start + 12) !== IPV4) return;
    const ip = start + ETHERNET_HEADER;
    if (bytes[ip + 9] !== TCP) return;
    const tcp = ip + (bytes[ip]! & 15) * 4;
    const payload = get16(bytes, ip + 2) - (tcp - ip) - (bytes[tcp + 12]! >>> 4) * 4;
    if (payload <= 0) return;
    this.segments++;
    // A run sends less than 4 GiB, so a sequence number comes up once; ports tell flows apart.
    const key = get32(bytes, tcp + 4) * 0x10000 + get16(bytes, tcp);
    if (this.#seen.has(key)) this.repeated++;
    else this.#seen.add(key);
  }
}

function wrap(netif: Netif, changes: Partial<Netif>): Netif {
  return {
    name: netif.name,
    mac: netif.mac,
    mtu: netif.mtu,
    transmit: netif.transmit,
    receive: netif.receive,
    counters: netif.counters,
    start: (handler) => netif.start(handler),
    reserve: (size) => netif.reserve(size),
    commit: (frame) => netif.commit(frame),
    flush: () => netif.flush(),
    close: () => netif.close(),
    ...changes,
  };
}
