import { DirectStack } from '../../src/direct/index.ts';
import { BackgroundClock } from '../../src/net/index.ts';
import { createCable } from '../../src/netif/index.ts';
import type { TcpOptions } from '../../src/tcp/config.ts';

export const HERE = '10.0.0.1';
export const THERE = '10.0.0.2';

export interface Pair {
  readonly here: DirectStack;
  readonly there: DirectStack;
  close(): Promise<void>;
}

/** Two stacks on a cable, in real time. */
export async function connectedStacks(tcp: TcpOptions = {}): Promise<Pair> {
  const clock = new BackgroundClock();
  const [left, right] = createCable({ clock });
  const hosts = { 'here.test': HERE, 'there.test': THERE };
  const here = new DirectStack({ netif: left, clock, ipv4: `${HERE}/24`, hosts, tcp });
  const there = new DirectStack({ netif: right, clock, ipv4: `${THERE}/24`, hosts, tcp });
  await Promise.all([here.ready(), there.ready()]);
  return {
    here,
    there,
    close: async () => {
      await Promise.all([here.close(), there.close()]);
    },
  };
}
