import { describe, expect, it } from 'vitest';
import { DirectStack } from '../../src/direct/index.ts';
import { createCable, impair } from '../../src/netif/index.ts';
import type { Flow, StackStatistics } from '../../src/stack.ts';
import { runVirtual, SeededRandom, VirtualClock } from '../../src/time/index.ts';
import { Lab, PEER, text } from './support/lab.ts';

describe('connections whose application is gone (maxOrphans)', () => {
  it('are reset from the one on that is too many, and counted', () => {
    const lab = new Lab({ maxOrphans: 3 });
    const listener = lab.listen();
    const ends: string[] = [];
    for (let i = 0; i < 5; i++) {
      const peer = lab.peer({ port: 40_000 + i });
      peer.send('S');
      peer.send('A');
      peer.connection = listener.accept()!;
      peer.write(text(100));
      peer.connection.close();
      ends.push(
        peer
          .sent()
          .map(({ flags }) => flags)
          .join(' '),
      );
    }
    expect(ends).toEqual(['FA', 'FA', 'FA', 'RA', 'RA']);
    expect(lab.layer.statistics()).toMatchObject({ orphans: 3, orphansReset: 2, flows: 3 });
  });

  it('count no longer once they are over, in order or not', () => {
    const lab = new Lab({ maxOrphans: 2 });
    const listener = lab.listen();
    for (let i = 0; i < 8; i++) {
      const peer = lab.peer({ port: 40_000 + i });
      peer.send('S');
      peer.send('A');
      peer.connection = listener.accept()!;
      peer.connection.close();
      peer.sent();
      if (i % 2 === 0) peer.send('R', { acknowledgment: 0 });
      else peer.send('FA');
      expect(lab.layer.orphans, `after connection ${i}`).toBe(0);
    }
    expect(lab.layer.counters.orphansReset).toBe(0);
  });
});

describe('congestion control of a flow', () => {
  it('is the one that connect and listen were told, else the stack’s', async () => {
    const clock = new VirtualClock();
    const [near, far] = createCable({ clock });
    const a = new DirectStack({
      netif: near,
      ipv4: '10.0.0.1/24',
      clock,
      tcp: { congestionControl: 'newreno' },
    });
    const b = new DirectStack({ netif: far, ipv4: '10.0.0.2/24', clock });
    const run = async (): Promise<void> => {
      await Promise.all([a.ready(), b.ready()]);
      const accepted: Flow[] = [];
      await b.tcp.listen({ port: 1, congestionControl: 'bbr' }, (flow) => accepted.push(flow));
      await b.tcp.listen({ port: 2 }, (flow) => accepted.push(flow));
      const first = await a.tcp.connect({ host: '10.0.0.2', port: 1, congestionControl: 'cubic' });
      const second = await a.tcp.connect({ host: '10.0.0.2', port: 2 });
      await clock.sleep(10);
      expect(first.stats.congestionControl).toBe('cubic');
      expect(second.stats.congestionControl).toBe('newreno');
      expect(accepted.map((flow) => flow.stats.congestionControl)).toEqual(['bbr', 'cubic']);
      await expect(
        a.tcp.connect({ host: '10.0.0.2', port: 1, congestionControl: 'vegas' as 'cubic' }),
      ).rejects.toMatchObject({ code: 'EINVAL' });
      for (const flow of [first, second, ...accepted]) flow.abort();
      await Promise.all([a.close(), b.close()]);
    };
    await runVirtual(clock, run(), 60_000);
  });
});

describe('short of memory (memoryLimit)', () => {
  it('windows close step by step, what came out of order goes first, and what was promised is taken', () => {
    const lab = new Lab({ memoryLimit: 40_000, autoTuning: false, receiveBuffer: 100_000 });
    const peer = lab.accepted({ sack: true, scale: 4 });
    let edge = 0;
    for (let i = 0; i < 20; i++) {
      const [ack] = peer.send('A', { data: text(1460) }).slice(-1);
      if (ack !== undefined) edge = Math.max(edge, ack.acknowledgment + (ack.window << 1));
    }
    expect(lab.layer.isShortOfMemory).toBe(false);
    for (let i = 0; i < 10; i++) peer.send('A', { data: text(1460) });
    expect(lab.layer.isShortOfMemory).toBe(true);
    const held = lab.layer.memory;
    // Beyond a hole: dropped, and told of by no SACK block.
    const answers = peer.send('A', { sequence: peer.next + 1460, data: text(1460) });
    expect(answers.flatMap(({ sack }) => sack)).toEqual([]);
    expect(lab.layer.memory).toBe(held);
    // In order, within what was offered: taken all the same.
    peer.send('A', { data: text(1460) });
    expect(peer.connection.stats.receiveQueue).toBe(31 * 1460);
    // The application reads: the window opens again, and out of order is welcome.
    while (peer.connection.take() !== null);
    expect(lab.layer.memory).toBe(0);
    const [again] = peer.send('A', { sequence: peer.next + 1460, data: text(1460) }).slice(-1);
    expect(again!.sack).toHaveLength(1);
  });

  it('does not count what an application left unread of a connection that is over', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    peer.send('A', { data: text(5000) });
    expect(lab.layer.memory).toBeGreaterThanOrEqual(5000);
    peer.send('R');
    expect(lab.layer.memory).toBe(0);
    expect(peer.readAll()).toBe(text(5000));
    expect(lab.layer.memory).toBe(0);
  });

  it('many flows that are read late all arrive whole, and all memory is given back', async () => {
    const clock = new VirtualClock();
    const random = new SeededRandom(5);
    const [near, far] = createCable({ clock, queueFrames: 1024 });
    const way = { delayMs: 5, loss: 0.02, reorder: { probability: 0.02, delayMs: 5 } };
    const line = impair(near, { clock, random, transmit: way });
    const memoryLimit = 200_000;
    const a = new DirectStack({ netif: line, ipv4: '10.0.0.1/24', clock, random });
    const b = new DirectStack({ netif: far, ipv4: '10.0.0.2/24', clock, random, tcp: { memoryLimit } });
    const bytes = 300_000;
    const flows = 12;
    let worst = 0;
    const run = async (): Promise<number[]> => {
      await Promise.all([a.ready(), b.ready()]);
      const counts: Promise<number>[] = [];
      await b.tcp.listen({ port: 1 }, (flow) => {
        counts.push(
          (async () => {
            let read = 0;
            // Nobody reads for three seconds, then everyone slowly.
            await clock.sleep(3000);
            for (let chunk = await flow.read(); chunk !== null; chunk = await flow.read()) {
              read += chunk.length;
              worst = Math.max(worst, Number((b.statistics().tcp as StackStatistics).receiveMemory));
              if (random.next32() % 16 === 0) await clock.sleep(20);
            }
            await flow.close();
            return read;
          })(),
        );
      });
      const sending = Array.from({ length: flows }, async () => {
        const flow = await a.tcp.connect({ host: '10.0.0.2', port: 1 });
        await flow.write(new Uint8Array(bytes));
        await flow.close();
      });
      await Promise.all(sending);
      return Promise.all(counts);
    };
    const counts = await runVirtual(clock, run(), 3_600_000);
    expect(counts).toEqual(Array.from({ length: flows }, () => bytes));
    const tcp = b.statistics().tcp as StackStatistics;
    expect(tcp.pruned).toBeGreaterThan(0);
    // What was promised before may still come: of each flow the window of its SYN, or an eighth of the limit.
    expect(worst).toBeLessThan(memoryLimit + flows * 65_536);
    expect(tcp).toMatchObject({ receiveMemory: 0, segmentsInFlight: 0 });
    await Promise.all([a.close(), b.close()]);
  }, 30_000);
});

describe('stats', () => {
  it('tell what the handshake agreed on, and what the path does', () => {
    const lab = new Lab();
    const peer = lab.accepted({ sack: true, timestamps: true, scale: 5, rttMs: 30 });
    peer.write(text(14_480));
    lab.advance(30);
    peer.send('A', { acknowledgment: 1, sack: [[1449, 7241]] });
    expect(peer.connection.stats).toMatchObject({
      state: 'ESTABLISHED',
      congestionControl: 'cubic',
      recovery: 'fast',
      timestamps: true,
      sack: true,
      ecn: false,
      sendScale: 5,
      mss: 1448,
      peerMss: 1460,
      announcedMss: 1460,
      pathMtu: 1500,
      bytesSacked: 4 * 1448,
      retransmits: 1,
      fastRecoveries: 1,
      sinceSentMs: 0,
      sinceReceivedMs: 0,
      bytesUnsent: 0,
    });
    lab.advance(20);
    expect(peer.connection.stats.sinceReceivedMs).toBe(20);
    expect(peer.connection.stats.pacingRateBps).toBeGreaterThan(0);
    peer.send('A', { acknowledgment: 14_481 });
    peer.send('A', { acknowledgment: 14_481, sack: [[1, 1449]] });
    expect(peer.connection.stats).toMatchObject({
      recovery: 'open',
      duplicateReports: 1,
      spuriousRecoveries: 1,
      bytesSacked: 0,
    });
    expect(peer.connection.remote.toString()).toBe(PEER);
  });
});
