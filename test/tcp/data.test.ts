import { describe, expect, it } from 'vitest';
import { Frame } from '../../src/netif/netif.ts';
import { TCP_DEFAULTS } from '../../src/tcp/config.ts';
import { PayloadKeeper } from '../../src/tcp/receive-queue.ts';
import { Receiver } from '../../src/tcp/receiver.ts';
import { Segment } from '../../src/tcp/segment.ts';
import { Lab, text } from './support/lab.ts';

const SACK = { sack: true } as const;

describe('receiving', () => {
  it('hands up what came in order, and acknowledges at once while the connection is young', () => {
    const peer = new Lab().accepted();
    expect(peer.send('A', { data: 'hello' })).toMatchObject([{ flags: 'A', acknowledgment: 6 }]);
    expect(peer.events.log).toEqual(['readable']);
    expect(peer.readAll()).toBe('hello');
  });

  it('puts an ACK off no longer than delayedAckMs once the application answers (RFC 9293 §3.8.6.3)', () => {
    const peer = new Lab({ delayedAckMs: 40 }).accepted();
    peer.queue('A', { data: 'ping' });
    peer.connection.send(Buffer.from('pong'));
    expect(peer.flush()).toMatchObject([{ flags: 'PA', acknowledgment: 5, length: 4 }]);
    expect(peer.send('A', { data: 'ping' })).toEqual([]);
    expect(peer.wait(39)).toEqual([]);
    expect(peer.wait(2)).toMatchObject([{ flags: 'A', acknowledgment: 9, length: 0 }]);
    expect(peer.wait(1000)).toEqual([]);
  });

  it('acknowledges at least every second full-sized segment (RFC 1122 §4.2.3.2)', () => {
    const peer = new Lab().accepted();
    // Past the quick ACKs of a young connection.
    for (let i = 0; i < 20; i++) peer.send('A', { data: text(1460) });
    peer.wait(100);
    let acks = 0;
    for (let i = 0; i < 20; i++) {
      acks += peer.send('A', { data: text(1460) }).length;
      peer.readAll();
    }
    expect(acks).toBeGreaterThanOrEqual(10);
  });

  it('answers a segment out of order at once with a duplicate ACK and its SACK block (RFC 5681 §4.2, RFC 2018 §4)', () => {
    const peer = new Lab().accepted(SACK);
    expect(peer.send('A', { sequence: 4, data: 'def' })).toMatchObject([
      { acknowledgment: 1, sack: [[4, 7]] },
    ]);
    expect(peer.send('A', { sequence: 10, data: 'j' })).toMatchObject([
      {
        acknowledgment: 1,
        sack: [
          [10, 11],
          [4, 7],
        ],
      },
    ]);
    expect(peer.events.log).toEqual([]);
    expect(peer.send('A', { sequence: 1, data: 'abc' })).toMatchObject([
      { acknowledgment: 7, sack: [[10, 11]] },
    ]);
    expect(peer.send('A', { sequence: 7, data: 'ghi' })).toMatchObject([{ acknowledgment: 11, sack: [] }]);
    expect(peer.readAll()).toBe('abcdefghij');
  });

  it('owes a duplicate ACK for each segment out of order where they are counted', () => {
    const peer = new Lab().accepted();
    for (let i = 0; i < 3; i++) peer.queue('A', { sequence: 101 + 10 * i, data: text(10) });
    expect(peer.flush()).toMatchObject([{ acknowledgment: 1 }, { acknowledgment: 1 }, { acknowledgment: 1 }]);
  });

  it('reports what came twice first, and what contains it next (RFC 2883 §4)', () => {
    const peer = new Lab().accepted(SACK);
    peer.send('A', { data: 'abcdef' });
    expect(peer.send('A', { sequence: 1, data: 'abc' })).toMatchObject([
      { acknowledgment: 7, sack: [[1, 4]] },
    ]);
    expect(peer.send('A', { sequence: 4, data: 'defgh' })).toMatchObject([
      { acknowledgment: 9, sack: [[4, 7]] },
    ]);
    peer.send('A', { sequence: 20, data: text(10) });
    expect(peer.send('A', { sequence: 22, data: text(3) })).toMatchObject([
      {
        acknowledgment: 9,
        sack: [
          [22, 25],
          [20, 30],
        ],
      },
    ]);
    expect(peer.readAll()).toBe('abcdefgh');
  });

  it('hands up each byte once, whatever overlaps', () => {
    const peer = new Lab().accepted();
    peer.send('A', { sequence: 3, data: 'cd' });
    peer.send('A', { sequence: 7, data: 'ghij' });
    peer.send('A', { sequence: 1, data: 'abcdefgh' });
    peer.send('A', { sequence: 2, data: 'bcdefghijkl' });
    expect(peer.readAll()).toBe('abcdefghijkl');
  });

  it('drops what lies outside the window and says where it stands (RFC 9293 §3.10.7.4)', () => {
    const peer = new Lab({ receiveBuffer: 10_000 }).accepted();
    expect(peer.send('A', { sequence: 20_001, data: 'far' })).toMatchObject([
      { flags: 'A', acknowledgment: 1 },
    ]);
    expect(peer.send('A', { sequence: -50, data: 'old' })).toMatchObject([{ flags: 'A', acknowledgment: 1 }]);
    expect(peer.readAll()).toBe('');
  });

  it('rejects old duplicates by their timestamps, and says where it stands (PAWS, RFC 7323 §5.3)', () => {
    const lab = new Lab();
    const peer = lab.accepted({ timestamps: true });
    peer.send('A', { data: 'abc' });
    expect(peer.send('A', { data: 'evil', timestamp: lab.clock.now() - 1000 })).toMatchObject([
      { flags: 'A', acknowledgment: 4 },
    ]);
    expect(lab.layer.counters.pawsRejected).toBe(1);
    expect(peer.readAll()).toBe('abc');
  });

  it('believes any timestamp after 24 days of silence (RFC 7323 §5.5)', () => {
    const lab = new Lab();
    const peer = lab.accepted({ timestamps: true });
    const stamp = lab.clock.now();
    lab.advance(25 * 24 * 3600 * 1000);
    peer.send('A', { data: 'late', timestamp: stamp - 5 });
    expect(peer.readAll()).toBe('late');
  });

  it('drops segments without the timestamps that were agreed on, but not resets (RFC 7323 §3.2)', () => {
    const lab = new Lab();
    const peer = lab.accepted({ timestamps: true });
    expect(peer.send('A', { data: 'x', sequence: 1, options: [] })).toEqual([]);
    expect(peer.readAll()).toBe('');
    peer.send('R', { options: [] });
    expect(peer.events.log).toEqual(['closed ECONNRESET']);
  });

  it('echoes the timestamp of the segment that an ACK is for, not of one ahead of a hole (RFC 7323 §4.3)', () => {
    const lab = new Lab();
    const peer = lab.accepted({ timestamps: true });
    const first = lab.clock.now();
    lab.advance(10);
    const [ahead] = peer.send('A', { sequence: 10, data: 'x' });
    expect(ahead!.timestamps![1]).toBe(first);
    lab.advance(10);
    const [filled] = peer.send('A', { sequence: 1, data: text(9) });
    expect(filled!.timestamps![1]).toBe(lab.clock.now());
  });
});

describe('the offered window', () => {
  it('never moves its right edge left, closes when nobody reads, and opens in worthwhile steps (RFC 9293 §3.8.6.2.2)', () => {
    const peer = new Lab({ receiveBuffer: 20_000, autoTuning: false }).accepted();
    let edge = 0;
    const note = (seen: readonly { acknowledgment: number; window: number }[]): void => {
      for (const { acknowledgment, window } of seen) {
        expect(acknowledgment + window).toBeGreaterThanOrEqual(edge);
        edge = acknowledgment + window;
      }
    };
    note(peer.send('A', { data: text(1000) }));
    while (peer.next < edge) note(peer.send('A', { data: text(Math.min(1460, edge - peer.next)) }));
    expect(edge).toBeLessThanOrEqual(20_001);
    expect(edge - peer.next).toBe(0);
    // A probe of the closed window is answered, its byte not taken.
    const before = peer.connection.readableBytes;
    expect(peer.send('A', { sequence: peer.next, data: 'x' })).toMatchObject([
      { acknowledgment: peer.next, window: 0 },
    ]);
    expect(peer.connection.readableBytes).toBe(before);
    // Reading a little says nothing; reading more is told without being asked.
    peer.connection.take(100);
    expect(peer.sent()).toEqual([]);
    let updates = 0;
    while (peer.connection.readableBytes > 0) {
      peer.connection.take(500);
      const seen = peer.sent();
      for (const { window } of seen) expect(window).toBeGreaterThanOrEqual(1460);
      updates += seen.length;
      note(seen);
    }
    expect(updates).toBeGreaterThanOrEqual(1);
    expect(updates).toBeLessThan(15);
    expect(edge - peer.next).toBeGreaterThanOrEqual(15_000);
  });

  it('closes to a peer that sends tiny segments, too: rounding up by the scale does not add up', () => {
    const limit = 128 << 10;
    const receiver = new Receiver({ ...TCP_DEFAULTS, receiveBuffer: limit, autoTuning: false });
    receiver.shift = Receiver.shiftFor(limit);
    receiver.begin(0, 0);
    receiver.advertise(true);
    const segment = new Segment(new Frame(new Uint8Array(3)));
    const keeper = new PayloadKeeper();
    segment.end = 3;
    let told = receiver.advertise(true);
    let held = 0;
    for (; told > 0 && held < 2 * limit; held += 3) {
      segment.sequence = receiver.next;
      receiver.accept(segment, keeper, false);
      told = receiver.advertise(true);
    }
    expect(told, `window after ${held} bytes that nobody read`).toBe(0);
    expect(held).toBeLessThan(1.2 * limit);
  });

  it('lets in the ACKs of a peer that has filled it around a hole', () => {
    const peer = new Lab({ receiveBuffer: 3000, autoTuning: false }).accepted(SACK);
    const window = peer.connection.receiver.window;
    peer.write('question');
    // The first segment is lost; the rest fills the window to its edge.
    peer.send('A', { sequence: 101, data: text(window - 100), acknowledgment: 1 });
    peer.next = window + 1;
    peer.send('A');
    expect(peer.connection.stats.sendQueue).toBe(0);
  });
});

describe('sending', () => {
  it('cuts what is written into segments, the last with PSH', () => {
    const peer = new Lab().accepted();
    const seen = peer.write(text(4000));
    expect(seen.map(({ flags, sequence, length }) => [flags, sequence, length])).toEqual([
      ['A', 1, 1460],
      ['A', 1461, 1460],
      ['PA', 2921, 1080],
    ]);
    expect(seen.map(({ data }) => data.toString()).join('')).toBe(text(4000));
  });

  it('coalesces what is written in one turn', () => {
    const peer = new Lab().accepted();
    for (const word of ['a', 'b', 'c']) peer.connection.send(Buffer.from(word));
    expect(peer.sent()).toMatchObject([{ data: Buffer.from('abc') }]);
  });

  it('holds a second small segment back until the first is acknowledged (Nagle, RFC 9293 §3.7.4)', () => {
    const peer = new Lab().accepted();
    expect(peer.write('a').length).toBe(1);
    expect(peer.write('b')).toEqual([]);
    expect(peer.write('c')).toEqual([]);
    expect(peer.send('A')).toMatchObject([{ data: Buffer.from('bc') }]);
  });

  it('does not with noDelay, or before a FIN', () => {
    const peer = new Lab().accepted();
    peer.write('a');
    peer.write('b');
    peer.connection.noDelay = true;
    expect(peer.sent()).toMatchObject([{ data: Buffer.from('b') }]);
    peer.connection.noDelay = false;
    peer.connection.send(Buffer.from('c'));
    peer.connection.shutdown();
    expect(peer.sent()).toMatchObject([{ flags: 'FPA', data: Buffer.from('c') }]);
  });

  it('sends small segments again after 2^31 bytes without one', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    peer.write('head');
    peer.send('A');
    const { sender } = peer.connection;
    // As if 2.5 GB of full-sized segments had gone out and been acknowledged.
    sender.next = sender.una = (sender.next + 2_500_000_000) | 0;
    sender.windowAcknowledgment = sender.una;
    peer.received = (peer.received + 2_500_000_000) | 0;
    expect(peer.write('tail')).toMatchObject([{ data: Buffer.from('tail') }]);
  });

  it('loses no byte where SND.UNA comes around to the initial sequence number after 4 GiB', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    const { sender } = peer.connection;
    sender.next = sender.una = (sender.initial - 10) | 0;
    sender.windowAcknowledgment = sender.una;
    peer.received = -10;
    peer.write('0123456789');
    peer.send('A', { acknowledgment: 0 });
    expect(peer.write('abcdef')).toMatchObject([{ sequence: 0, data: Buffer.from('abcdef') }]);
    peer.send('A', { acknowledgment: 3 });
    expect(peer.connection.stats.sendQueue).toBe(3);
    const [again] = peer.wait(2000);
    expect(again!.data.toString()).toBe('def'.slice(0, again!.length));
  });

  it('keeps within window and buffer: a window of 1000 takes 1000 bytes at a time', () => {
    const peer = new Lab().accepted({ window: 1000 });
    expect(peer.write(text(2500)).map((seen) => seen.length)).toEqual([1000]);
    expect(peer.send('A').map((seen) => seen.length)).toEqual([1000]);
    expect(peer.send('A').map((seen) => seen.length)).toEqual([500]);
  });

  it('hands large segments to a device that cuts them, within window and congestion window', () => {
    const lab = new Lab();
    lab.ip.transmit = { checksum: 'partial', segmentation: 65_536 };
    const peer = lab.accepted({ scale: 7, window: 512 });
    peer.send('A');
    const seen = peer.write(text(100_000));
    expect(seen).toMatchObject([{ length: 14_600, segmentSize: 1460 }]);
    const more = peer.send('A');
    for (const { length, segmentSize } of more) expect(length <= 1460 || segmentSize === 1460).toBe(true);
    const sent = [...seen, ...more].map(({ data }) => data.toString()).join('');
    expect(sent).toBe(text(100_000).slice(0, sent.length));
  });

  it('does not stop for good when a segment becomes larger than the window (options that go away)', () => {
    const peer = new Lab().accepted();
    const { sender } = peer.connection;
    sender.congestion.window = 100;
    sender.congestion.threshold = 3000;
    expect(peer.write(text(5000)).map((seen) => seen.length)).toEqual([1460]);
    expect(peer.send('A').length).toBeGreaterThanOrEqual(1);
  });

  it('takes the time of acknowledged parts of a large segment for the RTT', () => {
    const lab = new Lab();
    lab.ip.transmit = { checksum: 'partial', segmentation: 65_536 };
    const peer = lab.accepted({ window: 65_535 });
    peer.write(text(14_600));
    lab.advance(50);
    peer.send('A', { acknowledgment: 1461 });
    expect(peer.connection.stats.rttMs).toBeGreaterThan(1);
  });

  it('tells the path that the peer hears us when data is acknowledged', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    peer.write('x');
    const before = lab.ip.confirmations;
    peer.send('A');
    expect(lab.ip.confirmations).toBeGreaterThan(before);
  });
});
