import { DirectStack } from '../../src/direct/index.ts';
import { createCable } from '../../src/netif/index.ts';
import { SocketStack } from '../../src/socket/index.ts';
import type { Stack } from '../../src/stack.ts';
import { RealClock } from '../../src/time/index.ts';

export interface Pair {
  readonly server: Stack;
  readonly client: Stack;
  /** Where the client finds the server. */
  readonly host: string;
}

/** A server and a client on either kind of stack. */
export async function pair(kind: Stack['kind']): Promise<Pair> {
  if (kind === 'socket') return { server: new SocketStack(), client: new SocketStack(), host: '127.0.0.1' };
  const clock = new RealClock();
  const [near, far] = createCable({ clock });
  const server = new DirectStack({ netif: far, ipv4: '10.0.0.2/24', clock });
  const client = new DirectStack({ netif: near, ipv4: '10.0.0.1/24', clock });
  await Promise.all([server.ready(), client.ready()]);
  return { server, client, host: '10.0.0.2' };
}
