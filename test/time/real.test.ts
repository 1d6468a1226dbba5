import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { RealClock } from '../../src/time/index.ts';

const clock = new RealClock();
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('RealClock', () => {
  it('never fires early', async () => {
    for (const ms of [0, 0.4, 1.3, 5, 12.7]) {
      const at = clock.now() + ms;
      const fired = await new Promise<number>((resolve) => clock.alarm(() => resolve(clock.now())).set(at));
      expect(fired).toBeGreaterThanOrEqual(at);
    }
  });

  it('can be set earlier, later, cleared and set again', async () => {
    const fired: number[] = [];
    const start = clock.now();
    const alarm = clock.alarm(() => fired.push(clock.now() - start));
    alarm.set(start + 10_000);
    alarm.set(start + 5);
    alarm.set(start + 20);
    await wait(40);
    expect(fired).toHaveLength(1);
    expect(fired[0]).toBeGreaterThanOrEqual(20);
    alarm.set(clock.now() + 5);
    alarm.clear();
    await wait(15);
    expect(fired).toHaveLength(1);
    alarm.set(clock.now() + 5);
    alarm.clear();
    alarm.set(clock.now() + 10);
    await wait(40);
    expect(fired).toHaveLength(2);
  });

  it('takes delays that a host timer cannot', async () => {
    let fired = false;
    const alarm = clock.alarm(() => {
      fired = true;
    });
    alarm.set(clock.now() + 2 ** 40);
    await wait(5);
    alarm.clear();
    expect(fired).toBe(false);
  });

  it('runs the other deferred tasks when one throws, which is an uncaught exception', async () => {
    const script = `
import { RealClock } from './src/time/real.ts';
const clock = new RealClock();
process.on('uncaughtException', (error) => console.log('uncaught', error.message));
clock.defer(() => { throw new Error('first'); });
clock.defer(() => { console.log('second'); clock.defer(() => console.log('third')); });
`;
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--import',
      'tsx',
      '--input-type=module',
      '-e',
      script,
    ]);
    expect(stdout.trim().split('\n').sort()).toEqual(['second', 'third', 'uncaught first']);
  });

  it('runs deferred tasks as microtasks', async () => {
    const log: string[] = [];
    clock.defer(() => log.push('deferred'));
    log.push('now');
    await undefined;
    expect(log).toEqual(['now', 'deferred']);
  });
});
