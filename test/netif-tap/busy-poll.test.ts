import { describe, expect, test } from 'vitest';
import { BusyPoll } from '../../src/netif/tap/busy-poll.ts';

const LIMIT_US = 200;

/** A turn of the event loop, its check phase included. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

/** A device that has something at the reads in `finds`, counted from 1, or always. */
function deviceWith(finds: Iterable<number> | 'always') {
  const found = finds === 'always' ? null : new Set(finds);
  const device = { reads: 0, poll: new BusyPoll(LIMIT_US, () => read()) };
  const read = (): boolean => {
    device.reads++;
    if (found !== null && !found.has(device.reads)) return false;
    device.poll.later();
    return true;
  };
  return device;
}

describe('BusyPoll', () => {
  test('looks in the turn after frames came, until the time is over, and then waits for the event', async () => {
    const device = deviceWith([]);
    device.poll.later();
    expect(device.reads).toBe(0);
    const begin = performance.now();
    await turn();
    expect(performance.now() - begin).toBeGreaterThanOrEqual(LIMIT_US / 1000);
    const { reads } = device;
    expect(reads).toBeGreaterThan(0);
    await turns(5);
    expect(device.reads).toBe(reads);
  });

  test('goes on as long as it finds something, a turn each', async () => {
    const device = deviceWith([1, 2, 3]);
    device.poll.later();
    await turns(3);
    expect(device.reads).toBe(3);
    await turn();
    expect(device.reads).toBeGreaterThan(3);
  });

  test('asked twice in a turn, looks once', async () => {
    const device = deviceWith([1]);
    device.poll.later();
    device.poll.later();
    await turn();
    expect(device.reads).toBe(1);
    device.poll.stop();
  });

  test('what promises do about a frame is done before the look', async () => {
    const order: string[] = [];
    const poll = new BusyPoll(0, () => order.push('look') === 0);
    poll.later();
    process.nextTick(() => order.push('tick'));
    await Promise.resolve().then(() => order.push('promise'));
    await turn();
    expect(order.toSorted()).toEqual(['look', 'promise', 'tick']);
    expect(order.at(-1)).toBe('look');
  });

  test('looks in vain become rare: of a thousand events few are followed by one', async () => {
    let looks = 0;
    const poll = new BusyPoll(0, () => {
      looks++;
      return false;
    });
    for (let event = 0; event < 1000; event++) {
      poll.later();
      await turn();
    }
    // 1, 3, 6, 11, 20, 37, 70, then every 65th.
    expect(looks).toBe(7 + Math.floor((1000 - 70) / 65));
  });

  test('one that finds something makes them frequent again, step by step', async () => {
    let looks = 0;
    let finds = false;
    const poll = new BusyPoll(0, () => {
      looks++;
      return finds;
    });
    const events = async (count: number): Promise<number> => {
      const before = looks;
      for (let event = 0; event < count; event++) {
        poll.later();
        await turn();
      }
      return looks - before;
    };
    await events(500);
    finds = true;
    await events(64 + 8);
    expect(await events(100)).toBe(100);
    finds = false;
    expect(await events(2)).toBe(1);
    expect(await events(3)).toBe(1);
    expect(await events(5)).toBe(1);
  });

  test('stopped, it looks no more, not even when a look is due or in the middle of one', async () => {
    const due = deviceWith('always');
    due.poll.later();
    due.poll.stop();
    await turns(3);
    expect(due.reads).toBe(0);

    let reads = 0;
    const inMiddle = new BusyPoll(1e6, () => {
      if (++reads === 3) inMiddle.stop();
      return false;
    });
    inMiddle.later();
    await turn();
    expect(reads).toBe(3);
  });

  test('does not keep a process alive for good that nothing else does', async () => {
    const device = deviceWith('always');
    device.poll.unref();
    device.poll.later();
    await turns(100);
    expect(device.reads).toBe(16);
    device.poll.later();
    await turns(100);
    expect(device.reads).toBe(32);
  });
});
