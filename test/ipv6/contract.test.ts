import { DirectStack } from '../../src/direct/index.ts';
import { type CableOptions, createCable, impair, type Netif } from '../../src/netif/index.ts';
import { runVirtual, SeededRandom, VirtualClock } from '../../src/time/index.ts';
import { type Network, stackContract, type Traits } from '../contract/contract.ts';

/** Virtual time after which a case is taken to hang. */
const LIMIT_MS = 600_000;

/** Two direct stacks on the ends of a cable, on virtual time, that meet over IPv6. */
async function overCable(
  options: Omit<CableOptions, 'clock'>,
  wrap: (netif: Netif, clock: VirtualClock, end: 0 | 1) => Netif = (netif) => netif,
): Promise<Network> {
  const clock = new VirtualClock();
  const run = <T>(promise: Promise<T>): Promise<T> => runVirtual(clock, promise, LIMIT_MS);
  const ends = createCable({ clock, ...options });
  const [client, server] = ([0, 1] as const).map(
    (end) =>
      new DirectStack({
        netif: wrap(ends[end], clock, end),
        ipv4: `10.0.0.${end + 1}/24`,
        ipv6: `2001:db8::${end + 1}/64`,
        clock,
        random: new SeededRandom(100 + end),
      }),
  ) as [DirectStack, DirectStack];
  await run(Promise.all([client.ready(), server.ready()]));
  return {
    client,
    server,
    clientAddress: '2001:db8::1',
    serverAddress: '2001:db8::2',
    // On the link, and nobody answers for it.
    blackHole: { host: '2001:db8::99', port: 9 },
    run,
    sleep: (ms) => clock.sleep(ms),
    async close() {
      await Promise.all([client.close(), server.close()]);
    },
  };
}

const TRAITS: Traits = { blackHole: true };

stackContract('direct stacks on a cable, over IPv6', () => overCable({}), TRAITS);

stackContract(
  'direct stacks on a short queue, with every offload, over IPv6',
  () => overCable({ queueFrames: 16, offloads: { checksum: 'partial', segmentation: 65_536 } }),
  TRAITS,
);

stackContract(
  'direct stacks on a short queue, with offloads in software, over IPv6',
  () => overCable({ queueFrames: 16, offloads: 'software' }),
  TRAITS,
);

stackContract(
  'direct stacks on a cable that delays, loses and reorders, over IPv6',
  () =>
    overCable({}, (netif, clock, end) =>
      impair(netif, {
        clock,
        random: new SeededRandom(1 + end),
        transmit: { loss: 0.02, delayMs: 5, jitterMs: 1 },
      }),
    ),
  { ...TRAITS, lossy: true, bulkBytes: 2 << 20 },
);
