import { describe, expect, it } from 'vitest';
import { parseTrace, plotSequence, plotWindow, type TracePoint } from '../../bench/plot.ts';

const samples: TracePoint[] = Array.from({ length: 50 }, (_, i) => ({
  timeMs: 1000 + i * 10,
  una: (0x7fff_fff0 + i * 1448) | 0,
  nxt: (0x7fff_fff0 + (i + 10) * 1448) | 0,
  sequence: (0x7fff_fff0 + i * 1448) | 0,
  cwnd: 14_480 + i * 100,
  ssthresh: i < 25 ? Number.POSITIVE_INFINITY : 20_000,
  rttMs: 20 + i / 10,
  event: i === 25 ? 'retransmit' : 'ack',
}));

describe('plots of a trace', () => {
  it('are SVG with what they show in the legend', () => {
    const sequence = plotSequence(samples, { title: 'a run' });
    expect(sequence).toMatch(/^<svg /);
    for (const text of ['a run', 'SND.UNA', 'SND.NXT', 'retransmit']) expect(sequence).toContain(text);
    const window = plotWindow(samples);
    for (const text of ['cwnd', 'ssthresh', 'RTT']) expect(window).toContain(text);
  });

  it('are not bent by the wrap of sequence numbers', () => {
    // 49 segments of progress are 0.07 MB; a wrap taken literally would be 4295 MB.
    expect(plotSequence(samples)).not.toMatch(/>[\d,]*\d{3}</);
  });

  it('read a trace of one sample per line, with no threshold as null', () => {
    const text = samples.map((sample) => JSON.stringify(sample)).join('\n');
    const parsed = parseTrace(`${text}\n`);
    expect(parsed).toHaveLength(samples.length);
    expect(parsed[0]!.ssthresh).toBeNull();
    expect(plotWindow(parsed)).toMatch(/^<svg /);
    expect(() => parseTrace('{"timeMs":1}\nnonsense')).toThrow(/line 2/);
  });

  it('draw nothing of nothing', () => {
    expect(plotSequence([])).toMatch(/^<svg /);
    expect(plotWindow([])).toMatch(/^<svg /);
  });
});
