import { describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import { Lab, PEER, type Peer, text } from './support/lab.ts';

/** A connection in each state that a close leads through. */
const reach: Record<string, (lab: Lab) => Peer> = {
  ESTABLISHED: (lab) => lab.accepted(),
  'CLOSE-WAIT': (lab) => {
    const peer = lab.accepted();
    peer.send('FA');
    return peer;
  },
  'FIN-WAIT-1': (lab) => {
    const peer = lab.accepted();
    peer.connection.shutdown();
    peer.sent();
    return peer;
  },
  'FIN-WAIT-2': (lab) => {
    const peer = reach['FIN-WAIT-1']!(lab);
    peer.send('A');
    return peer;
  },
  CLOSING: (lab) => {
    const peer = reach['FIN-WAIT-1']!(lab);
    peer.send('FA', { acknowledgment: 1 });
    return peer;
  },
  'LAST-ACK': (lab) => {
    const peer = reach['CLOSE-WAIT']!(lab);
    peer.connection.shutdown();
    peer.sent();
    return peer;
  },
};

describe('closing', () => {
  it.each(Object.keys(reach))('reaches %s', (state) => {
    expect(reach[state]!(new Lab()).state).toBe(state);
  });

  it('first: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT (RFC 9293 §3.6, case 1)', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    peer.connection.shutdown();
    expect(peer.sent()).toMatchObject([{ flags: 'FA', sequence: 1 }]);
    expect(peer.send('A')).toEqual([]);
    expect(peer.events.log).toEqual(['finished']);
    expect(peer.send('A', { data: 'still' })).toMatchObject([{ flags: 'A', acknowledgment: 6 }]);
    expect(peer.readAll()).toBe('still');
    expect(peer.send('FA')).toMatchObject([{ flags: 'A', sequence: 2, acknowledgment: 7 }]);
    expect(peer.events.log.at(-1)).toBe('closed in order');
    expect(peer.connection.endOfStream).toBe(true);
    expect(lab.layer.statistics()).toMatchObject({ flows: 0, timeWait: 1 });
    lab.advance(60_001);
    expect(lab.layer.statistics()).toMatchObject({ timeWait: 0 });
    expect(lab.timers.pending).toBe(0);
  });

  it('acknowledges a FIN with our own, where the application closes as soon as it hears of it', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    const { connection } = peer;
    // After the batch is over, as whoever awaits the end of the stream does.
    peer.events.readable = () => lab.clock.defer(() => connection.close());
    expect(peer.send('FA')).toMatchObject([{ flags: 'FA', sequence: 1, acknowledgment: 2 }]);
    expect(peer.state).toBe('LAST-ACK');
    // Whoever takes longer has it acknowledged within a tick of the timers.
    const later = new Lab();
    const other = later.accepted();
    later.advance(0.5);
    expect(other.send('FA')).toEqual([]);
    later.advance(1);
    expect(other.sent()).toMatchObject([{ flags: 'A', acknowledgment: 2 }]);
  });

  it('second: CLOSE-WAIT, LAST-ACK, over', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    expect(peer.send('FA')).toMatchObject([{ flags: 'A', acknowledgment: 2 }]);
    expect(peer.write('bye')).toMatchObject([{ data: Buffer.from('bye') }]);
    peer.connection.shutdown();
    expect(peer.sent()).toMatchObject([{ flags: 'FA', sequence: 4 }]);
    expect(peer.send('A')).toEqual([]);
    expect(peer.events.log).toEqual(['readable', 'writable', 'finished', 'closed in order']);
    expect(lab.layer.statistics()).toMatchObject({ flows: 0, timeWait: 0 });
    expect(lab.timers.pending).toBe(0);
  });

  it('at once: CLOSING, TIME-WAIT (RFC 9293 §3.6, case 3)', () => {
    const lab = new Lab();
    const peer = reach.CLOSING!(lab);
    expect(peer.send('A', { acknowledgment: 2 })).toEqual([]);
    expect(peer.events.log).toEqual(['readable', 'finished', 'closed in order']);
    expect(lab.layer.statistics()).toMatchObject({ timeWait: 1 });
  });

  it('in one exchange: FIN and ACK of our FIN together', () => {
    const lab = new Lab();
    const peer = reach['FIN-WAIT-1']!(lab);
    expect(peer.send('FA')).toMatchObject([{ flags: 'A', acknowledgment: 2 }]);
    expect(peer.events.log).toEqual(['finished', 'readable', 'closed in order']);
    expect(lab.layer.statistics()).toMatchObject({ timeWait: 1 });
  });

  it('sends FIN with the last data, and after all that waits for the window', () => {
    const lab = new Lab();
    const peer = lab.accepted({ window: 1000 });
    peer.connection.send(Buffer.from(text(1500)));
    peer.connection.shutdown();
    expect(peer.sent()).toMatchObject([{ flags: 'A', length: 1000 }]);
    expect(peer.send('A')).toMatchObject([{ flags: 'FPA', length: 500 }]);
    peer.send('A');
    expect(peer.state).toBe('FIN-WAIT-2');
  });

  it.each(['FIN-WAIT-1', 'CLOSING', 'LAST-ACK'])(
    'sends the FIN again in %s until it is acknowledged',
    (state) => {
      const lab = new Lab({ tailLossProbe: false });
      const peer = reach[state]!(lab);
      expect(peer.wait(250)).toMatchObject([{ flags: 'FA', sequence: 1 }]);
      expect(peer.wait(400)).toMatchObject([{ flags: 'FA', sequence: 1 }]);
      peer.send('A', { acknowledgment: 2 });
      expect(peer.wait(100_000).filter((seen) => seen.flags.includes('F'))).toEqual([]);
    },
  );

  it.each(['CLOSE-WAIT', 'CLOSING', 'LAST-ACK'])('acknowledges a FIN that comes again in %s', (state) => {
    const peer = reach[state]!(new Lab());
    expect(peer.send('FA', { sequence: 1, acknowledgment: 1 })).toMatchObject([
      { flags: 'A', acknowledgment: 2 },
    ]);
    expect(peer.state).toBe(state);
  });

  it('takes a FIN only when everything before it is there', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    expect(peer.send('FA', { sequence: 4, data: 'def' })).toMatchObject([{ flags: 'A', acknowledgment: 1 }]);
    expect(peer.state).toBe('ESTABLISHED');
    expect(peer.send('A', { sequence: 1, data: 'abc' })).toMatchObject([{ flags: 'A', acknowledgment: 8 }]);
    expect(peer.state).toBe('CLOSE-WAIT');
    expect(peer.readAll()).toBe('abcdef');
    expect(peer.connection.endOfStream).toBe(true);
  });

  it('waits no longer than finTimeoutMs for the FIN of a peer that nobody listens to any more', () => {
    const lab = new Lab({ finTimeoutMs: 5000 });
    const peer = lab.accepted();
    peer.connection.close();
    peer.sent();
    peer.send('A');
    lab.advance(4990);
    expect(peer.state).toBe('FIN-WAIT-2');
    lab.advance(20);
    expect(peer.events.log).toEqual(['finished', 'closed in order']);
    expect(lab.timers.pending).toBe(0);
  });

  it('counts that time from the close, however long the connection was idle before', () => {
    const lab = new Lab({ finTimeoutMs: 5000 });
    const peer = reach['FIN-WAIT-2']!(lab);
    lab.advance(600_000);
    expect(peer.state).toBe('FIN-WAIT-2');
    peer.connection.close();
    lab.advance(4990);
    expect(peer.state).toBe('FIN-WAIT-2');
    expect(peer.send('FA')).toMatchObject([{ flags: 'A' }]);
  });

  it('resets a peer that sends to whoever has closed (RFC 9293 §3.10.4, RFC 2525 §2.17)', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    peer.connection.close();
    peer.sent();
    expect(peer.send('A', { data: 'more' })).toMatchObject([{ flags: 'RA', sequence: 2 }]);
    expect(peer.events.log.at(-1)).toBe('closed ECONNRESET');
  });

  it('resets if data was not read (RFC 2525 §2.17)', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    peer.send('A', { data: 'unread' });
    peer.connection.close();
    expect(peer.sent()).toMatchObject([{ flags: 'RA', sequence: 1, acknowledgment: 7 }]);
  });

  it('twice is closing once', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    peer.connection.shutdown();
    peer.connection.shutdown();
    peer.connection.close();
    peer.connection.close();
    expect(peer.sent()).toMatchObject([{ flags: 'FA' }]);
    expect(() => peer.connection.send(Buffer.from('x'))).toThrow(expect.objectContaining({ code: 'EPIPE' }));
  });

  it('may be undone by a handler that aborts in any of its callbacks', () => {
    for (const event of ['finished', 'readable'] as const) {
      const lab = new Lab();
      const peer = reach['FIN-WAIT-1']!(lab);
      peer.connection.handler = Object.assign(Object.create(peer.events) as Peer['events'], {
        [event]: () => peer.connection.abort(),
      });
      peer.send('FA');
      expect(peer.state).toBe('CLOSED');
      expect(lab.layer.statistics(), `abort in ${event}`).toMatchObject({ flows: 0, timeWait: 0 });
    }
  });
});

describe('reset', () => {
  it.each(['ESTABLISHED', 'CLOSE-WAIT', 'FIN-WAIT-1', 'FIN-WAIT-2'])(
    'ends a connection in %s with ECONNRESET (RFC 9293 §3.10.7.4)',
    (state) => {
      const lab = new Lab();
      const peer = reach[state]!(lab);
      expect(peer.send('R')).toEqual([]);
      expect(peer.events.log.at(-1)).toBe('closed ECONNRESET');
      expect(lab.layer.statistics()).toMatchObject({ flows: 0, timeWait: 0 });
      expect(lab.timers.pending).toBe(0);
    },
  );

  it.each(['CLOSING', 'LAST-ACK'])('ends one in %s in order: nothing was left to say', (state) => {
    const peer = reach[state]!(new Lab());
    peer.send('R');
    expect(peer.events.log.at(-1)).toBe('closed in order');
  });

  it.each(Object.keys(reach))(
    'in %s is believed at exactly RCV.NXT, challenged in the window (RFC 5961 §3.2)',
    (state) => {
      const peer = reach[state]!(new Lab());
      const { next } = peer;
      expect(peer.send('R', { sequence: next - 1 }), 'below the window').toEqual([]);
      expect(peer.send('R', { sequence: next + 100_000 }), 'above the window').toEqual([]);
      if (peer.connection.receiver.window > 5) {
        expect(peer.send('R', { sequence: next + 5 })).toMatchObject([{ flags: 'A', acknowledgment: next }]);
      }
      expect(peer.state).toBe(state);
    },
  );

  it.each(Object.keys(reach))('is not what a SYN in %s causes, but a challenge (RFC 5961 §4.2)', (state) => {
    const peer = reach[state]!(new Lab());
    const { next } = peer;
    for (const sequence of [0, next, next + 10, next + 1_000_000]) {
      expect(peer.send('S', { sequence })).toMatchObject([{ flags: 'A', acknowledgment: next }]);
      expect(peer.state).toBe(state);
    }
  });

  it('leaves what was received to be read', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    peer.send('A', { data: 'last words' });
    peer.send('R');
    expect(peer.readAll()).toBe('last words');
    expect(() => peer.connection.send(Buffer.from('x'))).toThrow(
      expect.objectContaining({ code: 'ECONNRESET' }),
    );
  });

  it('is what abort sends (RFC 9293 §3.10.5)', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    peer.write('unacknowledged');
    peer.connection.abort();
    expect(peer.sent()).toMatchObject([{ flags: 'RA', sequence: 15, acknowledgment: 1 }]);
    expect(lab.layer.pool.live).toBe(0);
    expect(lab.timers.pending).toBe(0);
    expect(peer.send('A', { acknowledgment: 15 })).toMatchObject([{ flags: 'R', sequence: 15 }]);
  });
});

describe('an ACK that nobody can have sent (RFC 5961 §5.2)', () => {
  it.each([
    ['of what was never sent', 1000],
    ['far below what was ever in flight', -100_000],
  ])('%s is challenged, and its text dropped', (_name, acknowledgment) => {
    const peer = new Lab().accepted();
    expect(peer.send('A', { acknowledgment, sequence: 1, data: 'evil' })).toMatchObject([
      { flags: 'A', acknowledgment: 1 },
    ]);
    expect(peer.readAll()).toBe('');
  });

  it('is challenged within a limit per second where it carries data', () => {
    const lab = new Lab({ challengeAckLimit: 10 });
    const peer = lab.accepted();
    let answers = 0;
    for (let i = 0; i < 100; i++) {
      answers += peer.send('A', { acknowledgment: 1000, data: 'x' }).length;
    }
    expect(answers).toBeGreaterThanOrEqual(5);
    expect(answers).toBeLessThanOrEqual(15);
    lab.advance(1000);
    expect(peer.send('A', { acknowledgment: 1000, data: 'x' }).length).toBe(1);
  });

  it('is challenged once in half a second where it is bare, so that two confused ends do not answer each other for ever', () => {
    const lab = new Lab();
    const peer = lab.accepted();
    let answers = 0;
    for (let i = 0; i < 100; i++) answers += peer.send('A', { acknowledgment: 1000 }).length;
    expect(answers).toBe(1);
    lab.advance(499);
    expect(peer.send('A', { acknowledgment: 1000 }).length).toBe(0);
    lab.advance(1);
    expect(peer.send('A', { acknowledgment: 1000 }).length).toBe(1);
  });
});

describe('TIME-WAIT', () => {
  /** A connection from the peer that the stack closed first, and then the FIN of the peer. */
  const waiting = (lab: Lab, options = {}): Peer => {
    const peer = lab.accepted(options);
    peer.connection.shutdown();
    peer.sent();
    peer.send('A');
    peer.send('FA');
    expect(lab.layer.statistics()).toMatchObject({ timeWait: 1 });
    return peer;
  };

  it('acknowledges a FIN that comes again, and begins anew (RFC 9293 §3.10.7.4)', () => {
    const lab = new Lab();
    const peer = waiting(lab);
    lab.advance(59_000);
    expect(peer.send('FA', { sequence: 1 })).toMatchObject([{ flags: 'A', sequence: 2, acknowledgment: 2 }]);
    lab.advance(59_000);
    expect(lab.layer.statistics()).toMatchObject({ timeWait: 1 });
    lab.advance(1001);
    expect(lab.layer.statistics()).toMatchObject({ timeWait: 0 });
  });

  it('carries timestamps in its ACKs where they were agreed on (RFC 7323 §3.2)', () => {
    const lab = new Lab();
    const peer = lab.accepted({ timestamps: true });
    peer.connection.shutdown();
    peer.sent();
    peer.send('A');
    const [first] = peer.send('FA', { timestamp: lab.clock.now() + 5 });
    expect(first!.timestamps![1]).toBe(lab.clock.now() + 5);
    lab.advance(1000);
    const [again] = peer.send('FA', { sequence: 1 });
    expect(again!.timestamps![0] - first!.timestamps![0]).toBe(1000);
    expect(again!.timestamps![1]).toBe(lab.clock.now());
  });

  it('is not cut short by a reset (RFC 1337)', () => {
    const lab = new Lab();
    const peer = waiting(lab);
    expect(peer.send('R')).toEqual([]);
    expect(lab.layer.statistics()).toMatchObject({ timeWait: 1 });
  });

  it('makes way for a SYN with a higher sequence number, and for no other (RFC 9293 §3.6.1)', () => {
    const lab = new Lab();
    const peer = waiting(lab);
    expect(peer.send('S', { sequence: 0 })).toMatchObject([{ flags: 'A', acknowledgment: 2 }]);
    const { stackIss } = peer;
    peer.stackIss = 0;
    const [synAck] = peer.send('S', { sequence: 5000 });
    expect(synAck).toMatchObject({ flags: 'SA', acknowledgment: 5001 });
    expect((peer.stackIss - stackIss) | 0, 'above all of the old connection').toBeGreaterThan(2);
  });

  it('makes way for a SYN with a later timestamp (RFC 6191 §2)', () => {
    const lab = new Lab();
    const peer = waiting(lab, { timestamps: true });
    lab.advance(10);
    peer.stackIss = 0;
    expect(peer.send('S', { sequence: -50_000 })).toMatchObject([{ flags: 'SA' }]);
  });

  it('keeps its port from new connections, but not from one that asks for it by number', () => {
    const lab = new Lab({ ephemeralPorts: [50_000, 50_000] });
    const peer = lab.connected();
    // 10 MB go out: far more than the clock of the initial sequence number ticks meanwhile.
    peer.connection.sender.next = (peer.connection.sender.next + 10_000_000) | 0;
    peer.connection.sender.una = peer.connection.sender.next;
    const last = peer.connection.sender.next;
    peer.connection.shutdown();
    peer.sent();
    peer.send('FA', { acknowledgment: 10_000_002 });
    expect(lab.layer.statistics()).toMatchObject({ timeWait: 1 });
    const connect = (localPort?: number) =>
      lab.layer.connect({
        remote: IpAddress.parse(PEER),
        remotePort: 80,
        ...(localPort === undefined ? {} : { localPort }),
      });
    expect(() => connect()).toThrow(expect.objectContaining({ code: 'EADDRNOTAVAIL' }));
    const again = connect(50_000);
    expect(lab.layer.statistics()).toMatchObject({ timeWait: 0, flows: 1 });
    expect((again.sender.initial - last) | 0, 'above the old numbers').toBeGreaterThan(0);
  });

  it('is bounded: the oldest goes first', () => {
    const lab = new Lab({ maxTimeWait: 2 });
    lab.listen();
    const peers = [1, 2, 3].map((port) => {
      const peer = lab.accepted({ port });
      peer.connection.shutdown();
      peer.sent();
      peer.send('A');
      peer.send('FA');
      lab.advance(10);
      return peer;
    });
    expect(lab.layer.statistics()).toMatchObject({ timeWait: 2, timeWaitOverflows: 1 });
    expect(peers[0]!.send('FA', { sequence: 1 })).toMatchObject([{ flags: 'R' }]);
    expect(peers[2]!.send('FA', { sequence: 1 })).toMatchObject([{ flags: 'A' }]);
  });
});
