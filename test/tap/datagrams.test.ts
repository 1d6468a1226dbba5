import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { DirectStack } from '../../src/direct/index.ts';
import { until } from './support/frames.ts';
import { canTap, KernelHost } from './support/kernel-host.ts';

const skip = canTap();
const COUNT = 400;
const SIZE = 1000;

/** System calls of this process that write, or read. */
function calls(kind: 'syscw' | 'syscr'): number {
  return Number(new RegExp(`${kind}: (\\d+)`).exec(readFileSync('/proc/self/io', 'utf8'))![1]);
}

/** Sends datagrams of `SIZE` bytes, 20 in a call (UDP_SEGMENT), each filled with its number's low byte. */
const SENDER = `
import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.sendto(b'first', (sys.argv[1], 9))
sys.stdin.readline()
s.setsockopt(17, 103, ${SIZE})
for i in range(0, ${COUNT}, 20):
    s.sendto(b''.join(bytes([(i + k) & 255]) * ${SIZE} for k in range(20)), (sys.argv[1], 9))
`;

/** Says when it listens, and what it got: how many, and whether each is right and in order. */
const RECEIVER = `
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)
s.bind(('::', 9))
s.settimeout(8)
print('ready', flush=True)
right = 0
for i in range(${COUNT}):
    right += s.recv(2000) == bytes([i & 255]) * ${SIZE}
print(right, flush=True)
`;

describe.skipIf(skip !== null)('several datagrams as one frame, with the kernel', () => {
  let host: KernelHost;
  let stack: DirectStack;

  async function start(offloads: boolean): Promise<void> {
    host = new KernelHost({ ipv6: 'fd00:77::1/64', tap: { offloads } });
    stack = new DirectStack({
      netif: host.tap,
      ipv4: '10.77.0.2/24',
      ipv6: 'fd00:77::2/64',
    });
    await stack.ready();
  }

  afterEach(async () => {
    await stack.close();
    await host.close();
  });

  for (const offloads of [true, false]) {
    it.each(['10.77.0.2', 'fd00:77::2'])(`come from it, to %s (offloads: ${offloads})`, async (address) => {
      await start(offloads);
      const socket = await stack.udp.bind({ port: 9, receiveBuffer: 1 << 22 });
      const sender = host.spawn('python3', ['-c', SENDER, address]);
      // The kernel keeps few for a neighbour that it has yet to find.
      await socket.receive();
      const before = calls('syscr');
      sender.stdin!.write('\n');
      let right = 0;
      for (let i = 0; i < COUNT; i++) {
        const { data } = (await socket.receive())!;
        if (Buffer.from(data).equals(Buffer.alloc(SIZE, i & 255))) right++;
      }
      expect(right).toBe(COUNT);
      // Linux 6.2 hands them over so.
      if (offloads) expect(calls('syscr') - before).toBeLessThan(COUNT / 2);
    });

    it.each(['10.77.0.1', 'fd00:77::1'])(`go to it, to %s (offloads: ${offloads})`, async (host_) => {
      await start(offloads);
      const receiver = host.spawn('python3', ['-c', RECEIVER]);
      let output = '';
      receiver.stdout!.on('data', (text) => {
        output += text;
      });
      await until('a receiver', () => output.includes('ready'));
      const socket = await stack.udp.bind({ port: 0 });
      // The first asks for the neighbour.
      const send = (i: number) => socket.send(Buffer.alloc(SIZE, i & 255), { host: host_, port: 9 });
      await send(0);
      await new Promise((resolve) => setTimeout(resolve, 300));
      const before = calls('syscw');
      const sends: Promise<void>[] = [];
      for (let i = 1; i < COUNT; i++) sends.push(send(i));
      await Promise.all(sends);
      await until('an answer', () => /\d/.test(output));
      expect(Number(/\d+/.exec(output)![0])).toBe(COUNT);
      if (offloads) expect(calls('syscw') - before).toBeLessThan(COUNT / 2);
    });
  }
});
