import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import pcap from 'pcap-parser';
import { afterAll, describe, expect, it } from 'vitest';
import { MacAddress } from '../../src/address/index.ts';
import { set16 } from '../../src/bytes/index.ts';
import { complement, sum } from '../../src/checksum/index.ts';
import { captureFile } from '../../src/cli/capture-file.ts';
import {
  type CaptureSink,
  CHECKSUM_PARTIAL,
  capture,
  createCable,
  type Frame,
} from '../../src/netif/index.ts';
import { VirtualClock } from '../../src/time/index.ts';
import { listen, numbered, send } from './helpers.ts';

const directory = mkdtempSync(join(tmpdir(), 'capture-'));
afterAll(() => rmSync(directory, { recursive: true }));

class MemorySink implements CaptureSink {
  readonly chunks: Uint8Array[] = [];
  ended = 0;

  write(chunk: Uint8Array): void {
    this.chunks.push(chunk);
  }

  async end(): Promise<void> {
    this.ended++;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

interface Packet {
  readonly at: number;
  readonly length: number;
  readonly data: Buffer;
}

interface Parsed {
  readonly header: { readonly snapshotLength: number; readonly linkLayerType: number };
  readonly packets: Packet[];
}

function parse(bytes: Buffer): Promise<Parsed> {
  return new Promise((resolve, reject) => {
    let header: Parsed['header'];
    const packets: Packet[] = [];
    const parser = pcap.parse(Readable.from([bytes]));
    parser.on('globalHeader', (value) => {
      header = value;
    });
    parser.on('packet', ({ header: { timestampSeconds, timestampMicroseconds, originalLength }, data }) =>
      packets.push({ at: timestampSeconds + timestampMicroseconds / 1e6, length: originalLength, data }),
    );
    parser.on('error', reject);
    parser.on('end', () => resolve({ header, packets }));
  });
}

/** A UDP datagram in IPv4 in Ethernet, its UDP checksum left to the device. */
function udp(payload: number): Uint8Array {
  const size = 14 + 20 + 8 + payload;
  const bytes = new Uint8Array(size).fill(0x61);
  MacAddress.BROADCAST.write(bytes, 0);
  MacAddress.ZERO.write(bytes, 6);
  set16(bytes, 12, 0x0800);
  bytes.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 14);
  set16(bytes, 16, size - 14);
  set16(bytes, 24, complement(sum(bytes, 14, 34)));
  set16(bytes, 34, 1000);
  set16(bytes, 36, 2000);
  set16(bytes, 38, 8 + payload);
  set16(bytes, 40, sum(bytes, 26, 34, 17 + 8 + payload));
  return bytes;
}

const partial = (frame: Frame): void => {
  frame.checksum = CHECKSUM_PARTIAL;
  frame.checksumStart = frame.start + 34;
  frame.checksumOffset = 6;
};

const OFFLOADS = { checksum: 'partial', segmentation: 65_550 } as const;

function captured(sink: CaptureSink, options: { snapLength?: number; epochMs?: number } = {}) {
  const clock = new VirtualClock();
  const [bare, far] = createCable({ clock, offloads: OFFLOADS });
  const near = capture(bare, sink, { clock, ...options });
  return { clock, near, far, heard: { near: listen(near), far: listen(far) } };
}

describe('capture', () => {
  it('writes both directions, with the time of the clock', async () => {
    const sink = new MemorySink();
    const { clock, near, far, heard } = captured(sink, { epochMs: 1_700_000_000_000 });
    send(near, numbered(1, 60));
    clock.advanceTo(1.5);
    send(far, numbered(2, 1514));
    clock.advanceTo(2.25);
    send(near, numbered(3, 65_550));
    await near.close();
    expect(sink.ended).toBe(1);
    const { header, packets } = await parse(sink.bytes);
    expect(header).toMatchObject({ linkLayerType: 1, snapshotLength: 262_144 });
    expect(packets.map(({ data }) => data)).toEqual(
      [numbered(1, 60), numbered(2, 1514), numbered(3, 65_550)].map((bytes) => Buffer.from(bytes)),
    );
    expect(packets.map(({ at }) => at)).toEqual([1_700_000_000, 1_700_000_000.0015, 1_700_000_000.00225]);
    clock.advanceTo(10);
    expect(heard.far.numbers).toEqual([1, 3]);
    expect(heard.near.numbers).toEqual([2]);
    expect(near.counters.txFrames).toBe(2);
  });

  it('is a valid file before the first frame', async () => {
    const sink = new MemorySink();
    const { clock } = captured(sink);
    expect((await parse(sink.bytes)).packets).toEqual([]);
    expect(clock.step()).toBe(false);
  });

  it('hands records over soon, or in large chunks when there are many', () => {
    const sink = new MemorySink();
    const { clock, near } = captured(sink);
    send(near, numbered(1));
    clock.advanceTo(99);
    expect(sink.chunks).toHaveLength(1);
    clock.advanceTo(100);
    expect(sink.chunks).toHaveLength(2);
    for (let i = 0; i < 200; i++) {
      send(near, numbered(i, 1514));
      clock.advanceTo(100);
    }
    expect(
      sink.chunks
        .map(({ length }) => length)
        .slice(2)
        .every((length) => length > 64 * 1024),
    ).toBe(true);
    expect(sink.chunks).toHaveLength(4);
  });

  it('cuts records at the snap length', async () => {
    const sink = new MemorySink();
    const { near } = captured(sink, { snapLength: 64 });
    send(near, numbered(1, 40));
    send(near, numbered(2, 1000));
    send(near, udp(1000), partial);
    await near.close();
    const { packets } = await parse(sink.bytes);
    expect(packets.map(({ data, length }) => [data.length, length])).toEqual([
      [40, 40],
      [64, 1000],
      [64, 1042],
    ]);
    expect(() => captured(sink, { snapLength: 0 })).toThrow(RangeError);
  });

  it('shows complete checksums where they are left to the device, and leaves the frame as it is', async () => {
    const sink = new MemorySink();
    const { clock, near, far, heard } = captured(sink);
    const datagram = udp(101);
    send(near, datagram, partial);
    send(far, datagram, partial);
    clock.advanceTo(0);
    await near.close();
    expect([heard.far.frames[0], heard.near.frames[0]]).toEqual([datagram, datagram]);
    const { packets } = await parse(sink.bytes);
    expect(packets).toHaveLength(2);
    for (const { data } of packets) expect(sum(data, 26, data.length, 17 + 109)).toBe(0xffff);
  });

  it.skipIf(spawnSync('tshark', ['--version']).error !== undefined)(
    'is read by tshark (skipped where that is not installed)',
    async () => {
      const sink = new MemorySink();
      const { clock, near, far } = captured(sink);
      send(near, udp(11), partial);
      clock.advanceTo(12.345);
      send(far, udp(60_000), partial);
      clock.advanceTo(20);
      await near.close();
      const path = join(directory, 'tshark.pcap');
      writeFileSync(path, sink.bytes);
      const fields = ['frame.time_relative', 'udp.length', 'udp.checksum.status'].flatMap((field) => [
        '-e',
        field,
      ]);
      const text = execFileSync(
        'tshark',
        ['-r', path, '-o', 'udp.check_checksum:TRUE', '-T', 'fields', ...fields],
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
      );
      const rows = text
        .trim()
        .split('\n')
        .map((row) => row.split('\t'));
      expect(rows.map(([time, length, status]) => [Number(time), length, status])).toEqual([
        [0, '19', '1'],
        [0.012345, '60008', '1'],
      ]);
    },
  );
});

describe('captureFile', () => {
  it('writes a capture to a file', async () => {
    const path = join(directory, 'file.pcap');
    const sink = captureFile(path);
    const { clock, near } = captured(sink);
    for (let i = 0; i < 1000; i++) {
      send(near, numbered(i, 1514));
      clock.advanceTo(i);
    }
    await near.close();
    await sink.end();
    const { packets } = await parse(readFileSync(path));
    expect(packets).toHaveLength(1000);
    expect(packets.every(({ data }, i) => Buffer.compare(data, numbered(i, 1514)) === 0)).toBe(true);
    expect(sink.droppedRecords).toBe(0);
  });

  it('stores all at once when it is told to, and goes on', async () => {
    const path = join(directory, 'sync.pcap');
    const sink = captureFile(path);
    const { clock, near } = captured(sink);
    const burst = (from: number, to: number): void => {
      for (let i = from; i < to; i++) {
        send(near, numbered(i, 1514));
        clock.advanceTo(i);
      }
    };
    burst(0, 500);
    sink.flushSync();
    const { packets } = await parse(readFileSync(path));
    expect(packets).toHaveLength(500);
    burst(500, 1000);
    await new Promise((resolve) => setTimeout(resolve, 5));
    burst(1000, 1200);
    sink.flushSync();
    burst(1200, 1300);
    await near.close();
    const all = (await parse(readFileSync(path))).packets;
    expect(all).toHaveLength(1300);
    expect(all.every(({ data }, i) => Buffer.compare(data, numbered(i, 1514)) === 0)).toBe(true);
  });

  it('drops and counts whole records when the disk does not follow', async () => {
    const path = join(directory, 'slow.pcap');
    const sink = captureFile(path, { backlogBytes: 300_000 });
    const { clock, near } = captured(sink);
    for (let i = 0; i < 1000; i++) {
      send(near, numbered(i, 1514));
      clock.advanceTo(i / 1000);
    }
    await near.close();
    const { packets } = await parse(readFileSync(path));
    expect(sink.droppedRecords).toBeGreaterThan(500);
    expect(packets.length + sink.droppedRecords).toBe(1000);
    expect(statSync(path).size).toBeLessThan(320_000);
  });

  it('reports a full disk when it ends, and counts what is lost', async () => {
    const sink = captureFile('/dev/full');
    const { clock, near } = captured(sink);
    send(near, numbered(1));
    clock.advanceTo(200);
    await new Promise((resolve) => setTimeout(resolve, 20));
    send(near, numbered(2));
    await expect(near.close()).rejects.toThrow(expect.objectContaining({ code: 'ENOSPC' }));
    expect(sink.droppedRecords).toBe(2);
    expect(() => captureFile(join(directory, 'none', 'x.pcap'))).toThrow(
      expect.objectContaining({ code: 'ENOENT' }),
    );
  });
});
