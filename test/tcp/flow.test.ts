import { describe, expect, it } from 'vitest';
import type { Flow } from '../../src/stack.ts';
import { type Connection, TcpFlow } from '../../src/tcp/index.ts';
import { Lab, PEER, type Peer, STACK, text } from './support/lab.ts';

/** What a promise came to by now, after all microtasks. */
async function outcome<T>(promise: Promise<T>): Promise<T | string> {
  let result: T | string = 'pending';
  promise.then(
    (value) => {
      result = value;
    },
    (error: { code?: string | number; name: string }) => {
      result = typeof error.code === 'string' ? error.code : error.name;
    },
  );
  for (let i = 0; i < 20; i++) await Promise.resolve();
  return result;
}

function flowOf(peer: Peer): Flow {
  return new TcpFlow(peer.connection);
}

function string(chunk: Uint8Array | null | string): string | null {
  return chunk instanceof Uint8Array ? Buffer.from(chunk).toString() : chunk;
}

describe('Flow.read', () => {
  it('serves several readers in the order in which they asked', async () => {
    const peer = new Lab().accepted();
    const flow = flowOf(peer);
    const reads = [flow.read(), flow.read(), flow.read()];
    peer.send('A', { data: text(600) });
    peer.send('A', { data: text(600, 1) });
    expect(string(await outcome(reads[0]!))).toBe(text(600));
    expect(string(await outcome(reads[1]!))).toBe(text(600, 1));
    expect(await outcome(reads[2]!)).toBe('pending');
    peer.send('FA');
    expect(await outcome(reads[2]!)).toBeNull();
    expect(await outcome(flow.read())).toBeNull();
  });

  it('gives Buffers, and what was received before a reset, then the error, to every reader', async () => {
    const peer = new Lab().accepted();
    const flow = flowOf(peer);
    peer.send('A', { data: 'last' });
    peer.send('R');
    const chunk = await flow.read();
    expect(Buffer.isBuffer(chunk)).toBe(true);
    expect(string(chunk)).toBe('last');
    expect(await outcome(flow.read())).toBe('ECONNRESET');
    expect(await outcome(flow.read())).toBe('ECONNRESET');
  });

  it('rejects the readers that wait when the connection fails', async () => {
    const peer = new Lab().accepted();
    const flow = flowOf(peer);
    const reads = [flow.read(), flow.read()];
    peer.send('R');
    expect(await Promise.all(reads.map(outcome))).toEqual(['ECONNRESET', 'ECONNRESET']);
  });

  it('ends the iteration with the stream', async () => {
    const peer = new Lab().accepted();
    const flow = flowOf(peer);
    peer.send('A', { data: 'abc' });
    peer.send('FA');
    const chunks: string[] = [];
    for await (const chunk of flow) chunks.push(string(chunk)!);
    expect(chunks).toEqual(['abc']);
  });

  it('is null once the flow was closed, also for those that wait', async () => {
    const peer = new Lab().accepted();
    const flow = flowOf(peer);
    const waiting = flow.read();
    void flow.close();
    expect(await outcome(waiting)).toBeNull();
    expect(await outcome(flow.read())).toBeNull();
  });
});

describe('Flow.write', () => {
  it('resolves at once while there is room, and when the peer has made room otherwise', async () => {
    const peer = new Lab({ sendBuffer: 5000, autoTuning: false }).accepted();
    const flow = flowOf(peer);
    expect(await outcome(flow.write(Buffer.from(text(4000))))).toBeUndefined();
    const second = flow.write(Buffer.from(text(4000)));
    const third = flow.write(Buffer.from(text(10)));
    peer.sent();
    expect(await outcome(second)).toBe('pending');
    peer.send('A', { acknowledgment: 2921 });
    expect(await outcome(second)).toBe('pending');
    peer.send('A', { acknowledgment: 4381 });
    expect(await outcome(second)).toBeUndefined();
    expect(await outcome(third)).toBeUndefined();
  });

  it('rejects with EPIPE after shutdown, with the error after a failure, with TypeError for no bytes', async () => {
    const peer = new Lab().accepted();
    const flow = flowOf(peer);
    expect(await outcome(flow.write('text' as unknown as Uint8Array))).toBe('TypeError');
    expect(await outcome(flow.writev([Buffer.from('a'), 7 as unknown as Uint8Array]))).toBe('TypeError');
    expect(peer.sent()).toEqual([]);
    void flow.shutdown().catch(() => {});
    expect(await outcome(flow.write(Buffer.from('x')))).toBe('EPIPE');
    peer.sent();
    peer.send('R');
    expect(await outcome(flow.write(Buffer.from('x')))).toBe('ECONNRESET');
  });

  it('that waits for room is rejected when the connection fails', async () => {
    const peer = new Lab({ sendBuffer: 100, autoTuning: false }).accepted();
    const flow = flowOf(peer);
    const waiting = flow.write(Buffer.from(text(200)));
    peer.sent();
    peer.send('R');
    expect(await outcome(waiting)).toBe('ECONNRESET');
  });

  it('of several pieces is one stream', async () => {
    const peer = new Lab().accepted();
    await flowOf(peer).writev(['he', '', 'llo'].map((piece) => Buffer.from(piece)));
    expect(peer.sent()).toMatchObject([{ data: Buffer.from('hello') }]);
  });
});

describe('the end of a flow', () => {
  it('shutdown resolves when the peer has acknowledged the FIN, and reading goes on', async () => {
    const peer = new Lab().accepted();
    const flow = flowOf(peer);
    const done = flow.shutdown();
    peer.sent();
    expect(await outcome(done)).toBe('pending');
    peer.send('A');
    expect(await outcome(done)).toBeUndefined();
    peer.send('A', { data: 'more' });
    expect(string(await flow.read())).toBe('more');
    expect(await outcome(flow.shutdown())).toBeUndefined();
  });

  it('shutdown rejects when the connection fails before', async () => {
    const peer = new Lab().accepted();
    const done = flowOf(peer).shutdown();
    peer.sent();
    peer.send('R');
    expect(await outcome(done)).toBe('ECONNRESET');
  });

  it('close resolves when the peer has acknowledged all, or the flow has failed', async () => {
    for (const end of ['A', 'R']) {
      const peer = new Lab().accepted();
      const flow = flowOf(peer);
      await flow.write(Buffer.from('data'));
      const done = flow.close();
      peer.sent();
      expect(await outcome(done)).toBe('pending');
      peer.send(end);
      expect(await outcome(done)).toBeUndefined();
      expect(await outcome(flow.close())).toBeUndefined();
    }
  });

  it('abort resets, and rejects whoever waits', async () => {
    const peer = new Lab().accepted();
    const flow = flowOf(peer);
    const read = flow.read();
    flow.abort();
    expect(peer.sent()).toMatchObject([{ flags: 'RA' }]);
    expect(await outcome(read)).toBe('ECONNABORTED');
    expect(flow.stats.state).toBe('CLOSED');
    flow.abort();
    expect(peer.sent()).toEqual([]);
  });

  it('is seen by a flow that was handed over after it', async () => {
    const peer = new Lab().accepted();
    peer.send('A', { data: 'came and went' });
    peer.send('R');
    const flow = flowOf(peer);
    expect(string(await flow.read())).toBe('came and went');
    expect(await outcome(flow.read())).toBe('ECONNRESET');
  });
});

describe('Tcp.connect and Tcp.listen', () => {
  it('connect resolves with the flow, its ends named', async () => {
    const lab = new Lab();
    const connecting = lab.tcp.connect({ host: PEER, port: 80 });
    await outcome(connecting);
    const [connection] = lab.layer.connections() as [Connection];
    const peer = lab.peer({ port: 80 }, connection.localPort);
    peer.connection = connection;
    expect(peer.sent()).toMatchObject([{ flags: 'S' }]);
    peer.send('SA');
    const flow = await connecting;
    expect(flow.remote).toEqual({ address: PEER, port: 80, family: 'IPv4' });
    expect(flow.local).toEqual({ address: STACK, port: connection.localPort, family: 'IPv4' });
  });

  it('connect gives up after timeoutMs, and forgets the connection', async () => {
    const lab = new Lab();
    const connecting = lab.tcp.connect({ host: PEER, port: 80, timeoutMs: 500 });
    await outcome(connecting);
    lab.advance(501);
    expect(await outcome(connecting)).toBe('ETIMEDOUT');
    expect(lab.layer.statistics()).toMatchObject({ flows: 0 });
    expect(lab.timers.pending).toBe(0);
  });

  it('connect can be aborted before, and meanwhile', async () => {
    const lab = new Lab();
    expect(await outcome(lab.tcp.connect({ host: PEER, port: 80, signal: AbortSignal.abort() }))).toBe(
      'AbortError',
    );
    const controller = new AbortController();
    const connecting = lab.tcp.connect({ host: PEER, port: 80, signal: controller.signal });
    await outcome(connecting);
    const reason = new Error('changed my mind');
    controller.abort(reason);
    await expect(connecting).rejects.toBe(reason);
    expect(lab.layer.statistics()).toMatchObject({ flows: 0 });
  });

  it('listen hands connections over outside the receive path, with what came meanwhile', async () => {
    const lab = new Lab();
    const flows: Flow[] = [];
    const listener = await lab.tcp.listen({ port: 0 }, (flow) => flows.push(flow));
    const peer = lab.peer({}, listener.local.port);
    peer.send('S');
    peer.queue('A');
    peer.queue('A', { data: 'hello' });
    lab.ip.flush();
    expect(flows.length).toBe(0);
    lab.settle();
    expect(flows.length).toBe(1);
    expect(string(await flows[0]!.read())).toBe('hello');
    await listener.close();
    // What was accepted lives on.
    expect(flows[0]!.stats.state).toBe('ESTABLISHED');
    expect(lab.peer({ port: 2 }, listener.local.port).send('S')).toMatchObject([{ flags: 'RA' }]);
  });

  it('listen refuses a port in use, an address of others, a port that is none', async () => {
    const { tcp } = new Lab();
    await tcp.listen({ port: 80 }, () => {});
    expect(await outcome(tcp.listen({ port: 80 }, () => {}))).toBe('EADDRINUSE');
    expect(await outcome(tcp.listen({ port: 80, host: STACK }, () => {}))).toBe('EADDRINUSE');
    expect(await outcome(tcp.listen({ port: 81, host: '10.9.9.9' }, () => {}))).toBe('EADDRNOTAVAIL');
    expect(await outcome(tcp.listen({ port: 65_536 }, () => {}))).toBe('EINVAL');
  });

  it('prefers the listener of the address to that of all', async () => {
    const lab = new Lab();
    const seen: string[] = [];
    await lab.tcp.listen({ port: 80, host: STACK }, () => seen.push('one'));
    expect(await outcome(lab.tcp.listen({ port: 80, host: '0.0.0.0' }, () => seen.push('all')))).toBe(
      'EADDRINUSE',
    );
    const peer = lab.peer();
    peer.send('S');
    peer.send('A');
    expect(seen).toEqual(['one']);
  });

  it('close of the layer ends everything at once and leaves no timer', async () => {
    const lab = new Lab();
    const peer = lab.accepted();
    peer.write('x');
    lab.layer.close();
    expect(peer.sent()).toMatchObject([{ flags: 'RA' }]);
    expect(lab.timers.pending).toBe(0);
    expect(lab.layer.statistics()).toMatchObject({ flows: 0, listeners: 0, segmentsInFlight: 0 });
    expect(await outcome(lab.tcp.connect({ host: PEER, port: 80 }))).toBe('ENETDOWN');
  });
});

describe('the tail of what was written', () => {
  /** Lengths of what was sent since the last look. */
  const lengths = (peer: Peer): number[] => peer.sent().map(({ length }) => length);
  const full = (count: number): number[] => new Array<number>(count).fill(1460);

  /** A batch with one ACK, and nothing yet of what is put off to the end of the turn. */
  function acknowledge(peer: Peer, segments: number): void {
    peer.queue('A', { acknowledgment: 1 + segments * 1460 });
    peer.lab.ip.flush();
  }

  /** 10,000 bytes written, which is more than the buffer takes: the writer waits. */
  function blocked() {
    const peer = new Lab({ sendBuffer: 8000, autoTuning: false }).accepted();
    const flow = flowOf(peer);
    const written = flow.write(Buffer.alloc(10_000));
    peer.lab.settle();
    return { peer, flow, written };
  }

  it('waits for a writer who waits for room, and goes as part of a full-sized segment', async () => {
    const { peer, flow, written } = blocked();
    expect(lengths(peer)).toEqual(full(6));
    const more = written.then(() => flow.write(Buffer.alloc(10_000)));
    acknowledge(peer, 3);
    await outcome(more);
    peer.lab.settle();
    expect(lengths(peer)).toEqual(full(7));
  });

  it('goes in the same turn where the writer, told of room, has no more', async () => {
    const { peer, written } = blocked();
    expect(lengths(peer)).toEqual(full(6));
    acknowledge(peer, 3);
    expect(peer.lab.ip.sent).toEqual([]);
    await outcome(written);
    peer.lab.settle();
    expect(lengths(peer)).toEqual([10_000 - 6 * 1460]);
  });

  it('does not wait where little is in flight, whose ACK the peer may delay', async () => {
    const peer = new Lab({ sendBuffer: 2000, autoTuning: false }).accepted();
    const flow = flowOf(peer);
    void flow.write(Buffer.alloc(2500));
    peer.lab.settle();
    expect(lengths(peer)).toEqual([1460, 1040]);
  });

  it('does not wait for anybody once all is written', () => {
    const { peer, flow } = blocked();
    expect(lengths(peer)).toEqual(full(6));
    void flow.shutdown();
    peer.lab.settle();
    expect(peer.sent()).toMatchObject([{ flags: 'FPA', length: 10_000 - 6 * 1460 }]);
  });

  it('goes at the end of the turn where there is room for more that does not come', () => {
    const peer = new Lab().accepted();
    void flowOf(peer).write(Buffer.alloc(5000));
    peer.lab.settle();
    expect(lengths(peer)).toEqual([...full(3), 5000 - 3 * 1460]);
  });

  it('goes when what is in flight is acknowledged, whatever the writer does', () => {
    const { peer } = blocked();
    expect(lengths(peer)).toEqual(full(6));
    acknowledge(peer, 6);
    expect(lengths(peer)).toEqual([10_000 - 6 * 1460]);
  });
});
