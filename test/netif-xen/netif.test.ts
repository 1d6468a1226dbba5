import { describe, expect, it } from 'vitest';
import { listen, numbered, send } from '../netif/helpers.ts';
import { makePair } from './pair.ts';

describe('a frontend and a backend on a simulated machine', () => {
  it('hands frames over both ways, in order, and leaves nothing in use', async () => {
    const { lab, front, back } = await makePair();
    const f = listen(front);
    const b = listen(back);
    for (let i = 0; i < 500; i++) {
      expect(send(front, numbered(i, 60 + i))).toBe(true);
      expect(send(back, numbered(1000 + i, 1514))).toBe(true);
      if (i % 10 === 0) {
        front.flush();
        back.flush();
        await lab.pass(1);
      }
    }
    front.flush();
    back.flush();
    await lab.pass(10);
    expect(b.numbers).toEqual(Array.from({ length: 500 }, (_, i) => i));
    expect(f.numbers).toEqual(Array.from({ length: 500 }, (_, i) => 1000 + i));
    await lab.run(Promise.all([front.close(), back.close()]));
    expect(lab.machine.use).toEqual({ grants: 0, mappings: 0, pages: 0, ports: 0, watches: 0 });
  });
});
