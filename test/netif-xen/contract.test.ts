import { DirectStack } from '../../src/direct/index.ts';
import type { Netif } from '../../src/netif/index.ts';
import { SeededRandom } from '../../src/time/index.ts';
import { type Network, stackContract, type Traits } from '../contract/contract.ts';
import { Lab, type PairOptions } from './pair.ts';

/** Two direct stacks on the ends of a Xen network card, on virtual time. */
async function overXen(options: PairOptions, clientIsGuest: boolean): Promise<Network> {
  const lab = new Lab(options.machine);
  const { clock } = lab;
  const { front, back } = await lab.open(options);
  const ends: [Netif, Netif] = clientIsGuest ? [front, back] : [back, front];
  const [client, server] = ends.map(
    (netif, i) =>
      new DirectStack({ netif, ipv4: `10.0.0.${i + 1}/24`, clock, random: new SeededRandom(100 + i) }),
  ) as [DirectStack, DirectStack];
  const run = <T>(promise: Promise<T>): Promise<T> => lab.run(promise);
  await run(Promise.all([client.ready(), server.ready()]));
  return {
    client,
    server,
    clientAddress: '10.0.0.1',
    serverAddress: '10.0.0.2',
    blackHole: { host: '10.0.0.99', port: 9 },
    broadcastAddress: '10.0.0.255',
    run,
    sleep: (ms) => clock.sleep(ms),
    async close() {
      await Promise.all([client.close(), server.close()]);
      const { grants, mappings, pages, ports, watches } = lab.machine.use;
      const left = grants + mappings + pages + ports + watches;
      if (left > 0) throw new Error(`left on the machine: ${JSON.stringify(lab.machine.use)}`);
    },
  };
}

const TRAITS: Traits = { blackHole: true, broadcast: true };

stackContract('direct stacks on a Xen ring, client in the guest', () => overXen({}, true), TRAITS);

stackContract(
  'direct stacks on a Xen ring, client behind the backend, no offloads, late events',
  () => {
    const random = new SeededRandom(5);
    return overXen(
      {
        machine: { eventDelayMs: () => (random.next32() >>> 0) / 2 ** 32 },
        front: { offloads: false },
        back: { offloads: false },
      },
      false,
    );
  },
  TRAITS,
);

stackContract(
  'direct stacks on a Xen ring, offloads in software at both ends',
  () => overXen({ front: { offloads: 'software' }, back: { offloads: 'software' } }, true),
  TRAITS,
);

stackContract(
  'direct stacks on two pairs of Xen rings of two pages, MTU 9000',
  () => overXen({ mtu: 9000, front: { queues: 2, ringOrder: 1 }, back: { queues: 2, ringOrder: 1 } }, true),
  TRAITS,
);
