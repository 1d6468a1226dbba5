import { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { DuplexNetif } from '../../src/netif/index.ts';
import { A, listen, numbered, send } from './helpers.ts';

/** A stream of frames as tuntap2's `Tap` is; writes are completed by hand. */
class FakeTap extends Duplex {
  readonly written: Uint8Array[] = [];
  #done: (() => void) | null = null;

  constructor() {
    super({ highWaterMark: 4000 });
  }

  override _read(): void {}

  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    this.written.push(chunk);
    this.#done = done;
  }

  complete(): void {
    const done = this.#done;
    this.#done = null;
    done?.();
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('DuplexNetif', () => {
  it('takes one frame per chunk and flushes after', async () => {
    const tap = new FakeTap();
    const netif = new DuplexNetif(tap, { mac: A, name: 'tap9' });
    const recorder = listen(netif);
    for (const number of [1, 2]) tap.push(Buffer.from(numbered(number, 100)));
    tap.push(Buffer.alloc(1519));
    await turn();
    expect(recorder.numbers).toEqual([1, 2]);
    expect(recorder.log.at(-1)).toBe('flush');
    expect(netif.counters).toMatchObject({ rxFrames: 2, rxBytes: 200, rxDropped: 1 });
    expect([netif.name, netif.mtu, netif.mac]).toEqual(['tap9', 1500, A]);
  });

  it('stops when the stream asks to, and never changes what it gave away', async () => {
    const tap = new FakeTap();
    const netif = new DuplexNetif(tap, { mac: A });
    const recorder = listen(netif);
    let sent = 0;
    while (send(netif, numbered(sent, 1000))) sent++;
    expect(sent).toBe(4);
    expect(netif.counters.txStalls).toBe(1);
    recorder.onWritable = () => {
      while (sent < 1000 && send(netif, numbered(sent, 1000))) sent++;
    };
    while (tap.written.length < 1000) {
      tap.complete();
      await turn();
    }
    expect(recorder.log).toContain('writable');
    expect(tap.written.every((frame, i) => Buffer.compare(frame, numbered(i, 1000)) === 0)).toBe(true);
    expect(netif.counters.txBytes).toBe(1_000_000);
  });

  it('sends what is committed before it closes', async () => {
    const tap = new FakeTap();
    const netif = new DuplexNetif(tap, { mac: A });
    const recorder = listen(netif);
    send(netif, numbered(1));
    send(netif, numbered(2));
    const closed = netif.close();
    expect(netif.reserve(60)).toBe(null);
    tap.complete();
    await turn();
    tap.complete();
    await closed;
    expect(tap.written).toHaveLength(2);
    expect(tap.destroyed).toBe(true);
    await turn();
    expect(recorder.log).toEqual(['closed']);
    await netif.close();
  });

  it('says once why the device is gone', async () => {
    const tap = new FakeTap();
    const netif = new DuplexNetif(tap, { mac: A });
    const recorder = listen(netif);
    tap.destroy(new Error('pulled out'));
    await turn();
    expect(recorder.log).toEqual(['closed: pulled out']);
    expect(netif.reserve(60)).toBe(null);
    await netif.close();

    const silent = new FakeTap();
    const other = listen(new DuplexNetif(silent, { mac: A }));
    silent.destroy();
    await turn();
    expect(other.log).toEqual([expect.stringContaining('ENETDOWN')]);
  });
});
