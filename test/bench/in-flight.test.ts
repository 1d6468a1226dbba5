import { expect, it } from 'vitest';
import { measureInFlight } from '../../bench/in-flight.ts';

it('an ACK costs the same with a hundred times as much in flight, with losses and without', () => {
  for (const { name, ns } of measureInFlight([100, 10_000], 4000)) {
    // What walks all that is in flight would cost a hundred times as much.
    expect(ns[1]! / ns[0]!, name).toBeLessThan(5);
  }
}, 30_000);
