import { describe, expect, it } from 'vitest';
import type { TcpOptions } from '../../../src/tcp/index.ts';
import { randomBelow, SeededRandom } from '../../../src/time/index.ts';
import { Lab, type Peer, type PeerOptions, text } from '../support/lab.ts';
import { allFields } from './private-fields.ts';

const AFTER_MS = 1000;

/** A connection that has exchanged a few bytes, and was parked for it. */
function parked(options: PeerOptions = {}, tcp: TcpOptions = {}): Peer {
  const peer = new Lab({ parkAfterMs: AFTER_MS, ...tcp }).accepted({ rttMs: 20, ...options });
  peer.send('PA', { data: 'question' });
  expect(peer.readAll()).toBe('question');
  peer.write('answer');
  peer.lab.advance(20);
  peer.send('A');
  peer.events.log.length = 0;
  park(peer);
  return peer;
}

function park(peer: Peer): void {
  peer.wait(2 * AFTER_MS + 1);
  expect(peer.connection.isParked).toBe(true);
  expect(peer.lab.layer.lot.parked).toBe(1);
}

describe('a connection that has nothing to do', () => {
  it('is parked after a while, and no timer runs for it', () => {
    const peer = new Lab({ parkAfterMs: AFTER_MS }).accepted();
    peer.wait(AFTER_MS - 1);
    expect(peer.connection.isParked).toBe(false);
    peer.wait(AFTER_MS + 2);
    expect(peer.connection.isParked).toBe(true);
    expect(peer.lab.timers.pending).toBe(0);
    expect(peer.lab.layer.statistics()).toMatchObject({ flows: 1, parked: 1, states: { ESTABLISHED: 1 } });
  });

  it('is not while anything is in flight, unread or out of order', () => {
    const lab = new Lab({ parkAfterMs: AFTER_MS, dataRetries: 100 });
    const unacknowledged = lab.accepted({ port: 1001 });
    unacknowledged.write('lost');
    const unread = lab.accepted({ port: 1002 });
    unread.send('A', { data: 'unread' });
    const holed = lab.accepted({ port: 1003 });
    holed.send('A', { data: 'second', sequence: 10 });
    lab.advance(10 * AFTER_MS);
    for (const { connection } of [unacknowledged, unread, holed]) expect(connection.isParked).toBe(false);
    expect(unread.readAll()).toBe('unread');
    lab.advance(2 * AFTER_MS + 1);
    expect(unread.connection.isParked).toBe(true);
  });

  it('is not while it waits to be accepted', () => {
    const lab = new Lab({ parkAfterMs: AFTER_MS });
    const listener = lab.listen();
    const peer = lab.peer();
    peer.send('S');
    peer.send('A');
    lab.advance(10 * AFTER_MS);
    const connection = listener.accept()!;
    expect(connection.isParked).toBe(false);
    expect(peer.send('A', { data: 'there' })).toMatchObject([{ flags: 'A', acknowledgment: 6 }]);
  });

  it('is not where the option says so, and not with BBR, whose model is more than a record', () => {
    for (const options of [
      { parkAfterMs: Number.POSITIVE_INFINITY },
      { congestionControl: 'bbr' },
    ] as const) {
      const peer = new Lab(options).accepted();
      peer.wait(1_000_000);
      expect(peer.connection.isParked).toBe(false);
      expect(peer.lab.timers.pending).toBe(0);
    }
  });

  it('stays awake as long as it does something now and then', () => {
    const peer = new Lab({ parkAfterMs: AFTER_MS }).accepted();
    for (let i = 0; i < 20; i++) {
      peer.wait(AFTER_MS * 0.9);
      peer.send('A', { data: 'x' });
      peer.readAll();
      expect(peer.connection.isParked).toBe(false);
    }
  });
});

describe('a parked connection', () => {
  it('takes data, and answers', () => {
    const peer = parked();
    expect(peer.send('A', { data: 'again' })).toMatchObject([{ flags: 'A', acknowledgment: 14 }]);
    expect(peer.readAll()).toBe('again');
    expect(peer.write('yes')).toMatchObject([{ flags: 'PA', sequence: 7, acknowledgment: 14 }]);
    peer.send('A');
    park(peer);
  });

  it('sends what is written', () => {
    const peer = parked();
    expect(peer.write('more')).toMatchObject([{ flags: 'PA', sequence: 7, length: 4 }]);
    expect(peer.connection.isParked).toBe(false);
  });

  it('stays parked for who reads, asks for its figures, or reports an error of the network', () => {
    const peer = parked();
    const { connection } = peer;
    expect(connection.take()).toBeNull();
    expect(connection.readableBytes).toBe(0);
    expect(connection.endOfStream).toBe(false);
    expect(connection.drained).toBe(true);
    expect(connection.stats).toMatchObject({
      state: 'ESTABLISHED',
      bytesSent: 6,
      bytesAcked: 6,
      bytesReceived: 8,
      congestionControl: 'cubic',
      rttMs: 20,
      peerMss: 1460,
    });
    const sequence = connection.stats.bytesSent + 1;
    expect(peer.lab.ip.error('host-unreachable', 80, peer.port, sequence + peer.stackIss)).toBe(false);
    expect(connection.isParked).toBe(true);
  });

  it('ends when the peer resets it, and only by the exact number', () => {
    const peer = parked();
    expect(peer.send('R', { sequence: 12 })).toMatchObject([{ flags: 'A' }]);
    expect(peer.state).toBe('ESTABLISHED');
    park(peer);
    peer.send('R');
    expect(peer.events.log).toEqual(['closed ECONNRESET']);
    expect(peer.lab.layer.lot.parked).toBe(0);
  });

  it('is half-closed by either end, parked again, and closed', () => {
    const peer = parked();
    peer.send('FA');
    expect(peer.state).toBe('CLOSE-WAIT');
    park(peer);
    expect(peer.connection.endOfStream).toBe(true);
    expect(peer.connection.take()).toBeNull();
    peer.connection.shutdown();
    expect(peer.sent()).toMatchObject([{ flags: 'FA', sequence: 7 }]);
    peer.send('A');
    expect(peer.events.log.at(-1)).toBe('closed in order');
    expect(peer.lab.layer.statistics()).toMatchObject({ flows: 0, parked: 0 });
  });

  it('waits in FIN-WAIT-2 for as long as its user does, and takes the rest', () => {
    const peer = parked();
    peer.connection.shutdown();
    peer.sent();
    peer.send('A');
    expect(peer.state).toBe('FIN-WAIT-2');
    park(peer);
    peer.send('FA', { data: 'last' });
    expect(peer.readAll()).toBe('last');
    expect(peer.events.log).toContain('closed in order');
  });

  it('is closed, and then times out in FIN-WAIT-2', () => {
    const peer = parked({}, { finTimeoutMs: 5000 });
    peer.connection.shutdown();
    peer.sent();
    peer.send('A');
    park(peer);
    peer.connection.close();
    peer.wait(5001);
    expect(peer.events.log.at(-1)).toBe('closed in order');
    expect(peer.lab.layer.statistics()).toMatchObject({ flows: 0, parked: 0, orphans: 0 });
  });

  it('is aborted with the right numbers', () => {
    const peer = parked({ timestamps: true });
    peer.connection.abort();
    expect(peer.sent()).toMatchObject([{ flags: 'RA', sequence: 7, acknowledgment: 9 }]);
    expect(peer.lab.layer.lot.parked).toBe(0);
  });

  it('is reset when the stack closes', () => {
    const peer = parked();
    peer.lab.layer.close();
    expect(peer.sent()).toMatchObject([{ flags: 'RA', sequence: 7, acknowledgment: 9 }]);
    expect(peer.lab.layer.lot.parked).toBe(0);
    expect(peer.lab.timers.pending).toBe(0);
  });

  it('is probed by keep-alive, and given up', () => {
    const peer = new Lab({
      parkAfterMs: AFTER_MS,
      keepAliveIntervalMs: 10_000,
      keepAliveProbes: 2,
    }).accepted();
    peer.connection.setKeepAlive(true, 60_000);
    park(peer);
    expect(peer.wait(56_000)).toEqual([]);
    expect(peer.wait(3000)).toMatchObject([{ flags: 'A', sequence: 0, length: 0 }]);
    peer.send('A');
    park(peer);
    // Counted from the answer.
    expect(peer.wait(50_000)).toEqual([]);
    expect(peer.wait(35_000).map(({ flags }) => flags)).toEqual(['A', 'A', 'RA']);
    expect(peer.events.log.at(-1)).toBe('closed ETIMEDOUT');
  });

  it('answers keep-alive probes and challenges', () => {
    const peer = parked();
    expect(peer.send('A', { sequence: 8 })).toMatchObject([{ flags: 'A', sequence: 7, acknowledgment: 9 }]);
    park(peer);
    expect(peer.send('S', { sequence: 9 })).toMatchObject([{ flags: 'A', sequence: 7, acknowledgment: 9 }]);
  });

  it('keeps its options, its user timeout, and what it was told', () => {
    const peer = parked({ scale: 7, sack: true, timestamps: true }, { userTimeoutMs: 5000, noDelay: true });
    peer.connection.lingerMs = 0;
    park(peer);
    expect(peer.connection.stats).toMatchObject({ sendScale: 7, sack: true, timestamps: true });
    const sent = peer.write('lost');
    expect(sent[0]!.timestamps).toBeDefined();
    peer.wait(4000);
    expect(peer.events.log).toEqual([]);
    peer.wait(1001);
    expect(peer.events.log).toEqual(['closed ETIMEDOUT']);
  });

  it('cuts segments for the path as it is by now', () => {
    const peer = parked();
    peer.lab.ip.mtu = 1000;
    expect(peer.write(text(1500)).map(({ length }) => length)).toEqual([960, 540]);
  });

  it('restarts from the initial window after its idle time (RFC 5681 §4.1)', () => {
    for (const slowStartAfterIdle of [true, false]) {
      const peer = new Lab({ parkAfterMs: AFTER_MS, slowStartAfterIdle, pacing: false }).accepted({
        rttMs: 20,
      });
      for (let i = 0; i < 5; i++) {
        peer.write(text(1460 * 40));
        for (let j = 0; j < 4; j++) peer.send('A');
      }
      const { cwnd } = peer.connection.stats;
      expect(cwnd).toBeGreaterThan(30 * 1460);
      park(peer);
      expect(peer.connection.stats.cwnd).toBe(cwnd);
      const burst = peer.write(text(1460 * 60)).reduce((sum, { length }) => sum + length, 0);
      expect(burst).toBe(slowStartAfterIdle ? 10 * 1460 : 44 * 1460);
    }
  });

  it('wakes as another left off, and shares nothing with it: many in turn', () => {
    const lab = new Lab({ parkAfterMs: AFTER_MS });
    const peers = Array.from({ length: 40 }, (_, i) =>
      lab.accepted({ port: 2000 + i, iss: i * 1e8, rttMs: i }),
    );
    for (let round = 0; round < 20; round++) {
      lab.advance(2 * AFTER_MS + 1);
      expect(lab.layer.lot.parked).toBe(40);
      for (const [i, peer] of peers.entries()) {
        if ((i * 7 + round) % 3 !== 0) continue;
        const said = `${i}:${round}`;
        peer.send('A', { data: said });
        expect(peer.readAll()).toBe(said);
        expect(Buffer.concat(peer.write(`${said}!`).map(({ data }) => data)).toString()).toBe(`${said}!`);
        peer.send('A');
      }
    }
    for (const peer of peers) peer.connection.abort();
    expect(lab.layer.statistics()).toMatchObject({ flows: 0, parked: 0, receiveMemory: 0 });
    expect(lab.timers.pending).toBe(0);
  });

  it('is woken a thousand times: every byte arrives, round trip time and window are what they were', () => {
    const peer = new Lab({ parkAfterMs: 1, slowStartAfterIdle: false }).accepted({
      rttMs: 20,
      timestamps: true,
    });
    let sent = '';
    let seen = '';
    for (let i = 0; i < 1000; i++) {
      const said = `${i},`.repeat(1 + (i % 7));
      sent += said;
      seen += Buffer.concat(peer.write(said).map(({ data }) => data)).toString();
      peer.lab.advance(20);
      peer.send('A', { data: `${i};` });
      expect(peer.readAll()).toBe(`${i};`);
      const before = peer.connection.stats;
      peer.wait(50);
      expect(peer.connection.isParked).toBe(true);
      expect(peer.connection.stats).toEqual({
        ...before,
        sinceSentMs: before.sinceSentMs + 50,
        sinceReceivedMs: before.sinceReceivedMs + 50,
        // The delayed ACK may have told of the room that reading made.
        receiveWindow: expect.closeTo(65_535, -4),
      });
    }
    expect(seen).toBe(sent);
    expect(peer.connection.stats.rttMs).toBeCloseTo(20, 0);
  });
});

/** A peer that loses, reorders, reports and answers as the dice fall; all that the stack says and shows of itself. */
function play(seed: number, tcp: TcpOptions): string[] {
  const random = new SeededRandom(seed);
  const below = (limit: number): number => randomBelow(random, limit);
  const options = { sack: below(3) > 0, timestamps: below(2) > 0, rttMs: below(100), scale: below(10) };
  const ecn = below(2) > 0;
  const peer = new Lab({ ...tcp, ecn }).accepted(options);
  const log: string[] = [];
  const note = (seen: readonly object[]): void => {
    for (const raw of seen) log.push(JSON.stringify(raw));
  };
  const pause = (): void => note(peer.wait([0, 0.25, 3, 50, 900, 40_000][below(6)]! * (1 + below(3))));
  for (let step = 0; step < 60 && peer.state !== 'CLOSED'; step++) {
    pause();
    switch (below(7)) {
      case 0:
      case 1: {
        const seen = peer.write(text(1 + below(30_000), step));
        note(seen);
        pause();
        // Some of it is lost, and told of as the options allow.
        if (seen.length > 2 && below(3) === 0) {
          const [first, , third] = seen;
          const acknowledgment = first!.sequence;
          const sack = [[third!.sequence, third!.sequence + third!.length]] as const;
          for (let i = 0; i < 3; i++) {
            note(peer.send('A', { acknowledgment, ...(options.sack ? { sack } : {}) }));
          }
          pause();
        }
        note(peer.send('A'));
        note(peer.send(ecn && below(4) === 0 ? 'AE' : 'A'));
        break;
      }
      case 2:
        note(peer.send('A', { data: text(1 + below(1400), step) }));
        if (below(4) > 0) log.push(peer.readAll());
        break;
      case 3:
        // What came before is sent again.
        note(peer.send('A', { sequence: Math.max(1, peer.next - 1 - below(20)), data: 'x' }));
        break;
      case 4:
        note(peer.send('A', { window: [100, 5000, 65_535][below(3)]! }));
        break;
      case 5:
        if (options.sack && peer.received > 200)
          note(peer.send('A', { sack: [[peer.received - 100, peer.received]] }));
        break;
      default:
        log.push(peer.readAll());
    }
    log.push(JSON.stringify(peer.connection.stats));
  }
  log.push(peer.readAll(), ...peer.events.log);
  return log;
}

describe('parking', () => {
  it('is not to be seen from outside: the same peers see the same, whether it happens or not', () => {
    for (let seed = 0; seed < 4; seed++) {
      for (const congestionControl of ['cubic', 'newreno'] as const) {
        const never = play(seed, { congestionControl, parkAfterMs: Number.POSITIVE_INFINITY });
        const always = play(seed, { congestionControl, parkAfterMs: 0 });
        expect(always, `seed ${seed}, ${congestionControl}`).toEqual(never);
      }
    }
  });

  it('gives back every field, private ones too, from objects that served another', () => {
    // Where the objects lead out of a connection's state.
    const leave = new Set(['config', '#config', 'pool', '#pool', 'host', 'spareTimer']);
    /** What begins anew with its next use, and what is only looked at in other states. */
    const renewed = [
      /\.watched$/,
      /\.synSentAt$/,
      /\.synRepeated$/,
      /\.queue\./,
      /\.recovery\.(timedOutAt|#timedOutUna)$/,
      /\.recovery\.#rate\./,
      /\.scoreboard\.(highestSacked|#head)$/,
      /\.receiver\.#(taken|measuredTaken|duplicateLeft|duplicateRight|reassembly.*)$/,
      // Without what they belong to: a limit, a probe, a round, an agreement, bytes ahead.
      /\.validation\.#limitedEnd$/,
      /\.probe\.#end$/,
      /Start\.#roundEnd$/,
      /\.ecn\.#reducedUntil$/,
      /\.pacer\.(#at|rate|until)$/,
    ];
    const lab = new Lab({ parkAfterMs: Number.POSITIVE_INFINITY, ecn: true });
    const peers = [1001, 1002].map((port) =>
      lab.accepted({ port, sack: true, timestamps: port === 1001, scale: 3, rttMs: port - 990 }),
    );
    const shown = (peer: Peer): [string, unknown][] =>
      [...allFields(peer.connection.working!, leave)].filter(
        ([path]) => !renewed.some((each) => each.test(path)),
      );
    // Losses, timeouts, duplicates, data both ways, different for the two.
    const exercise = (peer: Peer, times: number): void => {
      for (let i = 0; i < times; i++) {
        const seen = peer.write(text(20_000 + peer.port));
        lab.advance(13 + times);
        const [first, , third] = seen;
        const sack = [[third!.sequence, third!.sequence + third!.length]] as const;
        for (let j = 0; j < 3; j++) peer.send('A', { acknowledgment: first!.sequence, sack });
        lab.advance(7 + i);
        for (let j = 0; j < 30; j++) peer.send('A');
        if (i % 2 === 0) peer.send('A', { sack: [[peer.received - 100, peer.received]] });
        peer.write(text(3000));
        lab.advance(30);
        for (let j = 0; j < 10; j++) peer.send('A', { data: text(100 * times) });
        peer.send('A', { sequence: peer.next - 10, data: 'old' });
        peer.readAll();
        lab.advance(1000);
      }
      expect(peer.connection.isQuiet).toBe(true);
    };
    exercise(peers[0]!, 3);
    exercise(peers[1]!, 5);
    const [one, other] = peers as [Peer, Peer];
    const before = shown(one);
    expect(before.length).toBeGreaterThan(120);
    one.connection.park();
    other.connection.park();
    // The last that was given is the first that is taken: the objects that served the other.
    expect(one.connection.sender.una).toBeDefined();
    expect(shown(one)).toEqual(before);
    expect(other.connection.sender.una).not.toBe(one.connection.sender.una);
    const both = shown(other).filter(
      ([path, value], i) => before[i]?.[0] === path && before[i]?.[1] === value,
    );
    // Not the same twice, or the comparison would say little.
    expect(before.length - both.length).toBeGreaterThan(40);
  });
});
