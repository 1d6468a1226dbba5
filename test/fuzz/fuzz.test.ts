import { describe, expect, it } from 'vitest';
import { recordCorpus } from './corpus.ts';
import { fuzz } from './fuzz.ts';
import { ETHERNET, get16, ICMP, TCP, UDP } from './packets.ts';

const FRAMES = 100_000;

describe('a stack under mutated frames', () => {
  it(`takes ${FRAMES} of them and goes on serving`, async () => {
    const { problems, echoed, sacrificed } = await fuzz({ seed: 1, frames: FRAMES });
    expect(problems, 'replay: node --expose-gc --import tsx test/fuzz/run.ts --seed 1').toEqual([]);
    expect(echoed).toBeGreaterThan(1_000_000);
    expect(sacrificed).toBeGreaterThan(100);
  });

  it('does the same for the same seed', async () => {
    const [first, second] = [await fuzz({ seed: 2, frames: 5000 }), await fuzz({ seed: 2, frames: 5000 })];
    expect(second.statistics).toEqual(first.statistics);
    expect(second.answered).toBe(first.answered);
  });
});

describe('the corpus', () => {
  it('has every protocol and every kind of segment', async () => {
    const corpus = await recordCorpus();
    const kinds = new Set<string>();
    for (const frame of corpus) {
      if (get16(frame, 12) === 0x0806) kinds.add('arp');
      if (get16(frame, 12) !== 0x0800) continue;
      const protocol = frame[ETHERNET + 9]!;
      const fragment = (get16(frame, ETHERNET + 6) & 0x3fff) !== 0;
      if (fragment) kinds.add('fragment');
      else if (protocol === UDP) kinds.add('udp');
      else if (protocol === ICMP) kinds.add(`icmp ${frame[ETHERNET + 20]}`);
      else if (protocol === TCP) {
        const at = ETHERNET + 20;
        kinds.add(`tcp ${frame[at + 13]! & 7}`);
        if ((frame[at + 12]! >> 4) * 4 > 36) kinds.add('tcp options');
      }
    }
    expect([...kinds]).toEqual(
      expect.arrayContaining([
        'arp',
        'fragment',
        'udp',
        'icmp 0',
        'icmp 3',
        'icmp 8',
        'tcp 0',
        'tcp 1',
        'tcp 2',
        'tcp 4',
        'tcp options',
      ]),
    );
  });
});
