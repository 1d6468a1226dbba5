import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IpAddress, Prefix } from '../../src/address/index.ts';
import { Network } from '../../src/direct/network.ts';
import { createCable } from '../../src/netif/index.ts';
import { SeededRandom, TimerWheel, VirtualClock } from '../../src/time/index.ts';
import { pattern } from '../support/packets.ts';

const A = IpAddress.parse('10.0.0.1');
const B = IpAddress.parse('10.0.0.2');

describe('two networks on a cable', () => {
  let clock: VirtualClock;
  let a: Network;
  let b: Network;

  function network(
    netif: ConstructorParameters<typeof Network>[0]['netif'],
    address: string,
    seed: number,
  ): Network {
    const timers = new TimerWheel(clock);
    return new Network({
      netif,
      address: Prefix.parse(address),
      clock,
      timers,
      random: new SeededRandom(seed),
    });
  }

  beforeEach(() => {
    clock = new VirtualClock(1000);
    const [left, right] = createCable({ clock });
    a = network(left, '10.0.0.1/24', 1);
    b = network(right, '10.0.0.2/24', 2);
    a.start();
    b.start();
    clock.advanceTo(clock.now() + 10);
  });

  afterEach(async () => {
    await a.close();
    await b.close();
  });

  it.each([0, 56, 1472, 1473, 9000, 65_507])('ping each other with %i bytes', (size) => {
    const data = pattern(size);
    const replies: string[] = [];
    a.icmp.listen(7, ({ source, sequence, bytes, start, end }) => {
      expect(Buffer.compare(bytes.subarray(start, end), data)).toBe(0);
      replies.push(`${source} ${sequence}`);
    });
    a.icmp.echo(a.path(B), 7, 1, data);
    clock.advanceTo(clock.now() + 10);
    a.icmp.echo(a.path(B), 7, 2, data);
    clock.advanceTo(clock.now() + 10);
    expect(replies).toEqual(['10.0.0.2 1', '10.0.0.2 2']);
  });

  it.each(['127.0.0.1', '127.9.9.9', '10.0.0.1'])('ping themselves at %s', (address) => {
    const replies: string[] = [];
    a.icmp.listen(7, ({ source }) => replies.push(`${source}`));
    a.icmp.echo(a.path(IpAddress.parse(address)), 7, 1, pattern(60_000));
    expect(replies).toEqual([]);
    clock.advanceTo(clock.now() + 1);
    expect(replies).toEqual([address]);
    expect(a.path(A).mtu).toBe(65_535);
  });
});
