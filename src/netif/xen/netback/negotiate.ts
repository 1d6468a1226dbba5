import { NetError } from '../../../errors.ts';
import type { XenstoreAccess } from '../hypervisor.ts';
import { readNumbers, writeAll } from '../keys.ts';
import type { RingOffloads } from '../offloads.ts';
import type { PeerAbilities } from '../ring-netif.ts';
import type { QueueAddress } from './connection.ts';

/** What the backend offers. */
export interface BackOffer extends RingOffloads {
  readonly scatterGather: boolean;
  readonly splitChannels: boolean;
  readonly multicastControl: boolean;
  /** Most queues that a frontend may have. */
  readonly queues: number;
  /** log2 of the pages of a ring, at most. */
  readonly ringOrder: number;
}

/** What a frontend has decided on, and what it takes. */
export interface FrontChoice extends PeerAbilities {
  readonly multicastControl: boolean;
  readonly queues: readonly QueueAddress[];
}

export function writeBackOffer(store: XenstoreAccess, folder: string, offer: BackOffer): Promise<void> {
  return writeAll(store, folder, {
    'feature-rx-copy': 1,
    'feature-rx-flip': 0,
    'feature-sg': Number(offer.scatterGather),
    'feature-gso-tcpv4': Number(offer.segmentation),
    'feature-gso-tcpv6': Number(offer.segmentation),
    'feature-no-csum-offload': Number(!offer.checksum),
    'feature-ipv6-csum-offload': Number(offer.checksum),
    'feature-split-event-channels': Number(offer.splitChannels),
    'feature-multicast-control': Number(offer.multicastControl),
    'multi-queue-max-queues': offer.queues,
    'max-ring-page-order': offer.ringOrder,
  });
}

/**
 * What the frontend wrote.
 *
 * @throws NetError `EPROTO` where it does not make sense
 */
export async function readChoice(
  store: XenstoreAccess,
  frontend: string,
  offer: BackOffer,
): Promise<FrontChoice> {
  const chosen = await readNumbers(store, frontend, [
    'request-rx-copy',
    'feature-rx-notify',
    'feature-sg',
    'feature-gso-tcpv4',
    'feature-gso-tcpv6',
    'feature-no-csum-offload',
    'feature-ipv6-csum-offload',
    'request-multicast-control',
    'multi-queue-num-queues',
    'ring-page-order',
  ]);
  if (chosen['request-rx-copy'] !== 1) throw nonsense(frontend, 'does not request-rx-copy');
  if (chosen['feature-rx-notify'] !== 1) throw nonsense(frontend, 'has no feature-rx-notify');
  const queues = chosen['multi-queue-num-queues'] ?? 1;
  const order = chosen['ring-page-order'] ?? 0;
  if (queues < 1 || queues > offer.queues)
    throw nonsense(frontend, `wants ${queues} of ${offer.queues} queues`);
  if (order > offer.ringOrder) {
    throw nonsense(frontend, `has rings of ${2 ** order} pages, more than ${2 ** offer.ringOrder}`);
  }
  const scatterGather = chosen['feature-sg'] === 1;
  const checksumIpv4 = offer.checksum && chosen['feature-no-csum-offload'] !== 1;
  const checksumIpv6 = offer.checksum && chosen['feature-ipv6-csum-offload'] === 1;
  return {
    scatterGather,
    checksumIpv4,
    checksumIpv6,
    segmentation:
      offer.segmentation &&
      scatterGather &&
      checksumIpv4 &&
      checksumIpv6 &&
      chosen['feature-gso-tcpv4'] === 1 &&
      chosen['feature-gso-tcpv6'] === 1,
    multicastControl: offer.multicastControl && chosen['request-multicast-control'] === 1,
    queues: await Promise.all(
      Array.from({ length: queues }, (_, i) =>
        readQueue(store, queues === 1 ? frontend : `${frontend}/queue-${i}`, order),
      ),
    ),
  };
}

async function readQueue(store: XenstoreAccess, folder: string, order: number): Promise<QueueAddress> {
  const events = await readNumbers(store, folder, ['event-channel', 'event-channel-tx', 'event-channel-rx']);
  const transmitPort = events['event-channel-tx'] ?? events['event-channel'];
  const receivePort = events['event-channel-rx'] ?? events['event-channel'];
  if (transmitPort === undefined || receivePort === undefined) throw nonsense(folder, 'has no event-channel');
  return {
    transmitRing: await readReferences(store, folder, 'tx-ring-ref', order),
    receiveRing: await readReferences(store, folder, 'rx-ring-ref', order),
    transmitPort,
    receivePort,
  };
}

async function readReferences(
  store: XenstoreAccess,
  folder: string,
  name: string,
  order: number,
): Promise<number[]> {
  const names = order === 0 ? [name] : Array.from({ length: 2 ** order }, (_, i) => `${name}${i}`);
  const found = await readNumbers(store, folder, names);
  return names.map((each) => {
    const reference = found[each];
    if (reference === undefined) throw nonsense(folder, `has no ${each}`);
    return reference;
  });
}

function nonsense(folder: string, what: string): NetError {
  return new NetError('EPROTO', { syscall: 'xenbus', reason: `the frontend ${folder} ${what}` });
}
