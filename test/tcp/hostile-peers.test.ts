/** Peers that want more than their share, or less than is sensible: what they get is what the RFCs give. */
import { describe, expect, it } from 'vitest';
import { Lab, type Peer, text } from './support/lab.ts';

const MSS = 1460;
const IW = 10 * MSS;

/** Queues `bytes` and answers what went out. */
function sendBytes(peer: Peer, bytes: number): number {
  return peer.write(text(bytes)).reduce((sum, { length }) => sum + length, 0);
}

describe('a peer with a tiny window', () => {
  it('is sent what fits, when it fits, and no stream of crumbs (RFC 9293 §3.8.6.2.1)', () => {
    const lab = new Lab();
    const peer = lab.accepted({ window: 100 });
    const seen = peer.write(text(5000));
    expect(seen).toMatchObject([{ sequence: 1, length: 100 }]);
    let segments = 1;
    // It takes ten bytes at a time and says so each time: less than half of its largest window is no reason to send.
    for (let taken = 10; taken <= 100; taken += 10) {
      const more = peer.send('A', { acknowledgment: 101, window: taken });
      segments += more.length;
      if (taken < 50) expect(more).toHaveLength(0);
      else expect(more[0]!.length).toBeGreaterThanOrEqual(50);
      if (more.length > 0) break;
    }
    expect(segments).toBe(2);
    expect(lab.layer.pool.live).toBeLessThanOrEqual(2);
  });

  it('gets everything in the end, and costs a segment of memory per segment in flight', () => {
    const lab = new Lab();
    const peer = lab.accepted({ window: 50 });
    peer.write(text(2000));
    let segments = 1;
    for (let i = 0; i < 200 && peer.connection.stats.sendQueue > 0; i++) {
      segments += peer.send('A').length + peer.wait(1).length;
      expect(lab.layer.pool.live).toBeLessThanOrEqual(1);
    }
    expect(peer.connection.stats.bytesAcked).toBe(2000);
    expect(segments).toBe(40);
  });
});

describe('a peer that shrinks its window', () => {
  it('gets nothing beyond the new edge, neither new nor again (RFC 9293 §3.8.6)', () => {
    const lab = new Lab({ tailLossProbe: false });
    const peer = lab.accepted({ sack: true, rttMs: 20 });
    expect(sendBytes(peer, IW)).toBe(IW);
    lab.advance(20);
    // The first two are taken, and of the rest only one segment more would be.
    peer.window = MSS;
    const again = peer.send('A', { acknowledgment: 1 + 2 * MSS, sack: [[1 + 5 * MSS, 1 + 10 * MSS]] });
    for (const { sequence, length } of [...again, ...peer.wait(3000)]) {
      expect(sequence + length).toBeLessThanOrEqual(1 + 3 * MSS);
    }
    // It opens again: all of it arrives.
    peer.window = 65_535;
    for (let i = 0; i < 40 && peer.connection.stats.sendQueue > 0; i++) {
      peer.received = Math.max(peer.received, 1 + 5 * MSS);
      peer.send('A', { acknowledgment: 1 + 10 * MSS });
      peer.wait(200);
    }
    expect(peer.connection.stats.bytesAcked).toBe(IW);
    expect(lab.layer.pool.live).toBe(0);
  });

  it('to nothing is probed, at doubling intervals, as long as it answers', () => {
    const lab = new Lab({ dataRetries: 4 });
    const peer = lab.accepted({ rttMs: 20 });
    sendBytes(peer, MSS);
    peer.send('A', { acknowledgment: 1 + MSS, window: 0 });
    peer.write(text(MSS));
    const times: number[] = [];
    const from = lab.clock.now();
    for (let i = 0; i < 4000 && times.length < 9; i++) {
      if (peer.wait(100).length === 0) continue;
      times.push(lab.clock.now() - from);
      peer.send('A', { acknowledgment: 1 + MSS, window: 0 });
    }
    expect(times).toHaveLength(9);
    const gaps = times.slice(1).map((time, i) => time - times[i]!);
    for (const [i, gap] of gaps.slice(1).entries()) {
      expect(gap).toBeGreaterThanOrEqual(Math.min(1.6 * gaps[i]!, 55_000));
    }
    expect(peer.state).toBe('ESTABLISHED');
  });
});

describe('a peer that divides its ACKs', () => {
  it('opens the window by the bytes it acknowledges, not by the ACKs (RFC 3465, RFC 5681 §3.1)', () => {
    const grown = (step: number): number => {
      const lab = new Lab({ pacing: false });
      const peer = lab.accepted({ rttMs: 20 });
      peer.write(text(100 * MSS));
      const before = peer.connection.stats.cwnd;
      lab.advance(20);
      for (let ack = 1 + step; ack <= 1 + MSS; ack += step) peer.send('A', { acknowledgment: ack });
      expect(peer.connection.stats.bytesAcked).toBe(MSS);
      return peer.connection.stats.cwnd - before;
    };
    expect(grown(MSS)).toBe(MSS);
    expect(grown(10)).toBe(MSS);
    expect(grown(1)).toBe(MSS);
  });

  it('in congestion avoidance gains no more than a segment per window', () => {
    const lab = new Lab({ pacing: false, congestionControl: 'newreno' });
    const peer = lab.accepted({ rttMs: 20 });
    peer.connection.sender.congestion.threshold = IW;
    peer.write(text(100 * MSS));
    lab.advance(20);
    for (let ack = 1 + 73; ack <= 1 + IW; ack += 73) peer.send('A', { acknowledgment: ack });
    expect(peer.connection.stats.cwnd).toBeLessThanOrEqual(IW + MSS);
  });
});

describe('a peer that acknowledges optimistically', () => {
  it('cannot acknowledge what was never sent (RFC 5961 §5.2)', () => {
    const lab = new Lab();
    const peer = lab.accepted({ rttMs: 20 });
    sendBytes(peer, 100 * MSS);
    const before = peer.connection.stats;
    for (let ack = 11; ack < 60; ack++) peer.send('A', { acknowledgment: 1 + ack * MSS });
    expect(peer.connection.stats).toMatchObject({ cwnd: before.cwnd, bytesAcked: 0, bytesSent: IW });
  });

  it('and repeats duplicates without end has the window it had, and a segment of new data per segment in flight at most', () => {
    const lab = new Lab({ pacing: false });
    const peer = lab.accepted({ rttMs: 20 });
    sendBytes(peer, 1000 * MSS);
    lab.advance(20);
    let more = 0;
    for (let i = 0; i < 500; i++) {
      more += peer.send('A', { acknowledgment: 1 }).reduce((sum, { length }) => sum + length, 0);
    }
    // One segment stays unaccounted for, whatever is claimed: what was sent again, and ssthresh's worth of new data.
    expect(more).toBeLessThanOrEqual(IW + 2 * MSS);
    expect(peer.connection.stats.ssthresh).toBeLessThanOrEqual(IW);
    expect(lab.layer.pool.live).toBeLessThan(25);
  });

  it('and covers everything with its first ACK after a timeout gets one segment more, not a burst (RFC 3465 §2.3)', () => {
    const lab = new Lab({ tailLossProbe: false, frto: false, pacing: false });
    const peer = lab.accepted({ rttMs: 20 });
    sendBytes(peer, 100 * MSS);
    expect(peer.wait(400).length).toBeGreaterThan(0);
    expect(peer.connection.stats.cwnd).toBe(MSS);
    const seen = peer.send('A', { acknowledgment: 1 + IW });
    expect(peer.connection.stats.cwnd).toBe(2 * MSS);
    expect(seen).toHaveLength(2);
  });
});

describe('a peer that never reads', () => {
  it('costs what `write` may queue, and is given up only when it does not answer', () => {
    const lab = new Lab({ sendBuffer: 200_000, dataRetries: 5, maxRtoMs: 2000 });
    const peer = lab.accepted({ window: 14 * MSS, rttMs: 20 });
    let taken = 0;
    while (peer.connection.sendSpace > 0) {
      peer.write(text(10_000));
      taken += 10_000;
    }
    expect(taken).toBeLessThanOrEqual(210_000);
    // It takes what it has room for and frees none of it.
    const full = 1 + 14 * MSS;
    for (let i = 0; i < 20; i++) peer.send('A', { window: Math.max(0, full - peer.received) });
    const shut = { window: 0 };
    peer.send('A', shut);
    for (let i = 0; i < 100; i++) {
      if (peer.wait(2000).length > 0)
        peer.send('A', { ...shut, acknowledgment: Math.min(full, peer.received) });
    }
    expect(peer.state).toBe('ESTABLISHED');
    expect(peer.connection.sendSpace).toBeLessThanOrEqual(14 * MSS);
    expect(lab.layer.pool.live).toBeLessThanOrEqual(1);
    // Now it is silent as well.
    peer.wait(60_000);
    expect(peer.events.log).toContain('closed ETIMEDOUT');
  });

  it('and an application that never reads costs its receive buffer, whatever the peer sends', () => {
    const lab = new Lab({ receiveBuffer: 65_536, windowScaling: false });
    const peer = lab.accepted({ sack: true });
    for (let i = 0; i < 200; i++) peer.send('A', { sequence: 1 + i * MSS, data: text(MSS) });
    for (let i = 0; i < 200; i++) peer.send('A', { sequence: 100 + i * 7 * MSS, data: text(MSS) });
    expect(peer.connection.stats.receiveQueue).toBeLessThanOrEqual(65_536);
    expect(lab.layer.memory).toBeLessThan(3 * 65_536);
  });
});
