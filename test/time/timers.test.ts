import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Alarm, type Clock, Timer, TimerWheel, VirtualClock } from '../../src/time/index.ts';

/** A virtual clock that counts what the wheel asks of it. */
class CountingClock implements Clock {
  readonly inner = new VirtualClock();
  set = 0;
  armed = 0;

  now(): number {
    return this.inner.now();
  }

  alarm(task: () => void): Alarm {
    let isSet = false;
    const mark = (value: boolean): void => {
      this.armed += Number(value) - Number(isSet);
      isSet = value;
    };
    const alarm = this.inner.alarm(() => {
      mark(false);
      task();
    });
    return {
      set: (atMs) => {
        this.set++;
        mark(true);
        alarm.set(atMs);
      },
      clear: () => {
        mark(false);
        alarm.clear();
      },
    };
  }

  defer(task: () => void): void {
    this.inner.defer(task);
  }
}

const delay = fc.oneof(
  fc.integer({ min: 0, max: 70 }),
  fc.integer({ min: 0, max: 40_000 }),
  fc.integer({ min: 0, max: 3_000_000_000 }),
  fc.double({ min: -5, max: 5_000, noNaN: true }),
);
const timerIndex = fc.nat({ max: 7 });
const action = fc.oneof(
  fc.record({ kind: fc.constant('arm' as const), timer: timerIndex, delay }),
  fc.record({ kind: fc.constant('cancel' as const), timer: timerIndex }),
  fc.record({ kind: fc.constant('advance' as const), delay }),
);
/** What a timer does when it fires: arm others, cancel others. */
const reactions = fc.array(fc.array(action, { maxLength: 2 }), { minLength: 8, maxLength: 8 });

describe('TimerWheel', () => {
  it('fires as a list of deadlines that is searched at every instant would', () => {
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 60 }),
        reactions,
        fc.constantFrom(1, 10, 0.1),
        fc.constantFrom(0, 2 ** 30 - 50, 123.456),
        (actions, reacts, tickMs, start) => {
          const clock = new VirtualClock(start);
          const wheel = new TimerWheel(clock, tickMs);
          /** The model: when each timer is due at the earliest, and may fire at the latest. */
          const due: { from: number; to: number }[] = Array.from({ length: 8 }, () => ({
            from: Infinity,
            to: Infinity,
          }));
          let budget = 200;
          const timers = due.map((_, i) =>
            wheel.timer(() => {
              const now = clock.now();
              expect(due[i]!.from).toBeLessThanOrEqual(now);
              expect(due[i]!.to).toBeGreaterThanOrEqual(now);
              due[i] = { from: Infinity, to: Infinity };
              expect(timers[i]!.armed).toBe(false);
              for (const reaction of reacts[i]!) {
                if (budget-- > 0 && reaction.kind !== 'advance') apply(reaction);
              }
            }),
          );
          const slack = tickMs * 1.000001 + 1e-6;
          const apply = (what: (typeof actions)[number]): void => {
            const now = clock.now();
            if (what.kind === 'arm') {
              const at = now + what.delay;
              timers[what.timer]!.arm(at);
              due[what.timer] = { from: at, to: Math.max(at, now) + slack };
            } else if (what.kind === 'cancel') {
              timers[what.timer]!.cancel();
              due[what.timer] = { from: Infinity, to: Infinity };
            } else {
              clock.advanceTo(now + what.delay);
              for (const { to } of due) expect(to).toBeGreaterThanOrEqual(clock.now() - slack);
            }
            expect(wheel.pending).toBe(due.filter(({ from }) => from !== Infinity).length);
            expect(timers.map((timer) => timer.deadline)).toEqual(due.map(({ from }) => from));
          };
          for (const one of actions) apply(one);
          budget = 0;
          while (clock.step());
          expect(wheel.pending).toBe(0);
          expect(due.every(({ from }) => from === Infinity)).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('fires on the millisecond, from milliseconds to months', () => {
    const clock = new VirtualClock(7);
    const wheel = new TimerWheel(clock);
    const fired: number[] = [];
    const delays = [
      1,
      31,
      32,
      33,
      1023,
      1024,
      1025,
      3_600_000,
      86_400_000,
      2 ** 30 - 7,
      2 ** 30,
      5 * 2 ** 30 + 3,
    ];
    for (const ms of delays) wheel.timer(() => fired.push(clock.now())).arm(7 + ms);
    clock.advanceTo(2 ** 33);
    expect(fired).toEqual(delays.map((ms) => 7 + ms));
  });

  it('sets nothing on the clock while no timer is armed', () => {
    const clock = new CountingClock();
    const wheel = new TimerWheel(clock);
    const timer = wheel.timer(() => {});
    expect(clock.armed).toBe(0);
    timer.arm(500);
    expect(clock.armed).toBe(1);
    timer.cancel();
    expect(clock.armed).toBe(0);
    timer.arm(600);
    clock.inner.advanceTo(1000);
    expect(timer.armed).toBe(false);
    expect(clock.armed).toBe(0);
    expect(clock.inner.step()).toBe(false);
  });

  it('only notes the deadline when a timer is pushed back', () => {
    const clock = new CountingClock();
    const wheel = new TimerWheel(clock);
    const fired: number[] = [];
    const timer = wheel.timer(() => fired.push(clock.now()));
    for (let now = 0; now < 1000; now++) {
      clock.inner.advanceTo(now);
      timer.arm(now + 200);
    }
    expect(clock.set).toBeLessThan(20);
    clock.inner.advanceTo(5000);
    expect(fired).toEqual([1199]);
  });

  it('lets a callback cancel and re-arm others that are due at the same time', () => {
    const clock = new VirtualClock();
    const wheel = new TimerWheel(clock);
    const log: string[] = [];
    const cancelled = wheel.timer(() => log.push('cancelled'));
    const later = wheel.timer(() => log.push(`later ${clock.now()}`));
    const first: Timer = new Timer(wheel, {
      onTimer: (timer) => {
        log.push(`first ${clock.now()}`);
        cancelled.cancel();
        if (clock.now() === 30) return;
        later.arm(20);
        timer.arm(30);
      },
    });
    for (const timer of [first, cancelled, later]) timer.arm(10);
    clock.advanceTo(100);
    expect(log).toEqual(['first 10', 'later 20', 'first 30']);
  });

  it('goes on with the others after a callback has thrown', () => {
    const clock = new VirtualClock();
    const wheel = new TimerWheel(clock);
    const log: number[] = [];
    wheel.timer(() => log.push(1)).arm(5);
    wheel
      .timer(() => {
        throw new Error('mine');
      })
      .arm(5);
    wheel.timer(() => log.push(2)).arm(5);
    wheel.timer(() => log.push(3)).arm(50);
    expect(() => clock.advanceTo(10)).toThrow('mine');
    expect(log).toEqual([1]);
    expect(wheel.pending).toBe(2);
    clock.advanceTo(100);
    expect(log).toEqual([1, 2, 3]);
  });

  it('moves time on when a timer always arms itself for now', () => {
    const clock = new VirtualClock();
    const wheel = new TimerWheel(clock);
    let fired = 0;
    const timer = wheel.timer(() => {
      fired++;
      timer.arm(clock.now());
    });
    timer.arm(0);
    clock.advanceTo(10);
    expect(fired).toBe(11);
    wheel.close();
    expect(wheel.pending).toBe(0);
    timer.arm(20);
    expect(timer.armed).toBe(false);
    expect(clock.step()).toBe(false);
  });

  it('refuses NaN, takes Infinity for never', () => {
    const wheel = new TimerWheel(new VirtualClock());
    const timer = wheel.timer(() => {});
    expect(() => timer.arm(Number.NaN)).toThrow(RangeError);
    timer.arm(5);
    timer.arm(Infinity);
    expect(timer.armed).toBe(false);
    expect(wheel.pending).toBe(0);
  });
});
