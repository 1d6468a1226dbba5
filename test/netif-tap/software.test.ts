import { describe, expect, it } from 'vitest';
import { MacAddress } from '../../src/address/index.ts';
import { Errno, type GatherRing, libc, type NativeMemory } from '../../src/native/index.ts';
import { CHECKSUM_NONE, CHECKSUM_VERIFIED, type Frame, NO_OFFLOADS } from '../../src/netif/netif.ts';
import { TapNetif } from '../../src/netif/tap/netif.ts';
import { internetChecksum } from '../support/packets.ts';
import {
  ACK,
  CWR,
  FIN,
  type Fields,
  PSH,
  pattern,
  sendLarge,
  tcpChecksum,
  tcpFrame,
} from '../support/tcp-frames.ts';
import { FakePort } from './fake-port.ts';

const MSS = 1000;
interface Shown {
  readonly bytes: Buffer;
  readonly segmentSize: number;
  readonly checksum: number;
}

/** A port that takes batches, in the place of the kernel's. */
class BatchPort extends FakePort {
  /** How many writes each batch had. */
  readonly batches: number[] = [];
  area: Pick<NativeMemory, 'bytes'> = { bytes: Buffer.alloc(0) };
  /** What each write is answered with in place of its length, by its number. */
  readonly failures = new Map<number, number>();
  #written = 0;
  ringsOpened = 0;
  ringsClosed = 0;

  gather(count: number, slotSize: number): GatherRing {
    this.ringsOpened++;
    const slots = { bytes: Buffer.alloc(count * slotSize), address: 0 };
    const writes: [number, number, number][] = [];
    const results: number[] = [];
    return {
      count,
      slotSize,
      slots,
      set: (i: number, length: number, rest: number, restLength: number) => {
        writes[i] = [length, rest - libc().addressOf(this.area.bytes), restLength];
      },
      submit: (submitted: number) => {
        this.batches.push(submitted);
        for (let i = 0; i < submitted; i++) {
          const [length, rest, restLength] = writes[i]!;
          const head = slots.bytes.subarray(i * slotSize, i * slotSize + length);
          const frame = Buffer.concat([head, this.area.bytes.subarray(rest, rest + restLength)]);
          const failure = this.failures.get(this.#written++);
          if (failure === undefined) this.output.push(frame);
          results.push(failure ?? frame.length);
        }
      },
      result: () => results.shift()!,
      close: () => {
        this.ringsClosed++;
      },
    } as unknown as GatherRing;
  }
}

function setup(retain: (frame: Frame) => boolean = () => false, port: FakePort = new FakePort()) {
  const netif = new TapNetif({
    port,
    name: 'tap7',
    mac: MacAddress.parse('02:00:00:00:00:02'),
    mtu: 1500,
    headerSize: 0,
    offloads: NO_OFFLOADS,
    software: true,
    batchWrites: true,
  });
  const shown: Shown[] = [];
  const kept: { view: Uint8Array; copy: Buffer }[] = [];
  let writable = 0;
  netif.start({
    receive: (frame) => {
      const view = frame.bytes.subarray(frame.start, frame.end);
      const copy = Buffer.from(view);
      shown.push({ bytes: copy, segmentSize: frame.segmentSize, checksum: frame.checksum });
      if (retain(frame)) {
        frame.retain();
        kept.push({ view, copy });
      }
    },
    flush: () => {},
    writable: () => {
      writable++;
    },
    closed: () => {},
  });
  const receive = (...frames: Buffer[]): Shown[] => {
    port.input.push(...frames);
    const from = shown.length;
    while (port.input.length > 0) port.readiness!.readable();
    return shown.slice(from);
  };
  return { port, netif, receive, kept, writables: () => writable };
}

/** `count` full segments in order, the first of which tells where the stream is. */
function stream(count: number, fields: Fields = {}): Buffer[] {
  return Array.from({ length: count }, (_, i) => {
    const sequence = (fields.sequence ?? 0) + i * MSS;
    return tcpFrame({ ...fields, sequence, payload: pattern(sequence, MSS), identification: i });
  });
}

/** What a run of frames is one frame of: its sizes, and whether the payload is the stream's. */
function check(shown: Shown, ipv6: boolean, from: number): number {
  const tcp = 14 + (ipv6 ? 40 : 20);
  const { bytes } = shown;
  const payload = bytes.length - tcp - 32;
  expect(bytes.readInt32BE(tcp + 4)).toBe(from | 0);
  expect(bytes.subarray(tcp + 32).equals(pattern(from, payload))).toBe(true);
  if (ipv6) {
    expect(bytes.readUInt16BE(18)).toBe(bytes.length - tcp);
  } else {
    expect(bytes.readUInt16BE(16)).toBe(bytes.length - 14);
    expect(internetChecksum(bytes.subarray(14, tcp))).toBe(0);
  }
  return payload;
}

describe('frames put together in software', () => {
  it.each([false, true])('makes one frame of segments that follow on each other (IPv6: %s)', (ipv6) => {
    const { receive } = setup();
    const shown = receive(...stream(10, { ipv6 }));
    // The first is by itself: nothing tells yet that more of its kind will come.
    expect(shown.map(({ segmentSize }) => segmentSize)).toEqual([0, MSS]);
    let from = 0;
    for (const frame of shown) from += check(frame, ipv6, from);
    expect(from).toBe(10 * MSS);
    expect(shown[1]!.checksum).toBe(CHECKSUM_VERIFIED);
  });

  it('makes packets of 64 KiB at most, and goes on behind them', () => {
    const { receive } = setup();
    const shown = receive(...stream(200));
    expect(shown.length).toBeLessThan(8);
    let from = 0;
    for (const frame of shown) {
      expect(frame.bytes.length).toBeLessThanOrEqual(14 + 65_535);
      from += check(frame, false, from);
    }
    expect(from).toBe(200 * MSS);
  });

  it('ends at PSH, at a shorter segment, and at what is no plain data', () => {
    const { receive } = setup();
    const [first, second, third] = stream(3);
    const pushed = tcpFrame({ sequence: 3 * MSS, payload: pattern(3 * MSS, MSS), flags: ACK | PSH });
    const short = tcpFrame({ sequence: 4 * MSS, payload: pattern(4 * MSS, 10) });
    const end = tcpFrame({ sequence: 4 * MSS + 10, flags: ACK | FIN });
    const shown = receive(first!, second!, third!, pushed, short, end);
    expect(shown.map(({ bytes }) => bytes.length - 66)).toEqual([MSS, 3 * MSS, 10, 0]);
    expect(shown[1]!.bytes[47]).toBe(ACK | PSH);
    expect(shown[3]!.bytes[47]).toBe(ACK | FIN);
  });

  const differences: [string, Fields][] = [
    ['another ACK number', { acknowledgment: 78 }],
    ['another window', { window: 501 }],
    ['other timestamps', { timestamp: 6 }],
    ['another port', { port: 40_001 }],
    ['a congestion mark', { trafficClass: 3 }],
    ['a gap', { sequence: 4 * MSS }],
    ['the same bytes again', { sequence: 2 * MSS }],
    ['a fragment', { fragment: 0x2000 }],
    ['CWR', { flags: ACK | CWR }],
  ];
  it.each(differences)('leaves out what differs: %s', (_, fields) => {
    const { receive } = setup();
    const payload = pattern(3 * MSS, MSS);
    const other = tcpFrame({ sequence: 3 * MSS, payload, ...fields });
    const shown = receive(...stream(3), other);
    expect(shown.map(({ bytes }) => bytes.length - 66)).toEqual([MSS, 2 * MSS, MSS]);
    check(shown[1]!, false, MSS);
    expect(shown[2]!.bytes.equals(other)).toBe(true);
  });

  it('hands up a frame whose IP header is damaged as it came', () => {
    const { receive } = setup();
    const frames = stream(5);
    frames[3]![14 + 10]! ^= 0x04;
    const shown = receive(...frames);
    expect(shown.map(({ bytes }) => bytes.length - 66)).toEqual([MSS, 2 * MSS, MSS, MSS]);
    expect(shown[2]!.bytes.equals(frames[3]!)).toBe(true);
    expect(shown[2]!.checksum).toBe(CHECKSUM_NONE);
    check(shown[1]!, false, MSS);
    check(shown[3]!, false, 4 * MSS);
  });

  /** Which of ten segments are damaged, and what is shown: segments from, and how many. */
  const damages: [number[], [number, number][]][] = [
    [[1], [[0, 1], [2, 8]]], // biome-ignore format: a table
    [[3], [[0, 1], [1, 2], [4, 6]]], // biome-ignore format: a table
    [[9], [[0, 1], [1, 8]]], // biome-ignore format: a table
    [[8], [[0, 1], [1, 7], [9, 1]]], // biome-ignore format: a table
    [[2, 4, 5], [[0, 1], [1, 1], [3, 1], [6, 4]]], // biome-ignore format: a table
  ];
  for (const ipv6 of [false, true]) {
    it.each(damages)(
      `leaves damaged segments out and counts them (%j, IPv6: ${ipv6})`,
      (damaged, expected) => {
        const { netif, receive } = setup(() => true);
        const frames = stream(10, { ipv6 });
        const tcp = ipv6 ? 54 : 34;
        damaged.forEach((index, i) => {
          // In the payload, or in the checksum.
          frames[index]![i % 2 === 0 ? tcp + 40 : tcp + 16]! ^= 0x04;
        });
        const shown = receive(...frames);
        expect(shown.map((each) => check(each, ipv6, each.bytes.readInt32BE(tcp + 4)) / MSS)).toEqual(
          expected.map(([, count]) => count),
        );
        expect(shown.map(({ bytes }) => bytes.readInt32BE(tcp + 4) / MSS)).toEqual(
          expected.map(([at]) => at),
        );
        for (const { bytes, checksum, segmentSize } of shown) {
          if (segmentSize > 0) expect(checksum).toBe(CHECKSUM_VERIFIED);
          else expect(tcpChecksum(bytes, ipv6)).toBe(0);
        }
        expect(netif.counters.rxErrors).toBe(damaged.length);
      },
    );
  }

  it('keeps frames of several connections in their order', () => {
    const { receive } = setup();
    const one = stream(20, { port: 1 });
    const two = stream(20, { port: 2 });
    const mixed = one.flatMap((frame, i) => [frame, two[i]!]);
    expect(receive(...mixed).map(({ bytes }) => bytes.equals(mixed.shift()!))).not.toContain(false);
    expect(mixed).toEqual([]);
  });

  it('never writes again to bytes that were retained, together or alone', () => {
    const random = (() => {
      let state = 12345;
      return (below: number): number => {
        state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
        return (state >>> 8) % below;
      };
    })();
    const { receive, kept } = setup(() => random(3) > 0);
    let sequence = 0;
    for (let round = 0; round < 60; round++) {
      const frames: Buffer[] = [];
      for (let i = random(60); i >= 0; i--) {
        if (random(10) === 0) {
          frames.push(tcpFrame({ port: 9, payload: pattern(random(1000), 1 + random(1400)) }));
          continue;
        }
        const payload = pattern(sequence, random(20) === 0 ? 1 + random(MSS) : MSS);
        frames.push(tcpFrame({ sequence, payload }));
        sequence += payload.length;
      }
      receive(...frames);
    }
    expect(kept.length).toBeGreaterThan(100);
    expect(kept.filter(({ view, copy }) => !copy.equals(view))).toEqual([]);
  });

  it('counts frames as they were on the wire', () => {
    const { netif, receive } = setup();
    const frames = stream(10);
    receive(...frames);
    const bytes = frames.reduce((sum, { length }) => sum + length, 0);
    expect(netif.counters).toMatchObject({ rxFrames: 10, rxBytes: bytes, rxErrors: 0, rxDropped: 0 });
  });
});

describe('frames cut apart in software', () => {
  it.each([false, true])('sends the segments that a device would have cut (IPv6: %s)', (ipv6) => {
    const { port, netif } = setup();
    const sequence = -1500;
    const flags = ACK | PSH | FIN | CWR;
    sendLarge(netif, 20 * MSS + 7, MSS, { ipv6, sequence, flags, fragment: 0, identification: 0xfff8 });
    expect(port.output).toHaveLength(21);
    let from = sequence;
    for (const [i, bytes] of port.output.entries()) {
      const tcp = 14 + (ipv6 ? 40 : 20);
      expect(tcpChecksum(bytes, ipv6)).toBe(0);
      expect(bytes[tcp + 13]).toBe(ACK | (i === 0 ? CWR : 0) | (i === 20 ? PSH | FIN : 0));
      if (!ipv6) expect(bytes.readUInt16BE(18)).toBe((0xfff8 + i) & 0xffff);
      from += check({ bytes, segmentSize: 0, checksum: 0 }, ipv6, from);
    }
    expect(from).toBe(sequence + 20 * MSS + 7);
    expect(netif.counters.txFrames).toBe(21);
  });

  it('keeps one identification where nobody may cut the packets further', () => {
    const { port, netif } = setup();
    sendLarge(netif, 3 * MSS, MSS, { identification: 4 });
    expect(port.output.map((bytes) => bytes.readUInt16BE(18))).toEqual([4, 4, 4]);
  });

  it('completes the checksum of an ordinary frame', () => {
    const { port, netif } = setup();
    sendLarge(netif, 500, MSS);
    expect(port.output).toHaveLength(1);
    expect(tcpChecksum(port.output[0]!, false)).toBe(0);
  });

  it('stops where the kernel is full, and goes on with the rest when it has room', () => {
    const { port, netif, writables } = setup();
    port.room = 3;
    expect(sendLarge(netif, 10 * MSS, MSS)).toBe(true);
    expect(port.output).toHaveLength(3);
    expect(port.wantsWritable).toBe(true);
    expect(sendLarge(netif, 10 * MSS, MSS)).toBe(false);
    port.room = 2;
    port.readiness!.writable();
    expect(port.output).toHaveLength(5);
    expect(writables()).toBe(0);
    port.room = Number.POSITIVE_INFINITY;
    port.readiness!.writable();
    expect(port.output).toHaveLength(10);
    expect(writables()).toBe(1);
    expect(port.wantsWritable).toBe(false);
    let from = 0;
    for (const bytes of port.output) {
      expect(tcpChecksum(bytes, false)).toBe(0);
      from += check({ bytes, segmentSize: 0, checksum: 0 }, false, from);
    }
  });

  describe.skipIf(process.platform !== 'linux')('in batches, where the port takes such', () => {
    it.each([false, true])('sends the same frames (IPv6: %s)', (ipv6) => {
      const port = new BatchPort();
      const { netif } = setup(() => false, port);
      port.area = netif.reserve(0)!;
      const fields = { ipv6, sequence: -1500, flags: ACK | PSH | FIN | CWR, fragment: 0, identification: 9 };
      sendLarge(netif, 64 * 900 + 7, 900, fields);
      const plain = setup();
      sendLarge(plain.netif, 64 * 900 + 7, 900, fields);
      expect(port.batches).toEqual([64, 1]);
      expect(port.output.map((frame, i) => frame.equals(plain.port.output[i]!))).not.toContain(false);
      expect(port.output).toHaveLength(65);
      expect(netif.counters).toEqual(plain.netif.counters);
    });

    it('counts what the kernel does not take', async () => {
      const port = new BatchPort();
      port.failures.set(2, -Errno.EIO).set(3, -Errno.EAGAIN).set(5, -Errno.EINVAL);
      const { netif } = setup(() => false, port);
      port.area = netif.reserve(0)!;
      sendLarge(netif, 10 * MSS, MSS);
      expect(netif.counters).toMatchObject({ txFrames: 7, txDropped: 2, txErrors: 1 });
      expect(port.wantsWritable).toBe(false);
      expect(port.ringsOpened).toBe(1);
      await netif.close();
      expect(port.ringsClosed).toBe(1);
    });
  });

  it('is what coalescing undoes', () => {
    const { port, netif, receive } = setup();
    sendLarge(netif, 30 * MSS + 1, MSS, { sequence: MSS });
    const shown = receive(...stream(1), ...port.output);
    let from = 0;
    for (const frame of shown) from += check(frame, false, from);
    expect(from).toBe(31 * MSS + 1);
    expect(shown.length).toBeLessThan(4);
  });
});
