import { describe, expect, it } from 'vitest';
import { MacAddress } from '../../src/address/index.ts';
import {
  CHECKSUM_NONE,
  CHECKSUM_PARTIAL,
  CHECKSUM_VERIFIED,
  completeChecksum,
  Frame,
  type Netif,
} from '../../src/netif/index.ts';
import { backendFolder } from '../../src/netif/xen/index.ts';
import { SeededRandom } from '../../src/time/index.ts';
import { listen, numbered, send } from '../netif/helpers.ts';
import { Lab, makePair, type PairOptions, VIF } from './pair.ts';

const TCP = 6;
const UDP = 17;

/** A frame of TCP or UDP over IPv4 or IPv6, filled with what depends on its length; headers as far as the ring looks at them. */
function packet(size: number, family: 4 | 6 = 4, protocol = TCP): Uint8Array {
  const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 7 + size) & 0xff);
  bytes.set([0, 0x16, 0x3e, 0, 0, 2, 2, 0, 0, 0, 0, 9, 0x88, 0xb5], 0);
  if (size < 60) return bytes;
  if (family === 4) {
    bytes.set([0x08, 0x00, 0x45, 0], 12);
    bytes.set([0, 0, 0x40, 0, 64, protocol], 18);
  } else {
    bytes.set([0x86, 0xdd, 0x60, 0], 12);
    bytes[20] = protocol;
  }
  return bytes;
}

/** Says how the checksum of `packet` is to be made. */
function partial(frame: Frame, family: 4 | 6 = 4, protocol = TCP): void {
  frame.checksum = CHECKSUM_PARTIAL;
  frame.checksumStart = frame.start + (family === 4 ? 34 : 54);
  frame.checksumOffset = protocol === TCP ? 16 : 6;
}

it('a backend without checksums completes those of a frontend that did not ask, as Linux’s does not', async () => {
  const lab = new Lab();
  await lab.attach();
  const opening = lab.openBack({ offloads: false });
  await lab.pass(50);
  // The frontend has not read it.
  await lab.run(lab.dom0.store.write(`${backendFolder(VIF)}/feature-no-csum-offload`, '0'));
  const [front, back] = await lab.run(Promise.all([lab.openFront({ offloads: true }), opening]));
  listen(front);
  const at = listen(back);
  const states: number[] = [];
  at.onFrame = ({ checksum }) => states.push(checksum);
  for (const protocol of [TCP, UDP]) {
    const bytes = packet(200, 4, protocol);
    const whole = Uint8Array.from(bytes);
    const cursor = new Frame(whole).reset(whole, 0, whole.length);
    partial(cursor, 4, protocol);
    completeChecksum(cursor, whole.length);
    send(front, bytes, (frame) => partial(frame, 4, protocol));
    front.flush();
    await lab.pass(2);
    expect(at.frames.at(-1)).toEqual(whole);
  }
  // To a stack that was promised nothing, nothing is said.
  expect(states).toEqual([CHECKSUM_NONE, CHECKSUM_NONE]);
  expect(back.counters.rxErrors).toBe(0);
});

/** Each end as the sender. */
const WAYS: [string, (pair: { front: Netif; back: Netif }) => [Netif, Netif]][] = [
  ['frontend to backend', ({ front, back }) => [front, back]],
  ['backend to frontend', ({ front, back }) => [back, front]],
];

describe.each(WAYS)('what a frame keeps on the way from %s', (_, order) => {
  it('its bytes, whatever its length, on rings of every shape', async () => {
    const shapes: PairOptions[] = [
      {},
      { front: { splitChannels: false } },
      { front: { queues: 4, ringOrder: 2 }, back: { queues: 3, ringOrder: 1 } },
    ];
    for (const shape of shapes) {
      const { lab, ...pair } = await makePair({ machine: { pages: 8192 }, ...shape });
      const [near, far] = order(pair);
      listen(near);
      const at = listen(far);
      const sizes = [14, 60, 1514, 1518, 4095, 4096, 4097, 8192, 8193, 40_000, 61_440, 61_441, 65_535];
      for (const size of sizes) {
        // Different flows, so that several queues have some of it.
        const bytes = packet(size);
        if (size > 40) bytes[37] = size & 0xff;
        expect(
          send(near, bytes, (frame) => {
            if (size <= 1518) return;
            partial(frame);
            frame.segmentSize = 1448;
          }),
        ).toBe(true);
        near.flush();
        await lab.pass(2);
        expect(Buffer.compare(Buffer.from(at.frames.at(-1)!), Buffer.from(bytes)), `${size}`).toBe(0);
      }
      expect(at.frames.length).toBe(sizes.length);
    }
  });

  it('what is known about its checksum, and its segment size', async () => {
    const { lab, ...pair } = await makePair();
    const [near, far] = order(pair);
    listen(near);
    const seen: unknown[] = [];
    const at = listen(far);
    at.onFrame = ({ checksum, checksumStart, checksumOffset, segmentSize, start }) =>
      seen.push([
        checksum,
        checksum === CHECKSUM_PARTIAL ? [checksumStart - start, checksumOffset] : null,
        segmentSize,
      ]);
    const cases: [Uint8Array, (frame: Frame) => void, unknown][] = [
      [packet(100), () => {}, [CHECKSUM_NONE, null, 0]],
      [
        packet(100),
        (frame) => {
          frame.checksum = CHECKSUM_VERIFIED;
        },
        [CHECKSUM_VERIFIED, null, 0],
      ],
      [packet(100), (frame) => partial(frame), [CHECKSUM_PARTIAL, [34, 16], 0]],
      [packet(100, 4, UDP), (frame) => partial(frame, 4, UDP), [CHECKSUM_PARTIAL, [34, 6], 0]],
      [packet(100, 6), (frame) => partial(frame, 6), [CHECKSUM_PARTIAL, [54, 16], 0]],
      [
        packet(9000, 4),
        (frame) => {
          partial(frame);
          frame.segmentSize = 1400;
        },
        [CHECKSUM_PARTIAL, [34, 16], 1400],
      ],
      [
        packet(30_000, 6),
        (frame) => {
          partial(frame, 6);
          frame.segmentSize = 1440;
        },
        [CHECKSUM_PARTIAL, [54, 16], 1440],
      ],
    ];
    for (const [bytes, change] of cases) expect(send(near, bytes, change)).toBe(true);
    near.flush();
    await lab.pass(5);
    expect(seen).toEqual(cases.map(([, , expected]) => expected));
  });

  it('a whole checksum where the other end does not make it', async () => {
    const { lab, ...pair } = await makePair({ front: { offloads: false }, back: { offloads: true } });
    const [near, far] = order(pair);
    listen(near);
    const at = listen(far);
    expect(near.transmit).toEqual(
      near === pair.front ? { checksum: 'none', segmentation: 0 } : { checksum: 'none', segmentation: 0 },
    );
    const bytes = packet(200);
    const whole = Uint8Array.from(bytes);
    const cursor = new Frame(whole).reset(whole, 0, whole.length);
    partial(cursor);
    completeChecksum(cursor, whole.length);
    // A stack that has not heard of it yet: the netif does it.
    send(near, bytes, (frame) => partial(frame));
    near.flush();
    await lab.pass(2);
    expect(at.frames[0]).toEqual(whole);
  });

  it('its memory for as long as it is retained', async () => {
    const { lab, ...pair } = await makePair();
    const [near, far] = order(pair);
    listen(near);
    const at = listen(far);
    let number = 0;
    at.onFrame = (frame) => {
      if (number++ % 7 === 0) at.keep(frame);
    };
    for (let i = 0; i < 2000; i++) {
      if (!send(near, numbered(i, 60 + ((i * 37) % 1450)))) throw new Error('full');
      if (i % 50 === 49) {
        near.flush();
        await lab.pass(1);
      }
    }
    expect(at.frames.length).toBe(2000);
    at.kept.forEach((view, i) => {
      expect(Buffer.compare(Buffer.from(view), Buffer.from(at.frames[i * 7]!))).toBe(0);
    });
  });

  it('its turn: a full ring answers null, says writable, and loses nothing', async () => {
    const random = new SeededRandom(1);
    const { lab, ...pair } = await makePair({
      machine: { eventDelayMs: () => (random.next32() >>> 0) / 2 ** 31 },
    });
    const [near, far] = order(pair);
    const from = listen(near);
    const at = listen(far);
    const total = 1000;
    let sent = 0;
    let refused = 0;
    const fill = (): void => {
      while (sent < total) {
        const bytes = packet(sent % 5 === 0 ? 20_000 : 1000);
        bytes.set([sent & 0xff, sent >>> 8], 100);
        const isSent = send(near, bytes, (frame) => {
          partial(frame);
          if (bytes.length > 1518) frame.segmentSize = 1448;
        });
        if (!isSent) {
          refused++;
          break;
        }
        sent++;
      }
      near.flush();
    };
    from.onWritable = fill;
    fill();
    expect(refused).toBe(1);
    await lab.pass(5000);
    expect(at.frames.map((bytes) => bytes[100]! | (bytes[101]! << 8))).toEqual(
      Array.from({ length: total }, (_, i) => i),
    );
    expect(near.counters).toMatchObject({ txFrames: total, txDropped: 0, txErrors: 0 });
    expect(near.counters.txStalls).toBe(refused);
  });
});

describe('what is agreed on', () => {
  it('MTU from xenstore, and longer frames are refused', async () => {
    const { front, back } = await makePair({
      mtu: 9000,
      front: { offloads: false },
      back: { offloads: false },
    });
    expect([front.mtu, back.mtu]).toEqual([9000, 9000]);
    expect(front.transmit).toEqual({ checksum: 'none', segmentation: 0 });
    expect(front.reserve(9018)).not.toBeNull();
    expect(() => front.reserve(9019)).toThrow(/EMSGSIZE/);
  });

  it('frames of one page where an end takes no more; an MTU above that is refused', async () => {
    const { lab, front, back } = await makePair({ back: { scatterGather: false } });
    expect(front.transmit).toEqual({ checksum: 'partial', segmentation: 0 });
    listen(front);
    const b = listen(back);
    send(front, numbered(1, 1518));
    front.flush();
    await lab.pass(2);
    expect(b.numbers).toEqual([1]);
    const other = new Lab();
    await expect(other.open({ mtu: 9000, back: { scatterGather: false } })).rejects.toThrow(/feature-sg/);
  });

  it('a later backend that takes no packets as long as was promised ends the device', async () => {
    const { lab, front, back } = await makePair({ mtu: 9000 });
    const f = listen(front);
    await lab.run(back.close());
    await expect(lab.run(lab.openBack({ scatterGather: false, timeoutMs: 100 }))).rejects.toThrow();
    expect(f.log.at(-1)).toMatch(/EOPNOTSUPP.*feature-sg/);
    expect(lab.machine.use.grants).toBe(0);
  });

  it('segments need checksums', async () => {
    const lab = new Lab();
    await lab.attach();
    await expect(
      lab.run(lab.openFront({ offloads: { checksum: false, segmentation: true } })),
    ).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it('packets of one flow stay on one queue and in order, others spread', async () => {
    const { lab, front, back } = await makePair({
      machine: { pages: 8192 },
      front: { queues: 4 },
      back: { queues: 4 },
    });
    listen(front);
    const b = listen(back);
    const perFlow = new Map<number, number[]>();
    b.onFrame = ({ bytes, start }) => {
      const flow = bytes[start + 37]!;
      perFlow.set(flow, [...(perFlow.get(flow) ?? []), bytes[start + 60]!]);
    };
    for (let i = 0; i < 200; i++) {
      const bytes = packet(100);
      bytes[37] = i % 16;
      bytes[60] = i;
      send(front, bytes);
    }
    front.flush();
    await lab.pass(5);
    for (const [flow, numbers] of perFlow) {
      expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => i * 16 + flow));
    }
    expect(b.frames.length).toBe(200);
    // Not in the order in which they were sent, since several rings had them.
    expect(b.frames.map((bytes) => bytes[60]!)).not.toEqual(Array.from({ length: 200 }, (_, i) => i));
  });

  it('group addresses that the frontend asks for, and no others', async () => {
    const wanted = MacAddress.parse('33:33:00:00:00:01');
    const later = MacAddress.parse('01:00:5e:00:00:fb');
    const other = MacAddress.parse('33:33:00:00:00:02');
    const { lab, front, back } = await makePair({ front: { multicastGroups: [wanted] } });
    const f = listen(front);
    listen(back);
    await lab.pass(5);
    const round = async (): Promise<string[]> => {
      f.frames.length = 0;
      for (const to of [wanted, later, other, MacAddress.BROADCAST, front.mac]) {
        send(back, numbered(1, 60, back.mac, to));
      }
      back.flush();
      await lab.pass(5);
      return f.frames.map((bytes) => `${MacAddress.read(bytes, 0)}`);
    };
    const always = [`${MacAddress.BROADCAST}`, `${front.mac}`];
    expect(await round()).toEqual([`${wanted}`, ...always]);
    front.addGroup(later);
    await lab.pass(5);
    expect(await round()).toEqual([`${wanted}`, `${later}`, ...always]);
    front.removeGroup(wanted);
    await lab.pass(5);
    expect(await round()).toEqual([`${later}`, ...always]);
    expect(back.counters.txDropped).toBe(5);
  });

  it('no event per frame while frames keep coming', async () => {
    const { lab, front, back } = await makePair();
    listen(front);
    const b = listen(back);
    const before = lab.machine.events;
    for (let i = 0; i < 100; i++) {
      for (let n = 0; n < 20; n++) send(front, numbered(i * 20 + n, 1000));
      front.flush();
      // Less than the time in which an end falls asleep.
      lab.clock.step();
    }
    await lab.pass(10);
    expect(b.frames.length).toBe(2000);
    expect(lab.machine.events - before).toBeLessThan(120);
  });
});
