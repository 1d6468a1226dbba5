import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { runVirtual, VirtualClock } from '../../src/time/index.ts';

describe('VirtualClock', () => {
  it('fires alarms by time, and by order of setting where times are equal', () => {
    const operation = fc.record({
      alarm: fc.nat({ max: 15 }),
      at: fc.option(fc.nat({ max: 8 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 100 }), (operations) => {
        const clock = new VirtualClock();
        const fired: string[] = [];
        const alarms = Array.from({ length: 16 }, (_, i) =>
          clock.alarm(() => fired.push(`${i}@${clock.now()}`)),
        );
        let model: { i: number; at: number }[] = [];
        for (const { alarm, at } of operations) {
          model = model.filter(({ i }) => i !== alarm);
          if (at === undefined) alarms[alarm]!.clear();
          else {
            alarms[alarm]!.set(at);
            model.push({ i: alarm, at });
          }
        }
        clock.advanceTo(10);
        expect(fired).toEqual(model.sort((a, b) => a.at - b.at).map(({ i, at }) => `${i}@${at}`));
        expect(clock.now()).toBe(10);
      }),
    );
  });

  it('runs deferred tasks after the event and before the next of the same time', () => {
    const clock = new VirtualClock(100);
    const log: string[] = [];
    clock
      .alarm(() => {
        log.push('a');
        clock.defer(() => {
          log.push('a1');
          clock.defer(() => log.push('a3'));
        });
        clock.defer(() => log.push('a2'));
      })
      .set(105);
    clock.alarm(() => log.push('b')).set(105);
    clock.defer(() => log.push('first'));
    expect(clock.now()).toBe(100);
    clock.advanceTo(105);
    expect(log).toEqual(['first', 'a', 'a1', 'a2', 'a3', 'b']);
  });

  it('steps: deferred tasks, then one alarm at a time', () => {
    const clock = new VirtualClock();
    const log: number[] = [];
    clock.defer(() => log.push(0));
    clock.alarm(() => log.push(clock.now())).set(3);
    clock.alarm(() => log.push(clock.now())).set(3);
    expect([clock.step(), log.length, clock.step(), log.length, clock.step(), clock.step()]).toEqual([
      true,
      1,
      true,
      2,
      true,
      false,
    ]);
    expect(log).toEqual([0, 3, 3]);
  });

  it('keeps what is left after a task has thrown', () => {
    const clock = new VirtualClock();
    const log: string[] = [];
    clock.defer(() => {
      throw new Error('mine');
    });
    clock.defer(() => log.push('next'));
    expect(() => clock.advanceTo(5)).toThrow('mine');
    clock.advanceTo(5);
    expect(log).toEqual(['next']);
  });

  it('lets applications that await run between two instants, the same way every time', async () => {
    const play = async (): Promise<string[]> => {
      const clock = new VirtualClock();
      const log: string[] = [];
      const walk = async (name: string, ms: number): Promise<void> => {
        for (let i = 0; i < 5; i++) {
          await clock.sleep(ms);
          for (let hop = 0; hop < 20; hop++) await undefined;
          log.push(`${name}@${clock.now()}`);
        }
      };
      void walk('two', 2);
      void walk('three', 3);
      await clock.runUntil(100);
      expect(clock.now()).toBe(100);
      return log;
    };
    const log = await play();
    expect(log).toEqual([
      'two@2',
      'three@3',
      'two@4',
      'three@6',
      'two@6',
      'two@8',
      'three@9',
      'two@10',
      'three@12',
      'three@15',
    ]);
    expect(await play()).toEqual(log);
  });

  it('runs until a condition holds, until nothing is left, or reports the limit', async () => {
    const clock = new VirtualClock();
    let count = 0;
    const tick = clock.alarm(() => {
      count++;
      tick.set(clock.now() + 10);
    });
    tick.set(10);
    await clock.run(() => count === 7);
    expect(clock.now()).toBe(70);
    await expect(clock.run(() => false, 1000)).rejects.toThrow(
      /1000 ms of virtual time passed \(from 70 to 1070 ms\)/,
    );
    expect(clock.now()).toBe(1070);
    await clock.runFor(30);
    expect(clock.now()).toBe(1100);
    tick.clear();
    await clock.run();
    expect(clock.now()).toBe(1100);
  });

  it('refuses two runners at once', async () => {
    const clock = new VirtualClock();
    const running = clock.runFor(10);
    await expect(clock.runFor(10)).rejects.toThrow('being run already');
    expect(() => clock.step()).toThrow('being run already');
    await running;
    clock.advanceTo(20);
  });

  it('runs to the end of a promise, and says so when nothing can settle it', async () => {
    const clock = new VirtualClock();
    const work = async (): Promise<number> => {
      await clock.sleep(1000);
      await clock.sleep(1000);
      return clock.now();
    };
    expect(await runVirtual(clock, work(), 5000)).toBe(2000);
    await expect(runVirtual(clock, work(), 500)).rejects.toThrow('500 ms of virtual time passed');
    await expect(runVirtual(clock, new Promise(() => {}), 60_000)).rejects.toThrow('no alarm is left');
    const failing = clock.sleep(1).then(() => Promise.reject(new Error('of the application')));
    await expect(runVirtual(clock, failing, 10)).rejects.toThrow('of the application');
  });

  it('passes through hundreds of thousands of instants a second', async () => {
    const clock = new VirtualClock();
    let left = 60_000;
    const alarm = clock.alarm(() => {
      if (--left > 0) alarm.set(clock.now() + 1);
    });
    alarm.set(1);
    const start = performance.now();
    await clock.run();
    const perSecond = (60_000 / (performance.now() - start)) * 1000;
    expect(clock.now()).toBe(60_000);
    // It makes millions here; this is to notice a turn of the event loop per instant, on any machine.
    expect(perSecond).toBeGreaterThan(100_000);
  });
});
