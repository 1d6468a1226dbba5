import type { XenstoreAccess } from '../hypervisor.ts';
import { readNumbers, writeAll } from '../keys.ts';
import type { RingOffloads } from '../offloads.ts';
import type { PeerAbilities } from '../ring-netif.ts';
import type { FrontConnection, Queue } from './connection.ts';

/** What the user of the frontend asked for. */
export interface FrontWishes extends RingOffloads {
  readonly scatterGather: boolean;
  readonly splitChannels: boolean;
  readonly queues: number;
  /** log2 of the pages of a ring, at most. */
  readonly ringOrder: number;
  /** Multicast frames are to be filtered by the backend. */
  readonly multicastControl: boolean;
}

/** What both ends can do. */
export interface FrontTerms extends PeerAbilities {
  readonly splitChannels: boolean;
  readonly queues: number;
  readonly ringOrder: number;
  readonly multicastControl: boolean;
}

/** What the backend offers, as far as it is wished for. */
export async function readTerms(
  store: XenstoreAccess,
  backend: string,
  wishes: FrontWishes,
): Promise<FrontTerms> {
  const offered = await readNumbers(store, backend, [
    'feature-sg',
    'feature-gso-tcpv4',
    'feature-gso-tcpv6',
    'feature-no-csum-offload',
    'feature-ipv6-csum-offload',
    'feature-split-event-channels',
    'feature-multicast-control',
    'multi-queue-max-queues',
    'max-ring-page-order',
  ]);
  const scatterGather = wishes.scatterGather && offered['feature-sg'] === 1;
  // io/netif.h: IPv4 is taken for granted, IPv6 is not.
  const checksumIpv4 = wishes.checksum && offered['feature-no-csum-offload'] !== 1;
  const checksumIpv6 = checksumIpv4 && offered['feature-ipv6-csum-offload'] === 1;
  return {
    scatterGather,
    checksumIpv4,
    checksumIpv6,
    segmentation:
      wishes.segmentation &&
      scatterGather &&
      checksumIpv6 &&
      offered['feature-gso-tcpv4'] === 1 &&
      offered['feature-gso-tcpv6'] === 1,
    splitChannels: wishes.splitChannels && offered['feature-split-event-channels'] === 1,
    queues: Math.max(1, Math.min(wishes.queues, offered['multi-queue-max-queues'] ?? 1)),
    ringOrder: Math.min(wishes.ringOrder, offered['max-ring-page-order'] ?? 0),
    multicastControl: wishes.multicastControl && offered['feature-multicast-control'] === 1,
  };
}

/** Writes where the rings are and what we take, in the caller's transaction. */
export async function writeOffer(
  store: XenstoreAccess,
  folder: string,
  connection: FrontConnection,
  terms: FrontTerms,
  wishes: FrontWishes,
): Promise<void> {
  await writeAll(store, folder, {
    'request-rx-copy': 1,
    'feature-rx-notify': 1,
    'feature-sg': Number(wishes.scatterGather),
    'feature-gso-tcpv4': Number(wishes.segmentation),
    'feature-gso-tcpv6': Number(wishes.segmentation),
    'feature-no-csum-offload': Number(!wishes.checksum),
    'feature-ipv6-csum-offload': Number(wishes.checksum),
    'request-multicast-control': Number(terms.multicastControl),
    'ring-page-order': terms.ringOrder,
  });
  // A backend that knows nothing of several queues looks for the keys of one.
  for (const key of await staleKeys(store, folder)) await store.remove(`${folder}/${key}`);
  const { queues } = connection;
  if (queues.length === 1) return writeAll(store, folder, queueKeys(queues[0]!, terms));
  await store.write(`${folder}/multi-queue-num-queues`, String(queues.length));
  for (const [i, queue] of queues.entries()) {
    await writeAll(store, `${folder}/queue-${i}`, queueKeys(queue, terms));
  }
}

/** Keys of an earlier connection, which may have been of another shape. */
async function staleKeys(store: XenstoreAccess, folder: string): Promise<string[]> {
  const keys = (await store.list(folder)) ?? [];
  return keys.filter((key) =>
    /^((tx|rx)-ring-ref\d*|event-channel(-tx|-rx)?|queue-\d+|multi-queue-num-queues)$/.test(key),
  );
}

function queueKeys(queue: Queue, terms: FrontTerms): Record<string, number> {
  const keys: Record<string, number> = {};
  for (const [name, { references }] of [
    ['tx-ring-ref', queue.transmitRing],
    ['rx-ring-ref', queue.receiveRing],
  ] as const) {
    if (terms.ringOrder === 0) keys[name] = references[0]!;
    else for (const [i, reference] of references.entries()) keys[`${name}${i}`] = reference;
  }
  if (terms.splitChannels) {
    keys['event-channel-tx'] = queue.transmitEvents.port;
    keys['event-channel-rx'] = queue.receiveEvents.port;
  } else {
    keys['event-channel'] = queue.transmitEvents.port;
  }
  return keys;
}
