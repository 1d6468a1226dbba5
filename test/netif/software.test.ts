import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CHECKSUM_VERIFIED,
  createCable,
  type Frame,
  Switch,
  softwareOffloads,
} from '../../src/netif/index.ts';
import { VirtualClock } from '../../src/time/index.ts';
import { internetChecksum } from '../support/packets.ts';
import { ACK, pattern, sendLarge, tcpChecksum, tcpFrame } from '../support/tcp-frames.ts';
import { listen } from './helpers.ts';

const HEADERS = 66;

/** Ends of a cable, of which only the first does offloads in software. */
function oneEnd(queueFrames = 256) {
  const clock = new VirtualClock();
  const [near, far] = createCable({ clock, queueFrames });
  return { clock, near: softwareOffloads(near), far };
}

describe('offloads in software, over frames of a cable', () => {
  it('sends ordinary frames with every checksum right', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60_000 }),
        fc.integer({ min: 400, max: 1408 }),
        fc.boolean(),
        fc.integer({ min: 2, max: 64 }),
        (length, mss, ipv6, queueFrames) => {
          const { clock, near, far } = oneEnd(queueFrames);
          listen(near);
          const { frames } = listen(far);
          expect(sendLarge(near, length, mss, { ipv6, sequence: 7 })).toBe(true);
          clock.advanceTo(1);
          const tcp = 14 + (ipv6 ? 40 : 20);
          const payloads = frames.map((bytes) => {
            const frame = Buffer.from(bytes);
            expect(frame.length).toBeLessThanOrEqual(tcp + 32 + mss);
            expect(tcpChecksum(frame, ipv6)).toBe(0);
            if (!ipv6) expect(internetChecksum(frame.subarray(14, tcp))).toBe(0);
            return frame.subarray(tcp + 32);
          });
          expect(frames).toHaveLength(Math.ceil(length / mss));
          expect(Buffer.concat(payloads).equals(pattern(7, length))).toBe(true);
          expect(near.counters).toMatchObject({ txFrames: frames.length, txDropped: 0 });
        },
      ),
      { numRuns: 60 },
    );
  });

  it('takes nothing more while the rest of a frame waits for room, and says when there is', () => {
    const { clock, near, far } = oneEnd(8);
    const { log } = listen(near);
    const { frames } = listen(far);
    expect(sendLarge(near, 20_000, 1000)).toBe(true);
    expect(near.reserve(60)).toBeNull();
    expect(near.counters.txStalls).toBe(2);
    clock.advanceTo(1);
    expect(frames).toHaveLength(20);
    expect(log).toEqual(['writable']);
    expect(near.reserve(60)).not.toBeNull();
  });

  it('counts the rest of a frame as dropped when it is closed before it could go', async () => {
    const { near, far } = oneEnd(8);
    listen(near);
    listen(far);
    sendLarge(near, 20_000, 1000);
    await near.close();
    expect(near.counters.txDropped).toBe(1);
    expect(near.reserve(60)).toBeNull();
  });

  it('puts together what comes in one batch, and keeps what is retained', () => {
    const clock = new VirtualClock();
    const [near, far] = createCable({ clock, offloads: 'software' });
    listen(near);
    const recorder = listen(far);
    const shown: Pick<Frame, 'checksum' | 'segmentSize'>[] = [];
    const copies: Uint8Array[] = [];
    recorder.onFrame = (frame) => {
      shown.push({ checksum: frame.checksum, segmentSize: frame.segmentSize });
      if (shown.length % 3 === 0) return;
      recorder.keep(frame);
      copies.push(recorder.frames.at(-1)!);
    };
    for (let sequence = 0; sequence < 900_000; sequence += 45_000) {
      sendLarge(near, 45_000, 1400, { sequence, flags: ACK });
      if (sequence % 4 === 0) clock.advanceTo(1);
    }
    clock.advanceTo(2);
    const payload = recorder.frames.map((frame) => frame.subarray(HEADERS));
    expect(Buffer.concat(payload).equals(pattern(0, 900_000))).toBe(true);
    expect(shown.length).toBeLessThan(120);
    for (const { checksum, segmentSize } of shown)
      if (segmentSize > 0) expect(checksum).toBe(CHECKSUM_VERIFIED);
    expect(recorder.kept.map((view, i) => Buffer.compare(view, copies[i]!))).not.toContain(1);
    expect(recorder.kept.map((view, i) => Buffer.compare(view, copies[i]!))).not.toContain(-1);
    expect(far.counters.rxFrames).toBe(near.counters.txFrames);
  });

  it('is on both sides of a switch that passes ordinary frames', () => {
    const clock = new VirtualClock();
    const bridge = new Switch({ clock, offloads: 'software' });
    const [near, far] = [bridge.port(), bridge.port()];
    const recorder = listen(far);
    listen(near);
    sendLarge(near, 45_000, 1400, { flags: ACK });
    clock.advanceTo(1);
    const payload = recorder.frames.map((frame) => frame.subarray(HEADERS));
    expect(Buffer.concat(payload).equals(pattern(0, 45_000))).toBe(true);
    expect(recorder.frames.length).toBeLessThan(10);
    expect(far.counters.rxFrames).toBe(Math.ceil(45_000 / 1400));
  });

  it('hands up frames of other kinds between two runs in their order', () => {
    const { clock, near, far } = oneEnd();
    const recorder = listen(near);
    listen(far);
    const frames: Buffer[] = [];
    for (let i = 0; i < 6; i++) frames.push(tcpFrame({ sequence: i * 500, payload: pattern(i * 500, 500) }));
    const other = Buffer.concat([frames[0]!.subarray(0, 12), Buffer.from([8, 6]), Buffer.alloc(46, 9)]);
    frames.splice(3, 0, other);
    for (const bytes of frames) {
      const frame = far.reserve(bytes.length)!;
      frame.bytes.set(bytes, frame.start);
      far.commit(frame);
    }
    clock.advanceTo(1);
    expect(recorder.frames.map(({ length }) => length)).toEqual([
      566,
      HEADERS + 1000,
      60,
      566,
      HEADERS + 1000,
    ]);
    expect(recorder.log.at(-1)).toBe('flush');
  });

  it('leaves a netif with offloads of its own as it is', () => {
    const offloads = { checksum: 'partial', segmentation: 65_549 } as const;
    const [near] = createCable({ clock: new VirtualClock(), offloads });
    expect(softwareOffloads(near)).toBe(near);
  });
});
