import { describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import { Lab, option, PEER, text } from './support/lab.ts';

describe('passive open', () => {
  it('answers a SYN with every option that both ends know (RFC 7323 §2.2, §3.2, RFC 2018 §2)', () => {
    const lab = new Lab();
    lab.listen();
    const peer = lab.peer({ scale: 3, sack: true, timestamps: true });
    const [synAck] = peer.send('S');
    expect(synAck).toMatchObject({
      flags: 'SA',
      sequence: 0,
      acknowledgment: 1,
      mss: 1460,
      sackPermitted: true,
    });
    expect(synAck!.scale).toBeGreaterThan(0);
    expect(synAck!.timestamps![1]).toBe(lab.clock.now());
    expect(synAck!.window, 'never scaled in a SYN').toBeGreaterThan(1460);
  });

  it.each([
    ['scale', { scale: 3 }, { sackPermitted: false, timestamps: undefined }],
    ['sack', { sack: true }, { scale: undefined, timestamps: undefined }],
    ['timestamps', { timestamps: true }, { scale: undefined, sackPermitted: false }],
    ['none', {}, { scale: undefined, sackPermitted: false, timestamps: undefined }],
  ] as const)('offers nothing that the peer did not: %s', (_name, offered, absent) => {
    const lab = new Lab();
    lab.listen();
    expect(lab.peer(offered).send('S')).toMatchObject([{ flags: 'SA', mss: 1460, ...absent }]);
  });

  it('offers nothing that is switched off', () => {
    const lab = new Lab({ windowScaling: false, timestamps: false, sack: false });
    lab.listen();
    expect(lab.peer({ scale: 3, sack: true, timestamps: true }).send('S')).toMatchObject([
      { flags: 'SA', scale: undefined, sackPermitted: false, timestamps: undefined },
    ]);
  });

  it('takes data and FIN that come with the ACK of the handshake', () => {
    const lab = new Lab();
    const listener = lab.listen();
    const peer = lab.peer();
    peer.send('S');
    peer.send('FA', { data: 'hello' });
    peer.connection = listener.accept()!;
    expect(peer.state).toBe('CLOSE-WAIT');
    expect(peer.readAll()).toBe('hello');
    expect(peer.connection.endOfStream).toBe(true);
  });

  it('sends the SYN-ACK again for a SYN that comes again (RFC 9293 §3.10.7.4)', () => {
    const lab = new Lab();
    lab.listen();
    const peer = lab.peer();
    peer.send('S');
    expect(peer.send('S', { sequence: 0 })).toMatchObject([{ flags: 'SA', sequence: 0, acknowledgment: 1 }]);
    peer.send('A', { sequence: 1 });
    expect(lab.layer.statistics()).toMatchObject({ flows: 1, states: { ESTABLISHED: 1 } });
  });

  it('sends the SYN-ACK again by the clock, doubling, and forgets the half-open connection in the end', () => {
    const lab = new Lab({ synAckRetries: 2 });
    const listener = lab.listen();
    const peer = lab.peer();
    peer.send('S');
    expect(peer.wait(999)).toEqual([]);
    expect(peer.wait(2)).toMatchObject([{ flags: 'SA' }]);
    expect(peer.wait(1990)).toEqual([]);
    expect(peer.wait(20)).toMatchObject([{ flags: 'SA' }]);
    expect(listener.halfOpen).toBe(1);
    expect(peer.wait(4000)).toEqual([]);
    expect(listener.halfOpen).toBe(0);
    expect(lab.timers.pending).toBe(0);
  });

  it.each([0, 2])(
    'resets whoever acknowledges something else: ACK %d (RFC 9293 §3.10.7.4)',
    (acknowledgment) => {
      const lab = new Lab();
      const listener = lab.listen();
      const peer = lab.peer();
      peer.send('S');
      expect(peer.send('A', { acknowledgment })).toMatchObject([{ flags: 'R', sequence: acknowledgment }]);
      expect(listener.halfOpen).toBe(1);
      expect(peer.send('A', { sequence: 1 })).toEqual([]);
      expect(listener.waiting).toBe(1);
    },
  );

  it('forgets a half-open connection at a reset of its exact number only (RFC 5961 §3.2)', () => {
    const lab = new Lab();
    const listener = lab.listen();
    const peer = lab.peer();
    peer.send('S');
    expect(peer.send('R', { sequence: 2 })).toMatchObject([{ flags: 'A', acknowledgment: 1 }]);
    expect(listener.halfOpen).toBe(1);
    expect(peer.send('R', { sequence: 1 })).toEqual([]);
    expect(listener.halfOpen).toBe(0);
    expect(lab.timers.pending).toBe(0);
  });

  it('answers no more SYNs than the SYN queue holds, and never spins on a flood', () => {
    const lab = new Lab({ synQueue: 8, synCookies: false });
    const listener = lab.listen();
    for (let port = 1; port <= 100; port++) lab.peer({ port }).send('S');
    expect(listener.halfOpen).toBe(8);
    expect(lab.layer.counters.listenOverflows).toBe(92);
    lab.advance(120_000);
    expect(listener.halfOpen).toBe(0);
    const peer = lab.peer();
    expect(peer.send('S')).toMatchObject([{ flags: 'SA' }]);
  });

  it('answers what the SYN queue cannot hold by cookies, of which nothing is kept (RFC 4987 §3.6)', () => {
    const lab = new Lab({ synQueue: 1 });
    const listener = lab.listen();
    lab.peer({ port: 1 }).send('S');
    const peer = lab.peer({ port: 2, scale: 5, sack: true, timestamps: true });
    expect(peer.send('S')).toMatchObject([{ flags: 'SA', acknowledgment: 1, sackPermitted: true }]);
    expect(listener.halfOpen).toBe(1);
    expect(lab.layer.statistics()).toMatchObject({ flows: 1 });
    lab.advance(3000);
    expect(peer.send('A', { acknowledgment: 2 }), 'a guess').toMatchObject([{ flags: 'R' }]);
    peer.send('A', { data: 'hello', window: 100 });
    peer.connection = listener.accept()!;
    expect(peer.readAll()).toBe('hello');
    expect(peer.connection).toMatchObject({ timestamps: true, selective: true });
    expect(peer.connection.stats.sendWindow).toBe(3200);
    lab.advance(300_000);
    expect(lab.peer({ port: 3 }).send('A', { acknowledgment: 1 })).toMatchObject([{ flags: 'R' }]);
  });

  it('takes no more connections than the backlog; the rest wait in SYN-RECEIVED until there is room', () => {
    const lab = new Lab();
    const listener = lab.listen(80, 1);
    const [first, second] = [lab.peer({ port: 1 }), lab.peer({ port: 2 })];
    first.send('S');
    second.send('S');
    first.send('A');
    expect(second.send('A', { data: 'early' })).toEqual([]);
    expect([listener.waiting, listener.halfOpen]).toEqual([1, 1]);
    expect(lab.peer({ port: 3 }).send('S')).toEqual([]);
    listener.accept();
    // Our SYN-ACK comes again, and the peer's ACK with it.
    expect(second.wait(1001)).toMatchObject([{ flags: 'SA' }]);
    second.send('A', { sequence: 1, data: 'early' });
    second.connection = listener.accept()!;
    expect(second.readAll()).toBe('early');
  });

  it('resets what is half-open or unaccepted when the listener closes', () => {
    const lab = new Lab();
    const listener = lab.listen();
    const [half, ready] = [lab.peer({ port: 1 }), lab.peer({ port: 2 })];
    half.send('S');
    ready.send('S');
    ready.send('A');
    listener.close();
    const resets = lab.ip.sent.splice(0).map((raw) => [raw.destinationPort, raw.flags]);
    expect(resets.sort()).toEqual([
      [1, 'RA'],
      [2, 'RA'],
    ]);
    expect(lab.layer.statistics()).toMatchObject({ flows: 0, listeners: 0 });
    expect(lab.peer({ port: 3 }).send('S')).toMatchObject([{ flags: 'RA', acknowledgment: 1 }]);
  });

  it('counts a SYN-ACK that answered two SYNs as no RTT sample (Karn)', () => {
    const lab = new Lab();
    const listener = lab.listen();
    const peer = lab.peer();
    peer.send('S');
    lab.advance(300);
    peer.send('S', { sequence: 0 });
    peer.send('A', { sequence: 1 });
    expect(listener.accept()!.stats).toMatchObject({ rttMs: 0, minRttMs: 0 });
  });
});

describe('active open', () => {
  it('offers everything, and uses what the SYN-ACK agrees to', () => {
    const lab = new Lab();
    const peer = lab.connected({ scale: 2, sack: true, timestamps: true, window: 1000 });
    // The SYN-ACK's own window is not scaled, the next is.
    expect(peer.connection.stats.sendWindow).toBe(1000);
    peer.send('A');
    expect(peer.connection.stats.sendWindow).toBe(4000);
    expect(peer.write('x')).toMatchObject([
      { data: Buffer.from('x'), timestamps: [expect.any(Number), expect.any(Number)] },
    ]);
  });

  it('uses nothing that the SYN-ACK is silent of', () => {
    const lab = new Lab();
    const peer = lab.connected({ window: 1000 });
    peer.send('A');
    expect(peer.connection.stats.sendWindow).toBe(1000);
    const [data] = peer.write('x');
    expect(data).toMatchObject({ timestamps: undefined });
    expect(data!.window, 'not scaled').toBe(65_535);
  });

  it('sends no more than the peer announced, and 536 bytes where it announced nothing (RFC 9293 §3.7.1)', () => {
    const lab = new Lab();
    const announced = lab.connected({ mss: 1000 });
    expect(announced.write(text(3000)).map((seen) => seen.length)).toEqual([1000, 1000, 1000]);
    const silent = lab.opening({ port: 81 });
    silent.send('SA', { options: [] });
    expect(silent.write(text(1072)).map((seen) => seen.length)).toEqual([536, 536]);
  });

  it('takes data that comes with the SYN-ACK', () => {
    const lab = new Lab();
    const peer = lab.opening();
    expect(peer.send('SA', { data: 'banner' })).toMatchObject([{ flags: 'A', acknowledgment: 7 }]);
    expect(peer.readAll()).toBe('banner');
  });

  it.each([0, 2, -1])(
    'resets a SYN-ACK of something else: ACK %d, and waits on (RFC 9293 §3.10.7.3)',
    (acknowledgment) => {
      const lab = new Lab();
      const peer = lab.opening();
      expect(peer.send('SA', { acknowledgment, sequence: 0 })).toMatchObject([
        { flags: 'R', sequence: acknowledgment },
      ]);
      expect(peer.state).toBe('SYN-SENT');
      peer.send('SA');
      expect(peer.state).toBe('ESTABLISHED');
    },
  );

  it('is refused by a reset that acknowledges the SYN, not by any other (RFC 9293 §3.10.7.3)', () => {
    const lab = new Lab();
    const peer = lab.opening();
    expect(peer.send('R', { sequence: 0 })).toEqual([]);
    expect(peer.send('RA', { sequence: 0, acknowledgment: 0 })).toEqual([]);
    expect(peer.state).toBe('SYN-SENT');
    peer.send('RA', { sequence: 0 });
    expect(peer.events.log).toEqual(['closed ECONNREFUSED']);
    expect(peer.connection.error).toMatchObject({
      code: 'ECONNREFUSED',
      syscall: 'connect',
      address: PEER,
      port: 80,
    });
    expect(lab.timers.pending).toBe(0);
  });

  it('sends the SYN again after 1, 2, 4 s, and gives up with ETIMEDOUT (RFC 6298 §2.1, §5.5)', () => {
    const lab = new Lab({ synRetries: 2 });
    const peer = lab.opening();
    expect(peer.wait(1001)).toMatchObject([{ flags: 'S', sequence: 0 }]);
    expect(peer.wait(1990)).toEqual([]);
    expect(peer.wait(20)).toMatchObject([{ flags: 'S', sequence: 0 }]);
    expect(peer.wait(3980)).toEqual([]);
    expect(peer.events.log).toEqual([]);
    peer.wait(30);
    expect(peer.events.log).toEqual(['closed ETIMEDOUT']);
    expect(lab.timers.pending).toBe(0);
  });

  it('starts with one segment and an RTO of 3 s after a lost SYN (RFC 5681 §3.1, RFC 6298 §5.7)', () => {
    const lab = new Lab();
    const peer = lab.opening();
    peer.wait(1001);
    peer.send('SA');
    expect(peer.connection.stats).toMatchObject({ cwnd: 1460, rtoMs: 3000, rttMs: 0 });
    expect(peer.write(text(5000)).length).toBe(1);
  });

  it('starts with ten segments otherwise (RFC 6928)', () => {
    const lab = new Lab();
    const peer = lab.connected();
    expect(peer.write(text(40_000)).length).toBe(10);
  });

  it('is not misled by data, or a FIN, without SYN', () => {
    const lab = new Lab();
    const peer = lab.opening();
    expect(peer.send('A', { data: 'x', sequence: 1 })).toEqual([]);
    expect(peer.send('FA', { sequence: 1 })).toEqual([]);
    expect(peer.state).toBe('SYN-SENT');
  });

  it('sends what was written before the handshake was over, and FIN after it', () => {
    const lab = new Lab();
    const peer = lab.opening();
    expect(peer.write('early')).toEqual([]);
    const answer = peer.send('SA');
    expect(answer.map((seen) => seen.data.toString()).join('')).toBe('early');
    peer.connection.shutdown();
    expect(peer.sent()).toMatchObject([{ flags: 'FA', sequence: 6 }]);
  });

  it('ends without a word when it is closed in SYN-SENT (RFC 9293 §3.10.4)', () => {
    const lab = new Lab();
    const peer = lab.opening();
    peer.connection.close();
    expect(peer.sent()).toEqual([]);
    expect(peer.events.log).toEqual(['closed in order']);
    expect(lab.layer.statistics()).toMatchObject({ flows: 0 });
    expect(peer.send('SA')).toMatchObject([{ flags: 'R', sequence: 1 }]);
  });

  it('refuses what cannot be a destination', () => {
    const lab = new Lab();
    const connect =
      (address: string, remotePort: number): (() => unknown) =>
      () =>
        lab.layer.connect({ remote: IpAddress.parse(address), remotePort });
    expect(connect('224.0.0.1', 80)).toThrow(expect.objectContaining({ code: 'ENETUNREACH' }));
    expect(connect('255.255.255.255', 80)).toThrow(expect.objectContaining({ code: 'ENETUNREACH' }));
    expect(connect('192.0.2.1', 80)).toThrow(expect.objectContaining({ code: 'ENETUNREACH' }));
    expect(connect(PEER, 0)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(connect(PEER, 65_536)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('says EADDRNOTAVAIL when every ephemeral port is in use toward the destination, and only there', () => {
    const lab = new Lab({ ephemeralPorts: [40_000, 40_002] });
    const connect = (remotePort: number): number =>
      lab.layer.connect({ remote: IpAddress.parse(PEER), remotePort }).localPort;
    expect(new Set([connect(80), connect(80), connect(80)])).toEqual(new Set([40_000, 40_001, 40_002]));
    expect(() => connect(80)).toThrow(expect.objectContaining({ code: 'EADDRNOTAVAIL', syscall: 'connect' }));
    expect(connect(81)).toBeGreaterThanOrEqual(40_000);
  });

  it('says EADDRINUSE for a four-tuple that is in use', () => {
    const lab = new Lab();
    const connect = (): unknown =>
      lab.layer.connect({ remote: IpAddress.parse(PEER), remotePort: 80, localPort: 5000 });
    connect();
    expect(connect).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }));
  });
});

describe('simultaneous open (RFC 9293 §3.5, figure 7)', () => {
  it('ends with both established, the window of the SYN-ACK not scaled', () => {
    const lab = new Lab();
    const peer = lab.opening({ scale: 7, window: 4096 });
    expect(peer.send('S')).toMatchObject([{ flags: 'SA', sequence: 0, acknowledgment: 1 }]);
    expect(peer.state).toBe('SYN-RECEIVED');
    // The peer got our SYN and answers it.
    expect(peer.send('SA', { sequence: 0 })).toMatchObject([{ flags: 'A', sequence: 1, acknowledgment: 1 }]);
    expect(peer.state).toBe('ESTABLISHED');
    expect(peer.events.log).toEqual(['connected']);
    expect(peer.connection.stats.sendWindow).toBe(4096);
  });

  it('is over as well when the peer only acknowledges our SYN-ACK', () => {
    const lab = new Lab();
    const peer = lab.opening();
    peer.send('S');
    peer.send('A');
    expect(peer.state).toBe('ESTABLISHED');
  });

  it('is refused by a reset', () => {
    const lab = new Lab();
    const peer = lab.opening();
    peer.send('S');
    peer.send('R');
    expect(peer.events.log).toEqual(['closed ECONNREFUSED']);
  });
});

describe('segments to nobody (RFC 9293 §3.10.7.1)', () => {
  it('are answered with a reset that their sender will believe', () => {
    const lab = new Lab();
    const peer = lab.peer();
    expect(peer.send('S', { data: 'ab' })).toMatchObject([{ flags: 'RA', sequence: 0, acknowledgment: 3 }]);
    expect(peer.send('FA', { sequence: 9, acknowledgment: 77 })).toMatchObject([
      { flags: 'R', sequence: 77 },
    ]);
  });

  it('are not answered if they are resets', () => {
    const lab = new Lab();
    expect(lab.peer().send('R')).toEqual([]);
    expect(lab.peer().send('RA')).toEqual([]);
  });

  it('are reset by a listener if they acknowledge anything, and dropped if they are no SYN', () => {
    const lab = new Lab();
    lab.listen();
    expect(lab.peer().send('A', { acknowledgment: 5 })).toMatchObject([{ flags: 'R', sequence: 5 }]);
    expect(lab.peer().send('F')).toEqual([]);
    expect(lab.layer.statistics()).toMatchObject({ flows: 0 });
  });

  it('to a group are dropped (RFC 1122 §4.2.3.10)', () => {
    const lab = new Lab();
    lab.listen();
    lab.ip.receive(PEER, '224.0.0.1', new Array<number>(20).fill(0), true);
    expect(lab.layer.counters.inErrs).toBe(1);
    expect(lab.ip.sent).toEqual([]);
  });

  it('with a damaged header or checksum are counted and dropped', () => {
    const lab = new Lab();
    lab.listen();
    const bytes = new Array<number>(20).fill(0);
    bytes[1] = bytes[3] = 80;
    lab.ip.receive(PEER, '10.0.0.2', bytes);
    lab.ip.receive(PEER, '10.0.0.2', bytes.slice(0, 19));
    expect(lab.layer.counters).toMatchObject({ inErrs: 2, inCsumErrors: 1 });
    expect(option.mss(1460)).toEqual([2, 4, 5, 180]);
  });
});
