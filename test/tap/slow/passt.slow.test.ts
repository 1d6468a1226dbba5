import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { DirectStack } from '../../../src/direct/index.ts';
import { openStream } from '../../../src/netif/stream/index.ts';
import { until } from '../support/frames.ts';
import { canTap, KernelHost } from '../support/kernel-host.ts';

const skip = canTap() ?? (existsSync('/usr/bin/passt') ? null : 'passt is not installed');

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

describe.skipIf(skip !== null)(`passt${skip === null ? '' : ` (${skip})`}`, () => {
  it('gives us the address of its host, and carries a connection to a server there', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
    closings.push(() => rm(folder, { recursive: true }));
    await chmod(folder, 0o777);
    // Its own end of a TAP that nobody uses is the network that passt shows to us.
    const host = new KernelHost();
    closings.push(() => host.close());
    host.ip('route', 'add', 'default', 'via', '10.77.0.254');
    const path = join(folder, 'passt.sock');
    let log = '';
    const args = ['-f', '-e', '-4', '-s', path, '-P', join(folder, 'pid'), '-t', 'none', '-u', 'none'];
    const passt = host.spawn('passt', args);
    for (const stream of [passt.stdout!, passt.stderr!]) {
      stream.on('data', (chunk) => {
        log += chunk;
      });
    }
    await until('passt', () => existsSync(path), 10_000).catch((error) => {
      throw new Error(`${error.message}\n${log}`);
    });
    const netif = await openStream({ path });
    const stack = new DirectStack({ netif, ipv4: 'dhcp', probeAddress: false, dhcp: { timeoutMs: 15_000 } });
    closings.push(() => stack.close());
    await stack.ready().catch((error) => {
      throw new Error(`${error.message}\n${log}`);
    });
    expect(stack.statistics().dhcp).toMatchObject({ address: '10.77.0.1/24', state: 'BOUND' });
    // What we send to the router comes to the loopback of passt's host.
    host.spawn('socat', ['TCP4-LISTEN:7,bind=127.0.0.1,fork,reuseaddr', 'EXEC:cat']);
    const connect = async () => {
      for (let tries = 0; ; tries++) {
        try {
          return await stack.tcp.connect({ host: '10.77.0.254', port: 7 });
        } catch (error) {
          if (tries === 50) throw error;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
    };
    const flow = await connect();
    // Not in bulk: Debian's version of 2023 repeats data under new sequence numbers when it falls behind.
    for (let round = 0; round < 200; round++) {
      const sent = Buffer.alloc(1000, `round ${round} through passt and back `);
      await flow.write(sent);
      const parts: Uint8Array[] = [];
      for (let got = 0; got < sent.length; ) {
        const chunk = await flow.read();
        if (chunk === null) throw new Error(`the stream ended in round ${round}`);
        parts.push(chunk);
        got += chunk.length;
      }
      expect(Buffer.concat(parts).equals(sent)).toBe(true);
    }
    await flow.close();
    expect(netif.counters).toMatchObject({ rxErrors: 0, rxDropped: 0 });
  }, 60_000);
});
