import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DirectStack } from '../../src/direct/index.ts';
import type { Flow, StackStatistics } from '../../src/stack.ts';
import { canTap, KernelHost } from './support/kernel-host.ts';

/** Short bounds, so that a peer that is silent for good is given up within a test's time. */
const USER_TIMEOUT_MS = 1500;

/** Connects to us from the kernel, then does `whenConnected` with `socket`. */
function peer(port: number, whenConnected: string): string[] {
  const script = `const socket = require('node:net').connect(${port}, '10.77.0.2', () => {
    ${whenConnected};
    console.log('connected');
  });
  socket.on('error', () => {});`;
  return ['-e', script];
}

const PEERS = {
  idle: '0',
  sending:
    'const block = Buffer.alloc(65536); const send = () => { while (socket.write(block)); }; socket.on("drain", send); send()',
  receiving: 'socket.resume()',
  'not reading': 'socket.pause()',
};

/** How a flow's reader and writer ended: null for the end of the stream, else an error's code. */
interface Ending {
  readonly read: string | null;
  readonly write: string | null;
}

/** Reads all there is, and writes too where asked, until both sides have ended. */
async function use(flow: Flow, writes: boolean): Promise<Ending> {
  const code = (error: unknown): string => String((error as { code?: unknown }).code);
  const reading = (async () => {
    while ((await flow.read()) !== null);
    return null;
  })().catch(code);
  if (!writes) return { read: await reading, write: null };
  const block = new Uint8Array(65_536);
  const writing = (async () => {
    for (;;) await flow.write(block);
  })().catch(code);
  return { read: await reading, write: await writing };
}

describe.skipIf(canTap() !== null)('a peer that goes away', () => {
  let host: KernelHost;
  let stack: DirectStack;

  beforeEach(async () => {
    host = new KernelHost();
    stack = new DirectStack({
      netif: host.tap,
      ipv4: '10.77.0.2/24',
      tcp: { userTimeoutMs: USER_TIMEOUT_MS, initialRtoMs: 300 },
    });
    await stack.ready();
  });

  afterEach(async () => {
    await stack.close();
    await host.close();
  });

  /** The flow of a peer that has said that it is connected. */
  async function accept(behaviour: keyof typeof PEERS) {
    const { promise: flowComes, resolve } = withResolvers<Flow>();
    await stack.tcp.listen({ port: 80 }, resolve);
    const child = host.spawn(process.execPath, peer(80, PEERS[behaviour]));
    await once(child.stdout!, 'data');
    return { flow: await flowComes, child };
  }

  function flows(): number {
    return (stack.statistics().tcp as StackStatistics).flows as number;
  }

  it.each(['idle', 'sending', 'receiving', 'not reading'] as const)(
    'killed while %s ends the flow',
    async (behaviour) => {
      const { flow, child } = await accept(behaviour);
      const ended = use(flow, behaviour !== 'idle');
      await sleep(200);
      child.kill('SIGKILL');
      const { read, write } = await ended;
      // The kernel closes for the dead: in order, or with RST where data is unread or comes later.
      expect([null, 'ECONNRESET']).toContain(read);
      if (behaviour !== 'idle') expect(['ECONNRESET', 'EPIPE']).toContain(write);
      await flow.close().catch(() => {});
      expect(flows()).toBe(0);
    },
  );

  it.each(['idle', 'sending', 'receiving'] as const)(
    'that resets while %s gives ECONNRESET',
    async (behaviour) => {
      const { promise: flowComes, resolve } = withResolvers<Flow>();
      await stack.tcp.listen({ port: 80 }, resolve);
      host.spawn(
        process.execPath,
        peer(80, `${PEERS[behaviour]}; setTimeout(() => socket.resetAndDestroy(), 200)`),
      );
      const { read, write } = await use(await flowComes, behaviour !== 'idle');
      expect(read).toBe('ECONNRESET');
      if (behaviour !== 'idle') expect(['ECONNRESET', 'EPIPE']).toContain(write);
      expect(flows()).toBe(0);
    },
  );

  it('behind a link that goes down gives ETIMEDOUT for what it does not acknowledge', async () => {
    const { flow } = await accept('receiving');
    const ended = use(flow, true);
    await sleep(200);
    host.ip('link', 'set', host.device, 'down');
    const { read, write } = await ended;
    expect(['ETIMEDOUT', 'EHOSTUNREACH', 'ENETDOWN']).toContain(read);
    expect(['ETIMEDOUT', 'EHOSTUNREACH', 'ENETDOWN', 'EPIPE']).toContain(write);
    expect(flows()).toBe(0);
  });

  it('behind a link that comes back in time goes on', async () => {
    const { flow } = await accept('receiving');
    host.ip('link', 'set', host.device, 'down');
    const written = flow.write(new Uint8Array(100_000));
    await sleep(300);
    host.ip('link', 'set', host.device, 'up');
    await written;
    await flow.shutdown();
    expect(flow.stats.bytesAcked).toBeGreaterThanOrEqual(100_000);
  });

  it('without notice, its address gone, gives ETIMEDOUT', async () => {
    const { flow, child } = await accept('receiving');
    host.ip('address', 'flush', 'dev', host.device);
    const { write } = await use(flow, true);
    expect(['ETIMEDOUT', 'EHOSTUNREACH']).toContain(write);
    child.kill('SIGKILL');
  });

  it('whose device is deleted ends everything, and close() does not hang', async () => {
    const { flow } = await accept('receiving');
    const ended = use(flow, true);
    host.ip('link', 'del', host.device);
    const { read } = await ended;
    expect(read).not.toBeNull();
    await stack.close();
  });

  it('that listens nowhere gives ECONNREFUSED', async () => {
    await expect(stack.tcp.connect({ host: host.address, port: 9 })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
  });

  it('that never was gives EHOSTUNREACH', async () => {
    // ARP asks longer than this stack's user timeout lasts; one with the usual settings hears of it.
    const patient = new KernelHost();
    const other = new DirectStack({ netif: patient.tap, ipv4: '10.77.0.2/24' });
    await other.ready();
    await expect(other.tcp.connect({ host: '10.77.0.99', port: 9 })).rejects.toMatchObject({
      code: 'EHOSTUNREACH',
    });
    await other.close();
    await patient.close();
  });
});

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((onResolve) => {
    resolve = onResolve;
  });
  return { promise, resolve };
}
