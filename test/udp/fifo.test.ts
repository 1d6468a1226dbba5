import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Fifo } from '../../src/udp/fifo.ts';

it('gives out what was put in, in order', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -120, max: 120 }), { maxLength: 40 }), (steps) => {
      const fifo = new Fifo<number>();
      const model: number[] = [];
      let next = 0;
      for (const step of steps) {
        for (let i = 0; i < Math.abs(step); i++) {
          if (step > 0) {
            fifo.push(next);
            model.push(next++);
          } else {
            expect(fifo.peek()).toBe(model[0]);
            expect(fifo.shift()).toBe(model.shift());
          }
          expect(fifo.length).toBe(model.length);
        }
      }
    }),
  );
});
