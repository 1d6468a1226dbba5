import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CHECKSUM_NONE,
  CHECKSUM_PARTIAL,
  CHECKSUM_VERIFIED,
  createCable,
  type Frame,
  NO_OFFLOADS,
} from '../../src/netif/index.ts';
import { RealClock, VirtualClock } from '../../src/time/index.ts';
import { listen, numbered, send } from './helpers.ts';

const OFFLOADS = { checksum: 'partial', segmentation: 65_550 } as const;

describe('createCable', () => {
  it('delivers what was sent, in order, and what is retained is never written again', () => {
    const step = fc.record({
      size: fc.oneof(fc.integer({ min: 18, max: 1514 }), fc.integer({ min: 18, max: 65_550 })),
      keep: fc.boolean(),
      deliver: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const clock = new VirtualClock();
        // Room for all of the largest.
        const [left, right] = createCable({ clock, offloads: OFFLOADS, queueFrames: 4096 });
        const recorder = listen(right);
        recorder.onFrame = (frame) => {
          if (steps[recorder.frames.length - 1]!.keep) recorder.keep(frame);
        };
        const sent = steps.map(({ size, deliver }, i) => {
          const bytes = numbered(i, size);
          expect(send(left, bytes)).toBe(true);
          if (deliver) clock.advanceTo(0);
          return bytes;
        });
        clock.advanceTo(0);
        expect(recorder.frames.every((frame, i) => Buffer.compare(frame, sent[i]!) === 0)).toBe(true);
        expect(recorder.frames).toHaveLength(sent.length);
        const kept = sent.filter((_, i) => steps[i]!.keep);
        expect(recorder.kept.every((view, i) => Buffer.compare(view, kept[i]!) === 0)).toBe(true);
        expect(right.counters.rxFrames).toBe(sent.length);
        expect(left.counters.txBytes).toBe(sent.reduce((total, { length }) => total + length, 0));
      }),
      { numRuns: 60 },
    );
  });

  it('shows the receiver the very bytes that the sender wrote, and reuses them if nobody keeps them', () => {
    const clock = new VirtualClock();
    const [left, right] = createCable({ clock });
    const memory = new Set<ArrayBufferLike>();
    const starts = new Set<number>();
    listen(right).onFrame = (frame) => {
      memory.add(frame.bytes.buffer);
      starts.add(frame.start);
    };
    for (let i = 0; i < 1000; i++) {
      const frame = left.reserve(1514)!;
      memory.add(frame.bytes.buffer);
      left.commit(frame);
      clock.advanceTo(0);
    }
    expect(memory.size).toBe(1);
    expect([...starts]).toEqual([0]);
  });

  it('moves past retained bytes, and goes on to use the rest of the slab', () => {
    const clock = new VirtualClock();
    const [left, right] = createCable({ clock });
    const recorder = listen(right);
    const starts: number[] = [];
    recorder.onFrame = (frame) => {
      starts.push(frame.start);
      if (recorder.frames.length === 1) recorder.keep(frame);
    };
    for (let i = 0; i < 4; i++) {
      send(left, numbered(i, 100));
      clock.advanceTo(0);
    }
    expect(starts).toEqual([0, 100, 100, 100]);
    expect(recorder.kept[0]).toEqual(Buffer.from(numbered(0, 100)));
  });

  it('never delivers within commit, flushes after each batch', () => {
    const clock = new VirtualClock();
    const [left, right] = createCable({ clock, batch: 2 });
    const recorder = listen(right);
    for (let i = 0; i < 5; i++) send(left, numbered(i));
    expect(recorder.log).toEqual([]);
    clock.advanceTo(0);
    expect(recorder.log.join(' ')).toBe('frame frame flush frame frame flush frame flush');
    expect(recorder.numbers).toEqual([0, 1, 2, 3, 4]);
  });

  it('answers null when it is full, and calls writable when there is room again', () => {
    const clock = new VirtualClock();
    const [left, right] = createCable({ clock, queueFrames: 8, batch: 2 });
    const sender = listen(left);
    for (let i = 0; i < 8; i++) expect(send(left, numbered(i))).toBe(true);
    expect(send(left, numbered(8))).toBe(false);
    expect(left.counters.txStalls).toBe(1);
    clock.advanceTo(0);
    expect(sender.log).toEqual([]);
    let next = 8;
    sender.onWritable = () => {
      while (next < 100 && send(left, numbered(next))) next++;
    };
    const receiver = listen(right);
    clock.advanceTo(0);
    expect(receiver.numbers).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(left.counters.txDropped + right.counters.rxDropped).toBe(0);
  });

  it.each([
    ['256 KiB', 20, 4, 65_536],
    ['so many ordinary ones', 200, 5, (200 * 1518) / 5],
  ])(
    'is full of large frames with the bytes of %s, and has room at half of it',
    (_, queueFrames, count, size) => {
      const clock = new VirtualClock();
      const [left, right] = createCable({ clock, offloads: OFFLOADS, queueFrames, batch: 1 });
      const sender = listen(left);
      for (let i = 1; i < count; i++) expect(send(left, numbered(i, size))).toBe(true);
      expect(send(left, numbered(count, size - 18))).toBe(true);
      expect(send(left, numbered(count + 1, 18))).toBe(true);
      expect(send(left, numbered(0, 18))).toBe(false);
      expect(left.counters.txStalls).toBe(1);
      const receiver = listen(right);
      let receivedWhenWritable = 0;
      sender.onWritable = () => {
        receivedWhenWritable = receiver.frames.length;
      };
      clock.advanceTo(0);
      expect(receivedWhenWritable).toBe(Math.ceil(count / 2));
      expect(receiver.frames).toHaveLength(count + 1);
      expect(send(left, numbered(0, 65_550))).toBe(true);
    },
  );

  it('carries offload state at the same place', () => {
    const clock = new VirtualClock();
    const [left, right] = createCable({ clock, offloads: OFFLOADS });
    const seen: Partial<Frame>[] = [];
    listen(right).onFrame = ({ checksum, checksumStart, start, checksumOffset, segmentSize }) =>
      seen.push({ checksum, checksumStart: checksumStart - start, checksumOffset, segmentSize });
    send(left, numbered(1, 5000), (frame) => {
      frame.checksum = CHECKSUM_PARTIAL;
      frame.checksumStart = frame.start + 34;
      frame.checksumOffset = 16;
      frame.segmentSize = 1460;
    });
    send(left, numbered(2), (frame) => {
      frame.checksum = CHECKSUM_VERIFIED;
    });
    clock.advanceTo(0);
    expect(seen).toMatchObject([
      { checksum: CHECKSUM_PARTIAL, checksumStart: 34, checksumOffset: 16, segmentSize: 1460 },
      { checksum: CHECKSUM_VERIFIED, segmentSize: 0 },
    ]);
  });

  it('refuses ends that do not fit, and frames that were not agreed', () => {
    const clock = new VirtualClock();
    expect(() => createCable({ clock, offloads: [OFFLOADS, NO_OFFLOADS] })).toThrow(/cable0 transmits/);
    expect(() =>
      createCable({ clock, offloads: [{ checksum: 'none', segmentation: 9000 }, NO_OFFLOADS] }),
    ).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    const [left, right] = createCable({
      clock,
      offloads: [
        { transmit: OFFLOADS, receive: NO_OFFLOADS },
        { transmit: NO_OFFLOADS, receive: OFFLOADS },
      ],
    });
    expect([left.transmit, left.receive, right.transmit, right.receive]).toEqual([
      OFFLOADS,
      NO_OFFLOADS,
      NO_OFFLOADS,
      OFFLOADS,
    ]);
    expect(() => right.reserve(1519)).toThrow(expect.objectContaining({ code: 'EMSGSIZE' }));
    const frame = right.reserve(100)!;
    frame.checksum = CHECKSUM_PARTIAL;
    expect(() => right.commit(frame)).toThrow('does not complete checksums');
    // A device that vouches for a checksum is believed only where that was agreed.
    const seen: number[] = [];
    listen(left).onFrame = ({ checksum }) => seen.push(checksum);
    send(right, numbered(1), (frame) => {
      frame.checksum = CHECKSUM_VERIFIED;
    });
    clock.advanceTo(0);
    expect(seen).toEqual([CHECKSUM_NONE]);
  });

  it('closes one end: what it sent still arrives, what it is sent does not', async () => {
    const clock = new VirtualClock();
    const [left, right] = createCable({ clock, queueFrames: 2 });
    const [near, far] = [listen(left), listen(right)];
    send(left, numbered(1));
    send(right, numbered(2));
    send(right, numbered(3));
    expect(send(right, numbered(4))).toBe(false);
    await left.close();
    await left.close();
    expect(near.log).toEqual(['closed']);
    expect(left.counters.rxDropped).toBe(2);
    expect(left.reserve(60)).toBe(null);
    clock.advanceTo(0);
    expect(far.numbers).toEqual([1]);
    expect(far.log).toContain('writable');
    expect(send(right, numbered(5))).toBe(true);
    expect(right.counters.txDropped).toBe(1);
    clock.advanceTo(0);
    expect(near.frames).toEqual([]);
  });

  it('lets an end be closed by the handler that is being given a frame, and keeps what that retained', async () => {
    const clock = new VirtualClock();
    const [left, right] = createCable({ clock });
    const recorder = listen(right);
    recorder.onFrame = (frame) => {
      recorder.keep(frame);
      void right.close();
    };
    for (let i = 0; i < 3; i++) send(left, numbered(i));
    clock.advanceTo(0);
    for (let i = 10; i < 20; i++) send(left, numbered(i));
    expect(recorder.numbers).toEqual([0]);
    expect(recorder.kept[0]).toEqual(Buffer.from(numbered(0)));
  });

  it('lets the event loop breathe while two ends answer each other for ever', async () => {
    const clock = new RealClock();
    const [left, right] = createCable({ clock });
    let rounds = 0;
    let over = false;
    for (const end of [left, right]) {
      listen(end).onFrame = () => {
        rounds++;
        if (!over) send(end, numbered(1));
      };
    }
    send(left, numbered(0));
    // That a timer fires at all is the point; how much happens by then is the machine's affair.
    for (let turns = 0; rounds <= 100 && turns < 200; turns++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    over = true;
    expect(rounds).toBeGreaterThan(100);
    await Promise.all([left.close(), right.close()]);
  });
});
