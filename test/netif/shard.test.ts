import { describe, expect, it } from 'vitest';
import { DirectStack } from '../../src/direct/index.ts';
import {
  createCable,
  type Frame,
  type Netif,
  type NetifHandler,
  NO_OFFLOADS,
  netifCounters,
  type ShardNetif,
  shard,
  shardOf,
  shardPorts,
} from '../../src/netif/index.ts';
import { FIRST_OWNED_PORT } from '../../src/netif/shard.ts';
import { runVirtual, VirtualClock } from '../../src/time/index.ts';

describe('the rule of shards', () => {
  it.each([1, 2, 3, 4, 7, 64])('gives each of %i shards a range of ports of its own', (shards) => {
    let next = FIRST_OWNED_PORT;
    for (let index = 0; index < shards; index++) {
      const [first, last] = shardPorts(index, shards);
      expect(first).toBe(next);
      for (const port of [first, (first + last) >> 1, last]) {
        for (const remote of [1, 80, 65_535]) expect(shardOf(remote, port, shards)).toBe(index);
      }
      next = last + 1;
    }
    expect(next).toBe(65_536);
  });

  it.each([2, 3, 4])(
    'spreads the clients of a port evenly over %i shards, whatever step their ports have',
    (shards) => {
      for (const step of [1, 2, 4]) {
        const counts = new Array<number>(shards).fill(0);
        for (let i = 0; i < 3000; i++) counts[shardOf(32_768 + i * step, 80, shards)]!++;
        for (const count of counts) expect(Math.abs(count / (3000 / shards) - 1)).toBeLessThan(0.05);
      }
    },
  );
});

/** What a device with two queues does, in memory: frames of the cable go by the rule. */
class Queue implements Netif {
  readonly counters = netifCounters();
  readonly transmit = NO_OFFLOADS;
  readonly receive = NO_OFFLOADS;
  handler: NetifHandler | null = null;
  readonly #device: Netif;

  constructor(device: Netif) {
    this.#device = device;
  }

  get name() {
    return this.#device.name;
  }
  get mac() {
    return this.#device.mac;
  }
  get mtu() {
    return this.#device.mtu;
  }
  start(handler: NetifHandler): void {
    this.handler = handler;
  }
  reserve(size: number): Frame | null {
    return this.#device.reserve(size);
  }
  commit(frame: Frame): void {
    this.#device.commit(frame);
  }
  flush(): void {
    this.#device.flush();
  }
  async close(): Promise<void> {}
}

function queues(device: Netif, count: number): Queue[] {
  const all = Array.from({ length: count }, () => new Queue(device));
  const choose = ({ bytes, start }: Frame): number => {
    const port = (at: number): number => (bytes[start + at]! << 8) | bytes[start + at + 1]!;
    const protocol = bytes[start + 23]!;
    const hasPorts = port(12) === 0x0800 && (protocol === 6 || protocol === 17);
    return hasPorts ? shardOf(port(34), port(36), count) : 0;
  };
  device.start({
    receive: (frame) => all[choose(frame)]!.handler?.receive(frame),
    flush: () => {
      for (const { handler } of all) handler?.flush();
    },
    writable: () => {
      for (const { handler } of all) handler?.writable();
    },
    closed: (error) => {
      for (const { handler } of all) handler?.closed(error);
    },
  });
  return all;
}

describe('three shards of one station', () => {
  it('serve and open connections, each its own, and answer ARP and ping once', async () => {
    const clock = new VirtualClock();
    const [near, far] = createCable({ clock });
    const client = new DirectStack({ netif: near, ipv4: '10.0.0.1/24', clock });
    const shards: ShardNetif[] = [];
    const stacks = queues(far, 3).map((queue, index) => {
      const netif = shard(queue, {
        shard: index,
        publish: (frame) => {
          for (const other of shards.slice(1)) other.deliver(frame.slice());
        },
      });
      shards.push(netif);
      return new DirectStack({ netif, ipv4: '10.0.0.2/24', clock, ephemeralPorts: shardPorts(index, 3) });
    });
    const served = [0, 0, 0];
    const work = async (): Promise<void> => {
      await Promise.all([client.ready(), ...stacks.map((stack) => stack.ready())]);
      await Promise.all(
        stacks.map((stack, index) =>
          stack.tcp.listen({ port: 80 }, async (flow) => {
            served[index]!++;
            for await (const chunk of flow) await flow.write(chunk.slice());
            await flow.close();
          }),
        ),
      );
      for (let i = 0; i < 30; i++) {
        const flow = await client.tcp.connect({ host: '10.0.0.2', port: 80 });
        await flow.write(Buffer.from(`hello ${i}`));
        await flow.shutdown();
        let text = '';
        for await (const chunk of flow) text += String(chunk);
        expect(text).toBe(`hello ${i}`);
        await flow.close();
      }
      // Every shard resolves the neighbour and gets the answers to what it opens.
      await client.tcp.listen({ port: 81 }, (flow) => void flow.close());
      for (const stack of stacks) {
        const flow = await stack.tcp.connect({ host: '10.0.0.1', port: 81 });
        expect(await flow.read()).toBeNull();
        await flow.close();
        await expect(stack.tcp.connect({ host: '10.0.0.1', port: 82 })).rejects.toThrow('ECONNREFUSED');
      }
      // One ICMP error, shown to all: the one whose datagram it was reports it.
      const socket = await stacks[2]!.udp.bind();
      await socket.connect({ host: '10.0.0.1', port: 9 });
      await socket.send(Buffer.from('x'));
      await expect(socket.receive()).rejects.toThrow('ECONNREFUSED');
      await Promise.all([client.close(), ...stacks.map((stack) => stack.close())]);
    };
    await runVirtual(clock, work(), 1e6);
    expect(served.reduce((a, b) => a + b)).toBe(30);
    for (const count of served) expect(count).toBeGreaterThan(3);
    const arp = stacks.map((stack) => stack.statistics().arp as { outReplies: number });
    // All would answer; what the others say is not sent (the client counts what arrives).
    expect(arp.every(({ outReplies }) => outReplies > 0)).toBe(true);
    expect((client.statistics().arp as { inReplies: number }).inReplies).toBe(1);
  });
});
