import { describe, expect, it } from 'vitest';
import { Lab, text } from './support/lab.ts';

describe('a reduction that was wrong', () => {
  it('is taken back when what was taken for lost comes before any of it was sent again', () => {
    const lab = new Lab();
    const peer = lab.accepted({ sack: true, rttMs: 40 });
    const before = peer.write(text(14_600));
    expect(before).toHaveLength(10);
    const { cwnd } = peer.connection.stats;
    lab.advance(40);
    // Both are read at once, as where a busy host finds them.
    peer.queue('A', { acknowledgment: 1, sack: [[1461, 5841]] });
    peer.queue('A', { acknowledgment: 5841 });
    expect(peer.flush().filter(({ sequence }) => sequence < 5841)).toHaveLength(0);
    expect(peer.connection.stats).toMatchObject({ ssthresh: Number.POSITIVE_INFINITY, retransmits: 0 });
    expect(peer.connection.stats.cwnd).toBeGreaterThanOrEqual(cwnd);
    expect(peer.connection.sender.recovery.spuriousRecoveries).toBe(1);
  });

  it('stands where the rest was sent again', () => {
    const lab = new Lab();
    const peer = lab.accepted({ sack: true, rttMs: 40 });
    peer.write(text(14_600));
    lab.advance(40);
    const [repeated] = peer.send('A', { acknowledgment: 1, sack: [[1461, 5841]] });
    expect(repeated).toMatchObject({ sequence: 1, length: 1460 });
    lab.advance(40);
    peer.send('A', { acknowledgment: 14_601 });
    expect(peer.connection.stats.ssthresh).toBeLessThan(14_600);
  });

  it('is taken back by a D-SACK that comes when the recovery is over (RFC 2883, RFC 3708)', () => {
    const lab = new Lab();
    const peer = lab.accepted({ sack: true, rttMs: 40 });
    peer.write(text(14_600));
    lab.advance(40);
    peer.send('A', { acknowledgment: 1, sack: [[1461, 5841]] });
    // The original, overtaken, fills the hole: all is acknowledged before the repetition arrives.
    lab.advance(5);
    peer.send('A', { acknowledgment: 14_601 });
    const reduced = peer.connection.stats;
    expect(reduced.ssthresh).toBeLessThan(14_600);
    lab.advance(35);
    peer.send('A', { acknowledgment: 14_601, sack: [[1, 1461]] });
    expect(peer.connection.stats.ssthresh).toBe(Number.POSITIVE_INFINITY);
    expect(peer.connection.stats.cwnd).toBeGreaterThanOrEqual(14_600);
  });

  it('stands when the late D-SACK is for only some of what was sent again, or for something older', () => {
    const lab = new Lab();
    const peer = lab.accepted({ sack: true, rttMs: 40 });
    peer.write(text(1460));
    lab.advance(40);
    peer.send('A', { acknowledgment: 1461 });
    peer.write(text(14_600));
    lab.advance(40);
    peer.send('A', {
      acknowledgment: 1461,
      sack: [
        [7301, 10_221],
        [2921, 5841],
      ],
    });
    lab.advance(5);
    peer.send('A', { acknowledgment: 16_061 });
    const { ssthresh } = peer.connection.stats;
    expect(ssthresh).toBeLessThan(16_061);
    peer.send('A', { acknowledgment: 16_061, sack: [[1, 1461]] });
    peer.send('A', { acknowledgment: 16_061, sack: [[1461, 2921]] });
    expect(peer.connection.stats.ssthresh).toBe(ssthresh);
    peer.send('A', { acknowledgment: 16_061, sack: [[5841, 7301]] });
    expect(peer.connection.stats.ssthresh).toBe(Number.POSITIVE_INFINITY);
  });
});
