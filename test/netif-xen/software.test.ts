/**
 * Offloads in software: ordinary frames with all their checksums on the rings,
 * large ones for the stack. Frames are made and read by the test's own code.
 */
import { describe, expect, it } from 'vitest';
import { CHECKSUM_PARTIAL, CHECKSUM_VERIFIED, type Netif } from '../../src/netif/index.ts';
import { backendFolder, frontendFolder, removeVif } from '../../src/netif/xen/index.ts';
import { SeededRandom } from '../../src/time/index.ts';
import { listen, numbered, send } from '../netif/helpers.ts';
import { internetChecksum } from '../support/packets.ts';
import { pattern, pseudoHeader, tcpChecksum, tcpFrame } from '../support/tcp-frames.ts';
import { Lab, makePair, type PairOptions, VIF } from './pair.ts';

/** Of either family, on a link with an MTU of 1500. */
const MSS = 1428;
const HEADERS = { 4: 14 + 20 + 32, 6: 14 + 40 + 32 };

type Family = 4 | 6;

/** Which end does it in software, and has `near`; the other takes no offloads. */
const WAYS: [string, PairOptions, (pair: { front: Netif; back: Netif }) => [Netif, Netif]][] = [
  [
    'the frontend',
    { front: { offloads: 'software' }, back: { offloads: false } },
    ({ front, back }) => [front, back],
  ],
  [
    'the backend',
    { front: { offloads: false }, back: { offloads: 'software' } },
    ({ front, back }) => [back, front],
  ],
];

/** Hands `netif` a frame of many segments, as TCP does. */
function sendLarge(netif: Netif, sequence: number, length: number, family: Family = 4): boolean {
  const frame = tcpFrame({ ipv6: family === 6, sequence, payload: pattern(sequence, length) });
  const tcp = HEADERS[family] - 32;
  // The pseudo-header's sum, not inverted.
  const partial = ~internetChecksum(pseudoHeader(frame, family === 6)) & 0xffff;
  frame.writeUInt16BE(partial, tcp + 16);
  return send(netif, frame, (cursor) => {
    cursor.checksum = CHECKSUM_PARTIAL;
    cursor.checksumStart = cursor.start + tcp;
    cursor.checksumOffset = 16;
    cursor.segmentSize = MSS;
  });
}

/** The payload of ordinary segments that follow on each other from `from` on, each checked; where they end. */
function checkSegments(frames: readonly Uint8Array[], from: number, family: Family = 4): number {
  let next = from;
  for (const bytes of frames) {
    const frame = Buffer.from(bytes);
    const headers = HEADERS[family];
    expect(frame.length).toBeLessThanOrEqual(1500 + 14);
    expect(tcpChecksum(frame, family === 6)).toBe(0);
    if (family === 4) expect(internetChecksum(frame.subarray(14, 34))).toBe(0);
    expect(frame.readInt32BE(headers - 32 + 4)).toBe(next);
    expect(frame.subarray(headers).equals(pattern(next, frame.length - headers))).toBe(true);
    next += frame.length - headers;
  }
  return next;
}

describe.each(WAYS)('offloads in software at %s', (_, options, order) => {
  it.each([4, 6] as const)('a large frame is cut into ordinary ones of IPv%d', async (family) => {
    const { lab, ...pair } = await makePair(options);
    const [near, far] = order(pair);
    listen(near);
    const at = listen(far);
    expect(near.transmit).toEqual({ checksum: 'partial', segmentation: 65_535 });
    expect(far.receive).toEqual({ checksum: 'none', segmentation: 0 });
    const length = 20 * MSS + 100;
    expect(sendLarge(near, 0, length, family)).toBe(true);
    near.flush();
    await lab.pass(2);
    expect(at.frames.length).toBe(21);
    expect(checkSegments(at.frames, 0, family)).toBe(length);
    expect(near.counters).toMatchObject({ txFrames: 21, txBytes: length + 21 * HEADERS[family] });
  });

  it('what there is no room for waits: nothing is lost, doubled or out of order', async () => {
    const random = new SeededRandom(1);
    const { lab, ...pair } = await makePair({
      ...options,
      machine: { eventDelayMs: () => (random.next32() >>> 0) / 2 ** 31 },
    });
    const [near, far] = order(pair);
    const from = listen(near);
    const at = listen(far);
    const large = 44 * MSS;
    const total = 60 * large;
    let sent = 0;
    const fill = (): void => {
      while (sent < total && sendLarge(near, sent, large)) sent += large;
      near.flush();
    };
    from.onWritable = fill;
    fill();
    expect(sent).toBeLessThan(total);
    await lab.pass(5000);
    expect(sent).toBe(total);
    expect(checkSegments(at.frames, 0)).toBe(total);
    expect(near.counters).toMatchObject({ txFrames: total / MSS, txDropped: 0, txErrors: 0 });
    expect(near.counters.txStalls).toBeGreaterThan(0);
  });

  it('what waits when it is closed is sent before', async () => {
    const { lab, ...pair } = await makePair(options);
    const [near, far] = order(pair);
    listen(near);
    const at = listen(far);
    const large = 44 * MSS;
    let sent = 0;
    while (sendLarge(near, sent, large)) sent += large;
    await lab.run(near.close());
    expect(checkSegments(at.frames, 0)).toBe(sent);
    expect(near.counters).toMatchObject({ txFrames: sent / MSS, txDropped: 0 });
  });

  it('what waits when the other end goes is counted as dropped', async () => {
    const { lab, ...pair } = await makePair(options);
    const [near, far] = order(pair);
    listen(near);
    // Nobody takes anything off: the other end has no handler.
    const large = 44 * MSS;
    let sent = 0;
    while (sendLarge(near, sent, large)) sent += large;
    near.flush();
    await lab.pass(1);
    await lab.run(removeVif(lab.dom0.store, VIF));
    await lab.run(Promise.all([near.close(), far.close()]));
    const { txFrames, txDropped } = near.counters;
    expect(txFrames).toBeLessThan(sent / MSS);
    // Those that never got into the ring; in a frontend, those that were in it too.
    expect(txDropped).toBe(near === pair.front ? sent / MSS : sent / MSS - txFrames);
  });

  it.each([4, 6] as const)('segments of IPv%d go up as one frame', async (family) => {
    const { lab, ...pair } = await makePair(options);
    const [near, far] = order(pair);
    const at = listen(near);
    listen(far);
    const sizes: number[] = [];
    const checksums = new Set<number>();
    at.onFrame = ({ segmentSize, checksum }) => {
      sizes.push(segmentSize);
      checksums.add(checksum);
    };
    const count = 60;
    for (let i = 0; i < count; i++) {
      const payload = pattern(i * MSS, MSS);
      expect(send(far, tcpFrame({ ipv6: family === 6, sequence: i * MSS, payload }))).toBe(true);
    }
    far.flush();
    await lab.pass(2);
    expect(at.frames.length).toBeLessThan(6);
    const headers = HEADERS[family];
    const payload = Buffer.concat(at.frames.map((bytes) => bytes.subarray(headers)));
    expect(payload.equals(pattern(0, count * MSS))).toBe(true);
    expect(sizes).toContain(MSS);
    expect([...checksums]).toContain(CHECKSUM_VERIFIED);
    expect(near.counters).toMatchObject({
      rxFrames: count,
      rxBytes: count * (headers + MSS),
      rxErrors: 0,
      rxDropped: 0,
    });
  });

  it('runs, other frames among them and damaged segments keep their order and bytes, kept or not', async () => {
    const { lab, ...pair } = await makePair(options);
    const [near, far] = order(pair);
    const at = listen(near);
    listen(far);
    const random = new SeededRandom(7);
    const seen: Buffer[] = [];
    const kept: [Uint8Array, Buffer][] = [];
    at.onFrame = (frame) => {
      const bytes = Buffer.from(Uint8Array.from(frame.bytes.subarray(frame.start, frame.end)));
      // Cut again into what it was put together of.
      if (frame.segmentSize === 0) seen.push(bytes);
      for (let done = HEADERS[4]; frame.segmentSize > 0 && done < bytes.length; done += frame.segmentSize)
        seen.push(bytes.subarray(done, done + frame.segmentSize));
      if (random.next32() % 3 !== 0) return;
      frame.retain();
      kept.push([frame.bytes.subarray(frame.start, frame.end), bytes]);
    };
    const expected: Buffer[] = [];
    const damaged: Buffer[] = [];
    let sequence = 0;
    for (let i = 0; i < 3000; i++) {
      const kind = (random.next32() >>> 0) % 12;
      if (kind === 0) {
        const other = Buffer.from(numbered(i, 60 + (i % 1000)));
        expect(send(far, other)).toBe(true);
        expected.push(other);
      } else {
        const length = kind === 1 ? 1 + (i % MSS) : MSS;
        const frame = tcpFrame({ sequence, payload: pattern(sequence, length) });
        if (kind === 2) frame[frame.length - 1]! ^= 1;
        else sequence += length;
        expect(send(far, frame)).toBe(true);
        (kind === 2 ? damaged : expected).push(frame);
      }
      if (i % 100 === 99) {
        far.flush();
        await lab.pass(1);
      }
    }
    // One that is damaged is left out of a run, and goes up by itself as it came, for the transport.
    const sound = seen.filter((bytes) => !damaged.some((other) => other.equals(bytes)));
    expect(near.counters.rxErrors + seen.length - sound.length).toBe(damaged.length);
    expect(near.counters.rxErrors).toBeGreaterThan(0);
    expect(sound.length).toBe(expected.length);
    sound.forEach((bytes, i) => {
      const whole = expected[i]!;
      // Of a run, only payloads are compared: all its segments share one header.
      const same = bytes.length === whole.length ? whole : whole.subarray(HEADERS[4]);
      if (!bytes.equals(same)) throw new Error(`frame ${i} of ${whole.length} bytes is another`);
    });
    for (const [view, bytes] of kept) expect(bytes.equals(view)).toBe(true);
    expect(kept.length).toBeGreaterThan(100);
  });

  it('a frame that is too long and no TCP is an error, and nothing else', async () => {
    const { lab, ...pair } = await makePair(options);
    const [near, far] = order(pair);
    listen(near);
    const at = listen(far);
    expect(send(near, numbered(1, 5000))).toBe(true);
    expect(send(near, numbered(2, 1000))).toBe(true);
    near.flush();
    await lab.pass(2);
    expect(at.numbers).toEqual([2]);
    expect(near.counters).toMatchObject({ txErrors: 1, txFrames: 1 });
  });

  it('the other end is told that there are no offloads', async () => {
    const { lab } = await makePair(options);
    for (const folder of [frontendFolder(VIF), backendFolder(VIF)]) {
      for (const [key, value] of [
        ['feature-gso-tcpv4', '0'],
        ['feature-gso-tcpv6', '0'],
        ['feature-no-csum-offload', '1'],
      ]) {
        expect(await lab.run(lab.dom0.store.read(`${folder}/${key}`))).toBe(value);
      }
    }
  });
});

it('a backend in software completes what a frontend leaves blank all the same, and puts it together', async () => {
  const lab = new Lab();
  await lab.attach();
  const opening = lab.openBack({ offloads: 'software' });
  await lab.pass(50);
  await lab.run(lab.dom0.store.write(`${backendFolder(VIF)}/feature-no-csum-offload`, '0'));
  const [front, back] = await lab.run(
    Promise.all([lab.openFront({ offloads: { checksum: true, segmentation: false } }), opening]),
  );
  listen(front);
  const at = listen(back);
  for (let i = 0; i < 10; i++) {
    const frame = tcpFrame({ sequence: i * MSS, payload: pattern(i * MSS, MSS) });
    frame.writeUInt16BE(~internetChecksum(pseudoHeader(frame, false)) & 0xffff, 50);
    send(front, frame, (cursor) => {
      cursor.checksum = CHECKSUM_PARTIAL;
      cursor.checksumStart = cursor.start + 34;
      cursor.checksumOffset = 16;
    });
  }
  front.flush();
  await lab.pass(2);
  const payload = Buffer.concat(at.frames.map((bytes) => bytes.subarray(HEADERS[4])));
  expect(payload.equals(pattern(0, 10 * MSS))).toBe(true);
  expect(at.frames.length).toBeLessThan(4);
});

it('what was promised of segments holds for a later backend that takes none, and for one after it that does', async () => {
  const { lab, front, back } = await makePair();
  listen(front);
  listen(back);
  const length = 20 * MSS;
  const sizes = async (offloads: boolean | { checksum: boolean; segmentation: boolean }) => {
    const later = await lab.run(lab.openBack({ offloads }));
    const at = listen(later);
    await lab.pass(10);
    expect(front.transmit).toEqual({ checksum: 'partial', segmentation: 65_535 });
    expect(sendLarge(front, 0, length)).toBe(true);
    front.flush();
    await lab.pass(5);
    await lab.run(later.close());
    return at.frames;
  };
  await lab.run(back.close());
  for (const offloads of [false, { checksum: true, segmentation: false }]) {
    const frames = await sizes(offloads);
    expect(frames.length).toBe(20);
    expect(checkSegments(frames, 0)).toBe(length);
  }
  expect((await sizes(true)).map((frame) => frame.length)).toEqual([length + HEADERS[4]]);
  await lab.run(front.close());
});
