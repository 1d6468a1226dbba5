import { describe, expect, it } from 'vitest';
import { complement, sum } from '../../src/checksum/index.ts';
import {
  CHECKSUM_NONE,
  CHECKSUM_PARTIAL,
  CHECKSUM_VERIFIED,
  createCable,
  type Impairments,
  impair,
  type Offloads,
} from '../../src/netif/index.ts';
import { SeededRandom, VirtualClock } from '../../src/time/index.ts';
import { listen, numbered, numberOf, send } from './helpers.ts';

interface Setup {
  readonly transmit?: Impairments;
  readonly receive?: Impairments;
  readonly seed?: number;
  readonly queueFrames?: number;
  readonly offloads?: Offloads;
}

/** `near` is impaired, `far` is the bare other end. */
function line({ transmit = {}, receive = {}, seed = 1, ...cable }: Setup) {
  const clock = new VirtualClock();
  const [bare, far] = createCable({ clock, ...cable });
  const near = impair(bare, { clock, random: new SeededRandom(seed), transmit, receive });
  const heard = { near: listen(near), far: listen(far) };
  const arrivals: { number: number; at: number }[] = [];
  heard.far.onFrame = () => arrivals.push({ number: numberOf(heard.far.frames.at(-1)!), at: clock.now() });
  return { clock, bare, near, far, heard, arrivals };
}

const count = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Sends `n` frames, one each `everyMs`, and waits until all have come. */
function play(setup: Setup, n: number, everyMs = 1, size = 100) {
  const network = line(setup);
  for (let i = 0; i < n; i++) {
    network.clock.advanceTo(i * everyMs);
    send(network.near, numbered(i, size));
    network.near.flush();
  }
  network.clock.advanceTo(n * everyMs + 60_000);
  return network;
}

describe('impair', () => {
  it('passes frames straight through when nothing is asked', () => {
    const { clock, near, far, heard } = line({});
    const memory = new Set<number>();
    heard.near.onFrame = (frame) => memory.add(frame.start);
    for (const number of count(100)) {
      send(near, numbered(number));
      send(far, numbered(number));
      clock.advanceTo(number);
    }
    expect(heard.far.numbers).toEqual(count(100));
    expect(heard.near.numbers).toEqual(count(100));
    expect([...memory]).toEqual([0]);
    expect(near.counters).toMatchObject({ txFrames: 100, rxFrames: 100, txBytes: 6000, rxBytes: 6000 });
    expect(near.impaired.transmit.frames).toBe(0);
    expect(heard.near.log.slice(0, 2)).toEqual(['frame', 'flush']);
  });

  it('loses the share that was asked for, the same frames for the same seed', () => {
    const lose = (seed: number) => play({ transmit: { loss: 0.1 }, seed }, 10_000);
    const { arrivals, near } = lose(1);
    expect(10_000 - arrivals.length).toBe(near.impaired.transmit.lost);
    expect(near.impaired.transmit.lost).toBeGreaterThan(900);
    expect(near.impaired.transmit.lost).toBeLessThan(1100);
    expect(lose(1).arrivals).toEqual(arrivals);
    expect(lose(2).arrivals).not.toEqual(arrivals);
  });

  it('loses in bursts', () => {
    const { arrivals } = play({ transmit: { burst: { enter: 0.01, exit: 0.25 } } }, 20_000);
    const gaps = arrivals.slice(1).map(({ number }, i) => number - arrivals[i]!.number - 1);
    const bursts = gaps.filter((gap) => gap > 0);
    const lost = bursts.reduce((total, gap) => total + gap, 0);
    // The mean burst lasts 1/exit frames, and enter/(enter+exit) of all are lost.
    expect(lost / bursts.length).toBeGreaterThan(3.3);
    expect(lost / bursts.length).toBeLessThan(4.7);
    expect(lost / 20_000).toBeGreaterThan(0.03);
    expect(lost / 20_000).toBeLessThan(0.048);
  });

  it('delays by what was asked, in order, in both directions', () => {
    const { clock, near, far, heard, arrivals } = line({
      transmit: { delayMs: 20 },
      receive: { delayMs: 30 },
    });
    for (const number of count(10)) {
      clock.advanceTo(number);
      send(near, numbered(number));
      send(far, numbered(number));
    }
    const back: number[] = [];
    heard.near.onFrame = () => back.push(clock.now());
    clock.advanceTo(100);
    expect(arrivals).toEqual(count(10).map((number) => ({ number, at: number + 20 })));
    expect(heard.near.numbers).toEqual(count(10));
    expect(back).toEqual(count(10).map((number) => number + 30));
  });

  it('keeps delayed inbound frames whole while the sender goes on', () => {
    const { clock, far, heard } = line({ receive: { delayMs: 50, jitterMs: 20 } });
    for (const number of count(500)) {
      clock.advanceTo(number);
      send(far, numbered(number, 1514));
    }
    clock.advanceTo(1000);
    expect(heard.near.numbers.toSorted((a, b) => a - b)).toEqual(count(500));
    for (const frame of heard.near.frames) {
      const number = (frame[16]! << 8) | frame[17]!;
      expect(Buffer.compare(frame, numbered(number, 1514))).toBe(0);
    }
  });

  it('reorders by jitter, unless order is to be kept', () => {
    const jitter = { delayMs: 10, jitterMs: 8 };
    const { arrivals } = play({ transmit: jitter }, 1000);
    expect(arrivals.map(({ number }) => number)).not.toEqual(count(1000));
    for (const { number, at } of arrivals) {
      expect(at - number).toBeGreaterThanOrEqual(2);
      expect(at - number).toBeLessThanOrEqual(18);
    }
    const kept = play({ transmit: { ...jitter, keepOrder: true } }, 1000).arrivals;
    expect(kept.map(({ number }) => number)).toEqual(count(1000));
  });

  it('holds single frames back, or lets them jump ahead', () => {
    const late = play({ transmit: { reorder: { probability: 0.05, delayMs: 3.5 } } }, 2000);
    expect(late.near.impaired.transmit.reordered).toBeGreaterThan(60);
    expect(late.arrivals.filter(({ number, at }) => at === number + 3.5)).toHaveLength(
      late.near.impaired.transmit.reordered,
    );
    expect(late.arrivals.filter(({ number, at }) => at === number)).toHaveLength(
      2000 - late.near.impaired.transmit.reordered,
    );
    const early = play({ transmit: { delayMs: 10, reorder: { probability: 0.05, delayMs: -10 } } }, 200);
    expect(early.arrivals.filter(({ number, at }) => at === number)).toHaveLength(
      early.near.impaired.transmit.reordered,
    );
  });

  it('duplicates', () => {
    const { arrivals, near } = play({ transmit: { duplicate: 0.2 } }, 2000);
    expect(arrivals).toHaveLength(2000 + near.impaired.transmit.duplicated);
    expect(near.impaired.transmit.duplicated).toBeGreaterThan(330);
    expect(near.impaired.transmit.duplicated).toBeLessThan(470);
    const { clock, far, heard, near: inbound } = line({ receive: { duplicate: 1 } });
    send(far, numbered(7));
    clock.advanceTo(0);
    expect(heard.near.numbers).toEqual([7, 7]);
    expect(inbound.counters.rxFrames).toBe(2);
  });

  it('flips between one and n bits of as many frames as it says, and nothing else', () => {
    for (const direction of ['transmit', 'receive'] as const) {
      const { clock, near, far, heard } = line({
        [direction]: { corrupt: 0.1, corruptBits: 3, duplicate: 0.1 },
      });
      const [from, to] = direction === 'transmit' ? [near, heard.far] : [far, heard.near];
      const histogram = [0, 0, 0, 0, 0];
      for (let i = 0; i < 3000; i++) {
        const sent = numbered(i);
        send(from, sent);
        clock.advanceTo(i);
        for (const frame of to.frames.splice(0)) {
          let bits = 0;
          for (let at = 0; at < 60; at++) {
            for (let x = frame[at]! ^ sent[at]!; x > 0; x &= x - 1) bits++;
          }
          histogram[bits]!++;
        }
      }
      const { corrupted, duplicated } = near.impaired[direction];
      expect(histogram[0]! + corrupted).toBe(3000 + duplicated);
      expect(histogram[1]! + histogram[2]! + histogram[3]!).toBe(corrupted);
      expect(corrupted).toBeGreaterThan(250);
      expect(histogram[3]).toBeGreaterThan(50);
    }
  });

  it('keeps what a receiver retains, though it answers with a frame that is damaged on the way', () => {
    const { clock, near, far, heard } = line({ transmit: { corrupt: 1 }, receive: { loss: 1e-9 } });
    const memory: number[] = [];
    heard.near.onFrame = (frame) => {
      memory.push(frame.start);
      frame.retain();
      send(near, numbered(1000 + memory.length));
    };
    for (const number of count(10)) {
      send(far, numbered(number));
      clock.advanceTo(number + 1);
    }
    expect(heard.near.numbers).toEqual(count(10));
    expect(new Set(memory).size).toBe(10);
  });

  it('completes a checksum before it corrupts, so that the damage shows', () => {
    const offloads = { checksum: 'partial', segmentation: 0 } as const;
    for (const direction of ['transmit', 'receive'] as const) {
      const { clock, near, far, heard } = line({ [direction]: { corrupt: 1 }, offloads });
      const [from, to] = direction === 'transmit' ? [near, heard.far] : [far, heard.near];
      let wrong = 0;
      to.onFrame = (frame) => {
        expect(frame.checksum).toBe(CHECKSUM_NONE);
        // The pseudo-header sum here is 0x1234; a right checksum makes all of it 0xffff.
        if (sum(frame.bytes, frame.start + 34, frame.end, 0x1234) !== 0xffff) wrong++;
      };
      let flippedInHeaders = 0;
      for (let i = 0; i < 100; i++) {
        const sent = numbered(i);
        sent.set([0x12, 0x34], 34 + 6);
        send(from, sent, (frame) => {
          frame.checksum = CHECKSUM_PARTIAL;
          frame.checksumStart = frame.start + 34;
          frame.checksumOffset = 6;
        });
        clock.advanceTo(i);
        const frame = to.frames.at(-1)!;
        if (Buffer.compare(frame.subarray(0, 34), sent.subarray(0, 34)) !== 0) {
          flippedInHeaders++;
          expect((frame[40]! << 8) | frame[41]!).toBe(complement(sum(sent, 34, 60)));
        }
      }
      expect(wrong + flippedInHeaders).toBe(100);
      expect(wrong).toBeGreaterThan(20);
    }
  });

  it('preserves offload state of what it delays', () => {
    const { clock, near, heard } = line({
      transmit: { delayMs: 5 },
      offloads: { checksum: 'partial', segmentation: 65_550 },
    });
    const seen: unknown[] = [];
    heard.far.onFrame = (frame) =>
      seen.push([frame.checksum, frame.checksumStart - frame.start, frame.checksumOffset, frame.segmentSize]);
    send(near, numbered(0, 100));
    send(near, numbered(1, 9000), (frame) => {
      frame.checksum = CHECKSUM_PARTIAL;
      frame.checksumStart = frame.start + 34;
      frame.checksumOffset = 16;
      frame.segmentSize = 1460;
    });
    send(near, numbered(2), (frame) => {
      frame.checksum = CHECKSUM_VERIFIED;
    });
    clock.advanceTo(10);
    expect(seen.slice(1)).toEqual([
      [CHECKSUM_PARTIAL, 34, 16, 1460],
      [CHECKSUM_VERIFIED, expect.any(Number), 0, 0],
    ]);
  });

  it('sends at a rate, one frame after the other, and drops what the queue does not hold', () => {
    // 1000 bytes at 1 Mbit/s take 8 ms.
    const { clock, near, arrivals } = line({ transmit: { rateBps: 1e6, queueBytes: 5000, delayMs: 100 } });
    for (const number of count(10)) send(near, numbered(number, 1000));
    clock.advanceTo(1000);
    expect(arrivals).toEqual(count(5).map((number) => ({ number, at: 108 + number * 8 })));
    expect(near.impaired.transmit.overflowed).toBe(5);
    expect(near.counters.txDropped).toBe(5);
    send(near, numbered(99, 1500));
    clock.advanceTo(2000);
    expect(arrivals.at(-1)).toEqual({ number: 99, at: 1112 });
  });

  it('waits, in order, for an inner netif that is full, and stalls its own sender', () => {
    const clock = new VirtualClock();
    const [bare, far] = createCable({ clock, queueFrames: 4 });
    const near = impair(bare, { clock, transmit: { delayMs: 1 } });
    const sender = listen(near);
    let next = 0;
    sender.onWritable = () => {
      while (next < 50 && send(near, numbered(next))) next++;
    };
    for (; next < 10; next++) expect(send(near, numbered(next))).toBe(true);
    clock.advanceTo(5);
    expect(send(near, numbered(10))).toBe(false);
    expect(near.counters.txStalls).toBe(1);
    const heard = listen(far);
    clock.advanceTo(100);
    expect(heard.numbers).toEqual(count(50));
  });

  it('stalls as the inner netif does when it passes straight through', () => {
    const clock = new VirtualClock();
    const [bare, far] = createCable({ clock, queueFrames: 4 });
    const near = impair(bare, { clock });
    const sender = listen(near);
    for (const number of count(4)) send(near, numbered(number));
    expect(send(near, numbered(4))).toBe(false);
    const heard = listen(far);
    clock.advanceTo(0);
    expect(sender.log).toEqual(['writable']);
    expect(heard.numbers).toEqual(count(4));
  });

  it('can be changed while it runs', () => {
    const { clock, near, arrivals } = line({});
    send(near, numbered(0));
    near.set({ transmit: { loss: 1 } });
    send(near, numbered(1));
    near.set({ transmit: { delayMs: 10 } });
    send(near, numbered(2));
    near.set({ transmit: {} });
    send(near, numbered(3));
    clock.advanceTo(50);
    expect(arrivals).toEqual([
      { number: 0, at: 0 },
      { number: 3, at: 0 },
      { number: 2, at: 10 },
    ]);
    expect(() => near.set({ receive: { loss: 2 } })).toThrow('loss 2 is not within 0..1');
    expect(() => near.set({ receive: { rateBps: 0 } })).toThrow(RangeError);
  });

  it('drops what is on its way when it is closed, and leaves no alarm', async () => {
    const { clock, near, far, heard } = line({ transmit: { delayMs: 10 }, receive: { delayMs: 10 } });
    send(near, numbered(1));
    send(far, numbered(2));
    clock.advanceTo(1);
    await near.close();
    expect(heard.near.log.at(-1)).toBe('closed');
    expect(heard.near.frames).toEqual([]);
    clock.advanceTo(1);
    expect(clock.step()).toBe(false);
    expect(near.reserve(60)).toBe(null);
    expect(heard.far.frames).toEqual([]);
  });
});
