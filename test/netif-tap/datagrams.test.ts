import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { MacAddress } from '../../src/address/index.ts';
import { Errno } from '../../src/native/index.ts';
import { CHECKSUM_PARTIAL, type Frame } from '../../src/netif/netif.ts';
import { TapNetif } from '../../src/netif/tap/netif.ts';
import { internetChecksum } from '../support/packets.ts';
import { FakePort } from './fake-port.ts';

const HEADER = 10;
const GSO_UDP = 5;

function setup(retain: (frame: Frame) => boolean = () => false) {
  const port = new FakePort();
  const netif = new TapNetif({
    port,
    name: 'tap7',
    mac: MacAddress.parse('02:00:00:00:00:02'),
    mtu: 1500,
    headerSize: HEADER,
    offloads: { checksum: 'partial', segmentation: 65_549 },
    datagrams: true,
  });
  const shown: Buffer[] = [];
  const kept: { view: Uint8Array; copy: Buffer }[] = [];
  netif.start({
    receive: (frame) => {
      const view = frame.bytes.subarray(frame.start, frame.end);
      expect(frame.segmentSize).toBe(0);
      if (frame.checksum === CHECKSUM_PARTIAL) {
        expect(frame.bytes[frame.start + 12] === 0x86 ? 54 : 34).toBe(frame.checksumStart - frame.start);
      }
      shown.push(Buffer.from(view));
      if (!retain(frame)) return;
      frame.retain();
      kept.push({ view, copy: Buffer.from(view) });
    },
    flush: () => {},
    writable: () => {},
    closed: () => {},
  });
  return { port, netif, shown, kept };
}

interface Fields {
  readonly ipv6?: boolean;
  readonly port?: number;
  readonly hopLimit?: number;
}

/** An Ethernet frame with a datagram whose checksum field holds the pseudo-header's sum. */
function datagram(
  number: number,
  size: number,
  { ipv6 = false, port = 7, hopLimit = 64 }: Fields = {},
): Buffer {
  const udp = ipv6 ? 54 : 34;
  const frame = Buffer.alloc(udp + 8 + size, number + 1);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], 0);
  frame.fill(0, 12, udp + 8);
  const length = 8 + size;
  if (ipv6) {
    frame.set([0x86, 0xdd, 0x60], 12);
    frame.writeUInt16BE(length, 18);
    frame.set([17, hopLimit], 20);
    for (let i = 0; i < 32; i++) frame[22 + i] = i * 5;
  } else {
    frame.set([8, 0, 0x45], 12);
    frame.writeUInt16BE(20 + length, 16);
    frame.writeUInt16BE(number, 18);
    frame.set([hopLimit, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1], 22);
    frame.writeUInt16BE(internetChecksum(frame.subarray(14, 34)), 24);
  }
  frame.writeUInt16BE(5000, udp);
  frame.writeUInt16BE(port, udp + 2);
  frame.writeUInt16BE(length, udp + 4);
  frame.writeUInt16BE(pseudoSum(frame, ipv6), udp + 6);
  return frame;
}

function pseudoSum(frame: Buffer, ipv6: boolean): number {
  const tail = Buffer.from([0, 17, 0, 0]);
  tail.writeUInt16BE(frame.length - (ipv6 ? 54 : 34), 2);
  const addresses = ipv6 ? frame.subarray(22, 54) : frame.subarray(26, 34);
  return ~internetChecksum(Buffer.concat([addresses, tail])) & 0xffff;
}

function send(netif: TapNetif, bytes: Buffer): void {
  const frame = netif.reserve(bytes.length)!;
  frame.bytes.set(bytes, frame.start);
  frame.checksum = CHECKSUM_PARTIAL;
  frame.checksumStart = frame.start + (bytes[12] === 0x86 ? 54 : 34);
  frame.checksumOffset = 6;
  netif.commit(frame);
}

describe('datagrams as one frame', () => {
  it.each([false, true])(
    'sends those of one size together, and cuts what comes so (IPv6: %s)',
    async (ipv6) => {
      const { port, netif, shown, kept } = setup(() => true);
      const sent = Array.from({ length: 10 }, (_, i) => datagram(i, i === 9 ? 300 : 1200, { ipv6 }));
      for (const frame of sent) send(netif, frame);
      expect(port.output).toHaveLength(1);
      const [whole] = port.output;
      const udp = ipv6 ? 54 : 34;
      expect(whole!.length).toBe(HEADER + udp + 8 + 9 * 1200 + 300);
      expect([...whole!.subarray(0, HEADER)]).toEqual([
        1,
        GSO_UDP,
        udp + 8,
        0,
        1200 & 255,
        1200 >> 8,
        udp,
        0,
        6,
        0,
      ]);
      expect(whole!.readUInt16BE(HEADER + udp + 4)).toBe(whole!.length - HEADER - udp);
      expect(whole!.readUInt16BE(HEADER + udp + 6)).toBe(pseudoSum(whole!.subarray(HEADER), ipv6));
      if (!ipv6) expect(internetChecksum(whole!.subarray(HEADER + 14, HEADER + 34))).toBe(0);
      expect(netif.counters.txFrames).toBe(10);
      port.input.push(whole!);
      port.readiness!.readable();
      expect(shown.map((frame, i) => frame.equals(sent[i]!))).toEqual(sent.map(() => true));
      expect(kept.filter(({ view, copy }) => !copy.equals(view))).toEqual([]);
      expect(netif.counters.rxFrames).toBe(10);
    },
  );

  it('never writes again to bytes that were retained', async () => {
    let count = 0;
    const { port, shown, kept } = setup(() => ++count % 3 === 0);
    const sender = setup();
    const sent = Array.from({ length: 600 }, (_, i) => datagram(i % 250, 1000));
    for (const frame of sent) send(sender.netif, frame);
    await turn();
    port.input.push(...sender.port.output);
    while (port.input.length > 0) port.readiness!.readable();
    expect(shown.map((frame) => frame[100])).toEqual(sent.map((frame) => frame[100]));
    expect(kept).toHaveLength(200);
    expect(kept.filter(({ view, copy }) => !copy.equals(view))).toEqual([]);
  });

  it('sends 64 at most, 64 KiB at most, and what differs by itself, in order', async () => {
    const { port, netif } = setup();
    for (let i = 0; i < 65; i++) send(netif, datagram(i, 100));
    for (let i = 0; i < 50; i++) send(netif, datagram(i, 1472));
    send(netif, datagram(1, 1472, { port: 8 }));
    send(netif, datagram(1, 1472, { port: 8, hopLimit: 1 }));
    send(netif, datagram(2, 1473 - 1, { port: 8, hopLimit: 1, ipv6: true }));
    await turn();
    const sizes = port.output.map((frame) => frame.length - HEADER);
    expect(sizes).toEqual([42 + 6400, 142, 42 + 44 * 1472, 42 + 6 * 1472, 1514, 1514, 62 + 1472]);
    expect(port.output.map((frame) => frame[1])).toEqual([GSO_UDP, 0, GSO_UDP, GSO_UDP, 0, 0, 0]);
  });

  it('goes before a frame of another kind', () => {
    const { port, netif } = setup();
    send(netif, datagram(0, 10));
    send(netif, datagram(1, 10));
    const frame = netif.reserve(60)!;
    frame.bytes.fill(0xee, frame.start, frame.end);
    netif.commit(frame);
    expect(port.output.map(({ length }) => length - HEADER)).toEqual([62, 60]);
  });

  it('waits for the turn to end, whatever flushes in it', async () => {
    const { port, netif } = setup();
    for (let i = 0; i < 8; i++) {
      send(netif, datagram(i, 500));
      netif.flush();
      await null;
    }
    expect(port.output).toEqual([]);
    await turn();
    expect(port.output.map(({ length }) => length - HEADER)).toEqual([42 + 8 * 500]);
  });

  it('counts each that the kernel does not take', async () => {
    const { port, netif } = setup();
    for (let i = 0; i < 5; i++) send(netif, datagram(i, 500));
    port.refusals.push(Errno.EIO);
    await turn();
    expect(netif.counters).toMatchObject({ txFrames: 0, txDropped: 5 });
  });

  it('takes no frame that says it is several datagrams and is not', () => {
    const { port, netif, shown } = setup();
    const claim = (change: (frame: Buffer) => void): void => {
      const frame = Buffer.concat([Buffer.from([1, GSO_UDP, 42, 0, 100, 0, 34, 0, 6, 0]), datagram(0, 300)]);
      change(frame);
      port.input.push(frame);
    };
    claim((frame) => frame.writeUInt8(6, HEADER + 23));
    claim((frame) => frame.writeUInt16BE(7, HEADER + 38));
    claim((frame) => frame.writeUInt8(0, 0));
    claim((frame) => frame.writeUInt8(16, 8));
    claim((frame) => frame.writeUInt16LE(0, 4));
    port.readiness!.readable();
    expect(shown).toEqual([]);
    expect(netif.counters.rxErrors).toBe(5);
  });
});
