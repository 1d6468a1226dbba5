import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { NetError } from '../../src/errors.ts';
import { duplexOf } from '../../src/net/index.ts';
import { FakeFlow } from './fake-flow.ts';

afterEach(() => {
  vi.useRealTimers();
});

describe('reading', () => {
  it('asks the flow only when the reader wants data, one read at a time', async () => {
    const flow = new FakeFlow();
    const duplex = duplexOf(flow);
    await turn();
    expect(flow.calls).toEqual([]);

    duplex.read();
    await turn();
    expect(flow.calls).toEqual(['read']);
    flow.deliver('x'.repeat(65_536));
    await turn();
    expect(flow.calls, 'the high-water mark is reached: the flow keeps the rest').toEqual(['read']);

    expect(duplex.read()?.length).toBe(65_536);
    await turn();
    expect(flow.calls).toEqual(['read', 'read']);
    expect(duplex.bytesRead).toBe(65_536);
  });

  it('ends at the end of the stream and goes on writing (half-close)', async () => {
    const flow = new FakeFlow();
    const duplex = duplexOf(flow);
    duplex.resume();
    await turn();
    flow.deliver(null);
    await once(duplex, 'end');
    expect(duplex.readyState).toBe('writeOnly');
    duplex.write('late');
    await turn();
    expect(flow.written).toEqual(['late']);
    expect(flow.calls).not.toContain('shutdown');
  });

  it('ends the sending side with the peer where half-open is not allowed', async () => {
    const flow = new FakeFlow();
    const duplex = duplexOf(flow, { allowHalfOpen: false });
    duplex.resume();
    await turn();
    flow.deliver(null);
    await once(duplex, 'end');
    await turn();
    expect(flow.calls).toContain('shutdown');
  });

  it("reports the flow's error and destroys itself", async () => {
    const flow = new FakeFlow();
    const duplex = duplexOf(flow);
    duplex.resume();
    await turn();
    const failed = once(duplex, 'error');
    flow.pendingReads[0]!.reject(new NetError('ECONNRESET', { syscall: 'read' }));
    expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET' });
    expect(duplex.destroyed).toBe(true);
  });
});

describe('writing', () => {
  it('calls back when the flow takes more', async () => {
    const flow = new FakeFlow();
    const duplex = duplexOf(flow);
    flow.full = true;
    let called = false;
    duplex.write('one', () => {
      called = true;
    });
    await turn();
    expect(flow.written).toEqual(['one']);
    expect(called).toBe(false);
    flow.pendingWrites[0]!.resolve();
    await turn();
    expect(called).toBe(true);
    expect(duplex.bytesWritten).toBe(3);
  });

  it('hands writes that had to wait to the flow at once, in order', async () => {
    const flow = new FakeFlow();
    const duplex = duplexOf(flow);
    flow.full = true;
    duplex.write('one');
    duplex.write('two');
    duplex.write('three');
    expect(duplex.bytesWritten).toBe(11);
    flow.full = false;
    flow.pendingWrites[0]!.resolve();
    await turn();
    expect(flow.written).toEqual(['one', 'two', 'three']);
    expect(flow.calls).toEqual(['write', 'write']);
  });

  it('finishes when the peer has acknowledged the FIN', async () => {
    const flow = new FakeFlow();
    const duplex = duplexOf(flow);
    duplex.end('last');
    await turn();
    expect(flow.calls).toEqual(['write', 'shutdown']);
    expect(duplex.writableFinished).toBe(false);
    flow.shutdownDone.resolve();
    await once(duplex, 'finish');
  });

  it('reports a write that failed', async () => {
    const flow = new FakeFlow();
    const duplex = duplexOf(flow);
    flow.full = true;
    const failed = once(duplex, 'error');
    duplex.write('one');
    flow.pendingWrites[0]!.reject(new NetError('EPIPE', { syscall: 'write' }));
    expect((await failed)[0]).toMatchObject({ code: 'EPIPE' });
  });
});

describe('destroying', () => {
  it('closes in order what the flow has taken', async () => {
    const flow = new FakeFlow();
    const duplex = duplexOf(flow);
    flow.full = true;
    duplex.write('taken');
    duplex.destroy();
    await once(duplex, 'close');
    expect(flow.calls).toEqual(['write', 'close']);
  });

  it('resets where written bytes never reached the flow', async () => {
    const flow = new FakeFlow();
    const duplex = duplexOf(flow);
    flow.full = true;
    duplex.write('taken');
    duplex.write('left behind');
    duplex.destroy();
    await once(duplex, 'close');
    expect(flow.calls).toEqual(['write', 'abort']);
  });

  it('resets on request', async () => {
    const flow = new FakeFlow();
    const duplex = duplexOf(flow);
    duplex.resetAndDestroy();
    await once(duplex, 'close');
    expect(flow.calls).toEqual(['abort']);
  });

  it('waits for the acknowledgement in destroySoon', async () => {
    const flow = new FakeFlow();
    const duplex = duplexOf(flow);
    duplex.write('all of it');
    duplex.destroySoon();
    await turn();
    expect(duplex.destroyed).toBe(false);
    flow.shutdownDone.resolve();
    await once(duplex, 'close');
    expect(flow.calls).toEqual(['write', 'shutdown', 'close']);
  });
});

describe('the face of net.Socket', () => {
  it('knows both ends', () => {
    const duplex = duplexOf(new FakeFlow());
    expect(duplex).toMatchObject({
      remoteAddress: '10.0.0.1',
      remotePort: 40_000,
      remoteFamily: 'IPv4',
      localAddress: '10.0.0.2',
      localPort: 80,
      connecting: false,
      readyState: 'open',
    });
    expect(duplex.address()).toEqual({ address: '10.0.0.2', family: 'IPv4', port: 80 });
  });

  it('passes options on', () => {
    const flow = new FakeFlow();
    const duplex = duplexOf(flow);
    duplex.setNoDelay().setKeepAlive(true, 5000);
    expect(flow.noDelay).toBe(true);
    expect(flow.keepAlive).toEqual([true, 5000]);
  });

  it('emits timeout after silence, and not while there is traffic', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const flow = new FakeFlow();
    const duplex = duplexOf(flow);
    let timeouts = 0;
    duplex.setTimeout(1000, () => timeouts++);
    vi.advanceTimersByTime(900);
    duplex.write('ping');
    await turn();
    vi.advanceTimersByTime(900);
    expect(timeouts).toBe(0);
    vi.advanceTimersByTime(100);
    expect(timeouts).toBe(1);
    expect(duplex.destroyed).toBe(false);
  });

  it('does not call a slow reader of a large write idle', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const flow = new FakeFlow();
    const duplex = duplexOf(flow);
    let timeouts = 0;
    duplex.setTimeout(1000, () => timeouts++);
    flow.full = true;
    duplex.write('much');
    flow.bytesAcked += 1460;
    vi.advanceTimersByTime(1000);
    expect(timeouts).toBe(0);
    vi.advanceTimersByTime(1000);
    expect(timeouts).toBe(1);
  });

  it('forgets the timeout with 0 and at the end', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const duplex = duplexOf(new FakeFlow());
    let timeouts = 0;
    duplex.setTimeout(1000, () => timeouts++).setTimeout(0);
    const other = duplexOf(new FakeFlow()).setTimeout(1000, () => timeouts++);
    other.destroy();
    vi.advanceTimersByTime(5000);
    expect(timeouts).toBe(0);
  });
});
