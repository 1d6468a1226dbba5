import { describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import { Lab, PEER, type Peer, text } from './support/lab.ts';

describe('a full device stalls, and goes on where it stopped, at', () => {
  it('the SYN: it goes out when there is room, and waiting costs no retry', () => {
    const lab = new Lab({ synRetries: 1 });
    lab.ip.room = 0;
    const connection = lab.layer.connect({ remote: IpAddress.parse(PEER), remotePort: 80 });
    lab.advance(60_000);
    expect(connection.stateName).toBe('SYN-SENT');
    lab.ip.makeRoom();
    lab.settle();
    expect(lab.ip.sent.map(({ flags }) => flags)).toEqual(['S']);
  });

  it('a repeated SYN: the timer does not run through all retries meanwhile', () => {
    const lab = new Lab({ synRetries: 3 });
    const peer = lab.opening();
    lab.ip.room = 0;
    lab.advance(1500);
    expect(peer.state).toBe('SYN-SENT');
    lab.ip.makeRoom();
    expect(peer.sent()).toMatchObject([{ flags: 'S' }]);
    peer.send('SA');
    expect(peer.state).toBe('ESTABLISHED');
  });

  it('the SYN-ACK', () => {
    const lab = new Lab();
    lab.listen();
    const peer = lab.peer();
    lab.ip.room = 0;
    expect(peer.send('S')).toEqual([]);
    lab.ip.makeRoom();
    expect(peer.sent()).toMatchObject([{ flags: 'SA' }]);
  });

  it('an ACK', () => {
    const peer = new Lab().accepted();
    peer.lab.ip.room = 0;
    expect(peer.send('A', { data: 'abc' })).toEqual([]);
    peer.lab.ip.makeRoom();
    expect(peer.sent()).toMatchObject([{ flags: 'A', acknowledgment: 4 }]);
  });

  it('a delayed ACK, whose timer then does not tick on and on', () => {
    const peer = new Lab().accepted();
    peer.queue('A', { data: 'ping' });
    peer.connection.send(Buffer.from('pong'));
    peer.flush();
    peer.send('A', { data: 'ping' });
    peer.lab.ip.room = 0;
    peer.wait(41);
    expect(peer.connection.receiver.ackDeadline).toBe(Number.POSITIVE_INFINITY);
    peer.lab.ip.makeRoom();
    expect(peer.sent().some(({ acknowledgment }) => acknowledgment === 9)).toBe(true);
  });

  it('each segment of a burst, with nothing lost or twice', () => {
    const peer = new Lab().accepted();
    const { ip } = peer.lab;
    ip.room = 0;
    expect(peer.write(text(10_000))).toEqual([]);
    let all = '';
    for (let i = 0; i < 12; i++) {
      ip.makeRoom(1);
      for (const { data, sequence } of peer.sent()) {
        expect(sequence).toBe(all.length + 1);
        all += data.toString();
      }
    }
    expect(all).toBe(text(10_000));
  });

  it('a retransmission', () => {
    const peer = new Lab({ tailLossProbe: false }).accepted();
    peer.write('lost');
    peer.lab.ip.room = 0;
    expect(peer.wait(250)).toEqual([]);
    peer.lab.ip.makeRoom();
    expect(peer.sent()).toMatchObject([{ sequence: 1, data: Buffer.from('lost') }]);
  });

  it('the FIN', () => {
    const peer = new Lab().accepted();
    peer.lab.ip.room = 0;
    peer.connection.shutdown();
    expect(peer.sent()).toEqual([]);
    peer.lab.ip.makeRoom();
    expect(peer.sent()).toMatchObject([{ flags: 'FA' }]);
    expect(peer.state).toBe('FIN-WAIT-1');
  });

  it('a loss probe, a window probe, a keep-alive: their timers come again', () => {
    const probes: [string, (peer: Peer) => void][] = [
      ['loss probe', (peer) => void peer.write(text(3000))],
      [
        'window probe',
        (peer) => {
          peer.send('A', { window: 0 });
          peer.write('x');
        },
      ],
      ['keep-alive', (peer) => peer.connection.setKeepAlive(true, 500, 500, 9)],
    ];
    for (const [name, act] of probes) {
      const peer = new Lab().accepted({ sack: true });
      act(peer);
      peer.lab.ip.room = 0;
      peer.wait(1100);
      peer.lab.ip.makeRoom();
      expect([...peer.sent(), ...peer.wait(3000)].length, name).toBeGreaterThan(0);
    }
  });

  it('whatever an ended connection had left: nothing', () => {
    const peer = new Lab().accepted();
    peer.lab.ip.room = 0;
    peer.write('x');
    peer.connection.abort();
    peer.lab.ip.makeRoom();
    expect(peer.sent()).toEqual([]);
  });
});

describe('an error report (RFC 5927)', () => {
  const report = (peer: Peer, kind: Parameters<Lab['ip']['error']>[0], sequence: number, mtu = 0): boolean =>
    peer.lab.ip.error(kind, peer.stackPort, peer.port, peer.stackIss + sequence, mtu);

  it('about the SYN ends a connect: nobody listens (RFC 1122 §4.2.3.9)', () => {
    for (const kind of ['port-unreachable', 'protocol-unreachable'] as const) {
      const peer = new Lab().opening();
      expect(report(peer, kind, 0)).toBe(true);
      expect(peer.events.log).toEqual(['closed ECONNREFUSED']);
    }
    const peer = new Lab().opening();
    report(peer, 'neighbour-unreachable', 0);
    expect(peer.events.log).toEqual(['closed EHOSTUNREACH']);
  });

  it('does not end an established connection; it says why when that times out', () => {
    const peer = new Lab({ userTimeoutMs: 5000 }).accepted();
    peer.write('x');
    expect(report(peer, 'port-unreachable', 1)).toBe(true);
    expect(report(peer, 'host-unreachable', 1)).toBe(true);
    expect(peer.state).toBe('ESTABLISHED');
    peer.wait(6000);
    expect(peer.events.log).toEqual(['closed EHOSTUNREACH']);
  });

  it.each([0, 5, -1000, 100_000])(
    'about what is not in flight is a lie: sequence number %d (§4.1)',
    (sequence) => {
      const peer = new Lab().accepted();
      peer.write('abcd');
      expect(report(peer, 'packet-too-big', sequence, 600)).toBe(false);
      expect(peer.lab.ip.mtu).toBe(1500);
    },
  );

  it('to nobody is not believed', () => {
    expect(new Lab().ip.error('packet-too-big', 1, 2, 3, 600)).toBe(false);
  });

  it('of a smaller path MTU has what was too large sent again in smaller segments at once (RFC 1191 §6.4)', () => {
    const peer = new Lab().accepted();
    expect(peer.write(text(2920)).length).toBe(2);
    expect(report(peer, 'packet-too-big', 1, 1000)).toBe(true);
    const again = peer.sent();
    expect(again.length).toBeGreaterThan(0);
    expect(Math.max(...again.map(({ length }) => length))).toBe(960);
    let all = again.map(({ data }) => data.toString()).join('');
    expect(text(2920).startsWith(all)).toBe(true);
    // And all of it arrives in the end, never larger than the path.
    for (let i = 0; i < 20 && peer.connection.stats.sendQueue > 0; i++) {
      for (const seen of peer.send('A', { acknowledgment: all.length + 1 })) {
        if (seen.sequence === all.length + 1) all += seen.data.toString();
      }
      for (const seen of peer.wait(100)) if (seen.sequence === all.length + 1) all += seen.data.toString();
    }
    expect(all).toBe(text(2920));
  });
});
