import { describe, expect, it } from 'vitest';
import { Lab, type Peer, text } from './support/lab.ts';

describe('a closed window (RFC 9293 §3.8.6.1)', () => {
  const blocked = (data = 'waiting', options = {}): Peer => {
    const peer = new Lab(options).accepted();
    peer.send('A', { window: 0 });
    peer.window = 0;
    expect(peer.write(data)).toEqual([]);
    return peer;
  };

  it('is probed again and again, ever less often, and for as long as the peer answers', () => {
    const lab = new Lab({ dataRetries: 3 });
    const peer = lab.accepted();
    peer.send('A', { window: 0 });
    peer.window = 0;
    peer.write('waiting');
    const gaps: number[] = [];
    let last = lab.clock.now();
    for (let probes = 0; probes < 12; ) {
      const seen = peer.wait(50);
      if (seen.length === 0) continue;
      probes++;
      gaps.push(lab.clock.now() - last);
      last = lab.clock.now();
      expect(seen).toMatchObject([{ sequence: 1, data: Buffer.from('w') }]);
      expect(peer.send('A', { acknowledgment: 1 })).toEqual([]);
    }
    for (let i = 1; i < gaps.length; i++) expect(gaps[i]! + 100).toBeGreaterThanOrEqual(gaps[i - 1]!);
    expect(gaps.at(-1)).toBeGreaterThan(50_000);
    expect(gaps.at(-1)).toBeLessThan(61_000);
    expect(peer.state).toBe('ESTABLISHED');
  });

  it('that opens lets everything out at once', () => {
    const peer = blocked();
    peer.wait(250);
    expect(peer.send('A', { acknowledgment: 1, window: 5000 })).toMatchObject([
      { sequence: 1, data: Buffer.from('waiting') },
    ]);
  });

  it('whose probe was taken goes on behind its byte', () => {
    const peer = blocked();
    peer.wait(250);
    expect(peer.send('A', { acknowledgment: 2, window: 0 })).toEqual([]);
    expect(peer.connection.stats.sendQueue).toBe(6);
    expect(peer.send('A', { acknowledgment: 2, window: 5000 })).toMatchObject([
      { sequence: 2, data: Buffer.from('aiting') },
    ]);
    peer.send('A', { acknowledgment: 8, window: 5000 });
    expect(peer.connection.stats).toMatchObject({ sendQueue: 0, bytesAcked: 7 });
  });

  it('is the end when nobody answers the probes', () => {
    const peer = blocked('x', { dataRetries: 3 });
    peer.wait(60_000);
    expect(peer.events.log).toEqual(['closed ETIMEDOUT']);
    expect(peer.lab.timers.pending).toBe(0);
  });

  it('is probed by the FIN itself where only that is left', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    peer.send('A', { window: 0 });
    peer.window = 0;
    peer.connection.shutdown();
    expect(peer.sent()).toEqual([]);
    expect(peer.wait(250)).toMatchObject([{ flags: 'FA', sequence: 1 }]);
    peer.send('A', { acknowledgment: 1 });
    expect(peer.state).toBe('FIN-WAIT-1');
    expect(peer.wait(1000)).toMatchObject([{ flags: 'FA', sequence: 1 }]);
    peer.send('A', { acknowledgment: 2 });
    expect(peer.state).toBe('FIN-WAIT-2');
    expect(peer.wait(10_000)).toEqual([]);
  });

  it('whose FIN waits lets it out when it opens, after the data', () => {
    const peer = blocked('abc');
    peer.connection.shutdown();
    peer.wait(250);
    expect(peer.send('A', { acknowledgment: 1, window: 100 })).toMatchObject([
      { flags: 'FPA', data: Buffer.from('abc') },
    ]);
  });

  it('of a few bytes is not worth a segment, but is used in the end (RFC 9293 §3.8.6.2.1)', () => {
    const peer = new Lab().accepted({ window: 60_000 });
    peer.send('A', { window: 10 });
    peer.window = 10;
    expect(peer.write(text(1000))).toEqual([]);
    expect(peer.wait(300)).toMatchObject([{ length: 10 }]);
    expect(peer.send('A')).toEqual([]);
    expect(peer.wait(250)).toMatchObject([{ sequence: 11, length: 10 }]);
  });

  it('that shrinks over what is in flight does not stop the retransmission', () => {
    const peer = new Lab().accepted();
    peer.write(text(3000));
    peer.send('A', { acknowledgment: 1, window: 0 });
    const again = peer.wait(5000);
    expect(again.length).toBeGreaterThan(0);
    for (const seen of again) expect(seen.sequence).toBe(1);
    expect(peer.send('A', { acknowledgment: 1461, window: 60_000 }).length).toBeGreaterThan(0);
  });
});

describe('keep-alive (RFC 9293 §3.8.4)', () => {
  const kept = (): Peer => {
    const peer = new Lab().accepted();
    peer.connection.setKeepAlive(true, 10_000, 1000, 3);
    return peer;
  };

  it('probes an idle peer from one number below, and goes on while it answers', () => {
    const peer = kept();
    for (let i = 0; i < 5; i++) {
      expect(peer.wait(9990)).toEqual([]);
      expect(peer.wait(20)).toMatchObject([{ flags: 'A', sequence: 0, length: 0 }]);
      expect(peer.send('A')).toEqual([]);
    }
    expect(peer.state).toBe('ESTABLISHED');
  });

  it('resets a peer that answers none of them, and says ETIMEDOUT', () => {
    const peer = kept();
    const seen = peer.wait(13_100);
    expect(seen.map(({ flags }) => flags)).toEqual(['A', 'A', 'A', 'RA']);
    expect(peer.events.log).toEqual(['closed ETIMEDOUT']);
    expect(peer.lab.timers.pending).toBe(0);
  });

  it('is put off by whatever the peer sends', () => {
    const peer = kept();
    peer.wait(9000);
    peer.send('A', { data: 'x' });
    expect(peer.wait(9000)).toEqual([]);
    expect(peer.wait(1100)).toMatchObject([{ flags: 'A', sequence: 0 }]);
  });

  it('is off unless asked for, and can be switched off', () => {
    const peer = kept();
    peer.connection.setKeepAlive(false);
    expect(peer.wait(10 * 7_200_000)).toEqual([]);
    expect(peer.lab.timers.pending).toBe(0);
  });

  it('answers the probe of a peer', () => {
    const peer = new Lab().accepted();
    expect(peer.send('A', { sequence: 0 })).toMatchObject([{ flags: 'A', acknowledgment: 1 }]);
    expect(peer.send('A', { sequence: 0, data: 'x' })).toMatchObject([{ flags: 'A', acknowledgment: 1 }]);
  });
});

describe('the user timeout (RFC 5482)', () => {
  it('resets a connection whose data was not acknowledged in time', () => {
    const peer = new Lab({ userTimeoutMs: 5000 }).accepted();
    peer.write('x');
    peer.wait(4900);
    expect(peer.state).toBe('ESTABLISHED');
    expect(peer.wait(200).at(-1)).toMatchObject({ flags: 'RA' });
    expect(peer.events.log).toEqual(['closed ETIMEDOUT']);
  });

  it('counts from when there was something to acknowledge, not from the last event before it', () => {
    for (const act of [(peer: Peer) => peer.write('x'), (peer: Peer) => peer.connection.shutdown()]) {
      const peer = new Lab({ userTimeoutMs: 5000 }).accepted();
      peer.wait(600_000);
      act(peer);
      peer.wait(4900);
      expect(peer.connection.isOver).toBe(false);
      peer.wait(200);
      expect(peer.events.log).toEqual(['closed ETIMEDOUT']);
    }
  });

  it('starts anew with every acknowledgment, and never ends an idle connection', () => {
    const peer = new Lab({ userTimeoutMs: 5000 }).accepted();
    peer.write(text(2920));
    peer.wait(4000);
    peer.send('A', { acknowledgment: 1461 });
    peer.wait(4000);
    peer.send('A', { acknowledgment: 2921 });
    peer.wait(100_000);
    expect(peer.state).toBe('ESTABLISHED');
  });
});

describe('retransmission (RFC 6298)', () => {
  it('repeats the first segment, doubling the timeout, and gives up with ETIMEDOUT and a reset', () => {
    const peer = new Lab({ dataRetries: 4, tailLossProbe: false }).accepted();
    peer.write('lost');
    const seen = peer.wait(60_000);
    expect(seen.map(({ flags }) => flags.includes('R'))).toEqual([false, false, false, false, true]);
    for (const { sequence, data } of seen.slice(0, -1)) {
      expect(sequence).toBe(1);
      expect(data.toString()).toBe('lost');
    }
    expect(peer.events.log).toEqual(['closed ETIMEDOUT']);
    expect(peer.lab.layer.pool.live).toBe(0);
  });

  it('stops when all is acknowledged: no timer is left', () => {
    const peer = new Lab().accepted();
    peer.write(text(5000));
    peer.send('A');
    // But for the stack's own, after which the connection is parked.
    expect(peer.lab.timers.pending).toBe(1);
    peer.lab.advance(peer.lab.layer.config.parkAfterMs + 1);
    expect(peer.lab.timers.pending).toBe(0);
  });

  it('keeps the timer running while anything is in flight, whatever comes', () => {
    const peer = new Lab().accepted({ sack: true });
    peer.write(text(14_600));
    const check = (): void => {
      if (peer.connection.sender.outstanding > 0)
        expect(peer.connection.sender.recovery.timeoutAt).toBeLessThan(Infinity);
    };
    peer.send('A', { acknowledgment: 1, sack: [[2921, 4381]] });
    check();
    peer.send('A', { acknowledgment: 1461, sack: [[2921, 8761]] });
    check();
    peer.wait(1000);
    check();
    peer.send('A', { acknowledgment: 8761 });
    check();
    peer.wait(1000);
    check();
  });

  it('repeats what was lost when three duplicate ACKs have come (RFC 5681 §3.2), without SACK', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    peer.write(text(14_600));
    lab.advance(20);
    peer.send('A', { acknowledgment: 1461 });
    for (let i = 0; i < 2; i++) {
      expect(peer.send('A', { acknowledgment: 1461 }).every(({ sequence }) => sequence > 14_000)).toBe(true);
    }
    expect(peer.send('A', { acknowledgment: 1461 })[0]).toMatchObject({ sequence: 1461, length: 1460 });
    // A partial ACK shows the next hole (RFC 6582 §3.2 step 3).
    expect(peer.send('A', { acknowledgment: 4381 })[0]).toMatchObject({ sequence: 4381, length: 1460 });
  });

  it('repeats exactly the holes between SACK blocks (RFC 6675)', () => {
    const lab = new Lab();
    const peer = lab.accepted({ sack: true, rttMs: 20 });
    peer.write(text(14_600));
    lab.advance(20);
    // Segments 0 and 4 are lost.
    peer.queue('A', { acknowledgment: 1, sack: [[1461, 5841]] });
    peer.queue('A', {
      acknowledgment: 1,
      sack: [
        [7301, 14_601],
        [1461, 5841],
      ],
    });
    expect(peer.flush().map(({ sequence, length }) => [sequence, length])).toEqual([
      [1, 1460],
      [5841, 1460],
    ]);
    expect(lab.layer.statistics()).toMatchObject({ retransSegs: 0 });
    peer.send('A', { acknowledgment: 14_601 });
    expect(peer.connection.stats).toMatchObject({ retransmits: 2, sendQueue: 0 });
    expect(peer.connection.stats.cwnd).toBeLessThan(14_600);
    expect(peer.connection.stats.cwnd).toBeGreaterThanOrEqual(2 * 1460);
  });

  it('repeats a hole once, not with every further ACK (RFC 6675 §4, without RACK)', () => {
    const lab = new Lab({ rack: false });
    const peer = lab.accepted({ sack: true, rttMs: 20 });
    peer.write(text(14_600));
    lab.advance(20);
    let repeats = 0;
    for (let right = 2921; right <= 14_601; right += 1460) {
      for (const { sequence } of peer.send('A', { acknowledgment: 1, sack: [[1461, right]] })) {
        if (sequence === 1) repeats++;
      }
    }
    expect(repeats).toBe(1);
  });

  it('probes the tail instead of waiting for the timeout (RFC 8985 §7)', () => {
    const lab = new Lab();
    const peer = lab.accepted({ sack: true, rttMs: 40 });
    peer.write(text(4380));
    // Two RTTs of 40 ms, long before the timeout of 240 ms.
    const [probe] = peer.wait(90);
    expect(probe).toMatchObject({ sequence: 2921, length: 1460 });
  });

  it('does not take a probe that was not needed for a loss, with D-SACK or without (RFC 8985 §7.4)', () => {
    for (const sack of [[[2921, 4381]], undefined] as const) {
      const lab = new Lab();
      const peer = lab.accepted({ sack: true, rttMs: 40 });
      peer.write(text(4380));
      expect(peer.wait(90).length).toBe(1);
      // The original's ACK was late; the probe's tells of the duplicate when nothing is in flight any more.
      peer.send('A', { acknowledgment: 4381 });
      peer.send('A', { acknowledgment: 4381, ...(sack === undefined ? {} : { sack }) });
      const before = peer.connection.stats.cwnd;
      peer.write(text(1460));
      lab.advance(40);
      peer.send('A');
      expect(peer.connection.stats.cwnd).toBeGreaterThanOrEqual(before);
      expect(peer.connection.stats.ssthresh).toBe(Number.POSITIVE_INFINITY);
    }
  });

  it('takes a timeout back that timestamps show to be spurious (RFC 3522), and puts the window back', () => {
    const lab = new Lab({ tailLossProbe: false, frto: false });
    const peer = lab.accepted({ timestamps: true });
    const seen = peer.write(text(14_600));
    const echo = seen[0]!.timestamps![0];
    const before = peer.connection.stats;
    expect(peer.wait(300).length).toBeGreaterThan(0);
    expect(peer.connection.stats.cwnd).toBe(peer.connection.sender.segment);
    peer.send('A', { acknowledgment: 1449, echo });
    expect(peer.connection.stats.cwnd).toBeGreaterThanOrEqual(before.cwnd);
    expect(peer.connection.stats.ssthresh).toBe(before.ssthresh);
  });

  it('does not take a timeout back that was right: the ACK of the hole covers what had arrived behind it (RFC 5682 §2.1)', () => {
    const lab = new Lab({ tailLossProbe: false });
    const peer = lab.accepted();
    // Three segments: too few duplicate ACKs to find the loss of the first by.
    peer.write(text(4380));
    peer.send('A', { acknowledgment: 1 });
    peer.send('A', { acknowledgment: 1 });
    expect(peer.wait(300)).toMatchObject([{ sequence: 1 }]);
    peer.send('A', { acknowledgment: 4381 });
    expect(peer.connection.stats.ssthresh).toBeLessThan(14_600);
    expect(peer.connection.stats.cwnd).toBeLessThan(14_600);
  });

  it('repeats everything when the peer goes back on its SACKs (RFC 2018 §8)', () => {
    const lab = new Lab();
    const peer = lab.accepted({ sack: true });
    peer.write(text(7300));
    peer.send('A', { acknowledgment: 1, sack: [[1461, 7301]] });
    // The hole is filled, and what was SACKed is not there any more.
    peer.send('A', { acknowledgment: 1461 });
    let have = 1461;
    for (let i = 0; i < 50 && peer.connection.stats.sendQueue > 0; i++) {
      for (let seen = peer.wait(2000); seen.length > 0; ) {
        for (const { sequence, length } of seen) if (sequence === have) have += length;
        seen = peer.send('A', { acknowledgment: have });
      }
    }
    expect(have).toBe(7301);
    expect(peer.connection.stats.sendQueue).toBe(0);
    expect(lab.layer.pool.live).toBe(0);
  });

  it('survives SACK blocks that say anything at all', () => {
    const lab = new Lab();
    const peer = lab.accepted({ sack: true });
    peer.write(text(14_600));
    const edges = [-100_000, -1, 0, 1, 2, 1460, 1461, 2921, 14_600, 14_601, 14_602, 100_000, 2 ** 31 - 5];
    for (const left of edges) {
      for (const right of edges) {
        peer.send('A', {
          acknowledgment: 1,
          sack: [
            [left, right],
            [right, left],
          ],
        });
        lab.advance(7);
      }
    }
    for (let i = 0; i < 40 && peer.connection.stats.sendQueue > 0; i++) {
      peer.wait(500);
      peer.send('A', { acknowledgment: Math.min(14_601, 1461 + i * 1460) });
    }
    expect(peer.connection.stats.sendQueue).toBe(0);
    expect(peer.connection.sender.recovery.scoreboard).toMatchObject({
      sackedBytes: 0,
      lostBytes: 0,
      count: 0,
    });
    expect(peer.write('on')).toMatchObject([{ data: Buffer.from('on') }]);
  });
});
