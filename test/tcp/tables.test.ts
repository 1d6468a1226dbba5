import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import { type Endpoint, EndpointTable } from '../../src/tcp/demux.ts';
import { SequenceGenerator } from '../../src/tcp/isn.ts';
import { EphemeralPorts } from '../../src/tcp/ports.ts';
import { SipHash } from '../../src/tcp/siphash.ts';
import { SeededRandom } from '../../src/time/index.ts';

const LOCAL = IpAddress.parse('10.0.0.2');

function endpoint(remote: string, remotePort: number, localPort = 80, local = LOCAL): Endpoint {
  return {
    local,
    localPort,
    remote: IpAddress.parse(remote),
    remotePort,
    tableNext: null,
    receive: () => {},
  };
}

describe('EphemeralPorts (RFC 6056)', () => {
  it('gives every port of the range while one is free, then 0, and asks for each once', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 65_535 }), fc.nat(40), fc.integer(), (first, more, seed) => {
        const last = Math.min(65_535, first + more);
        const ports = new EphemeralPorts([first, last], new SeededRandom(seed));
        const taken = new Set<number>();
        let asked = 0;
        for (let i = first; i <= last; i++) {
          const port = ports.choose((candidate) => {
            asked++;
            return !taken.has(candidate);
          });
          expect(port).toBeGreaterThanOrEqual(first);
          expect(port).toBeLessThanOrEqual(last);
          expect(taken.has(port)).toBe(false);
          taken.add(port);
        }
        asked = 0;
        expect(
          ports.choose(() => {
            asked++;
            return false;
          }),
        ).toBe(0);
        expect(asked).toBe(last - first + 1);
      }),
    );
  });

  it('does not begin where it began before', () => {
    const ports = new EphemeralPorts([32_768, 65_535], new SeededRandom(3));
    const chosen = new Set(Array.from({ length: 100 }, () => ports.choose(() => true)));
    expect(chosen.size).toBeGreaterThan(95);
  });

  it.each([
    [0, 10],
    [10, 9],
    [1, 65_536],
    [1.5, 9],
  ])('refuses the range %d..%d', (first, last) => {
    expect(() => new EphemeralPorts([first, last], new SeededRandom(1))).toThrow(RangeError);
  });
});

describe('EndpointTable', () => {
  it('finds exactly what was added and not removed, as it grows', () => {
    const table = new EndpointTable(new SeededRandom(5));
    const all: Endpoint[] = [];
    for (let i = 0; i < 2000; i++) {
      all.push(endpoint(`10.${i & 7}.0.${1 + (i >> 9)}`, 1000 + (i >> 3), 80 + (i % 3)));
    }
    for (const each of all) table.add(each);
    expect(table.size).toBe(2000);
    const find = (each: Endpoint): Endpoint | null =>
      table.find(each.local, each.localPort, each.remote, each.remotePort);
    for (const each of all) expect(find(each)).toBe(each);
    for (let i = 0; i < 2000; i += 2) table.remove(all[i]!);
    // Twice does no harm.
    table.remove(all[0]!);
    expect(table.size).toBe(1000);
    all.forEach((each, i) => {
      expect(find(each)).toBe(i % 2 === 0 ? null : each);
    });
    expect(table.all().length).toBe(1000);
  });

  it('tells apart what differs in one part only', () => {
    const table = new EndpointTable(new SeededRandom(5));
    const it_ = endpoint('10.0.0.1', 1000);
    table.add(it_);
    const { remote } = it_;
    expect(table.find(LOCAL, 80, remote, 1000)).toBe(it_);
    expect(table.find(LOCAL, 81, remote, 1000)).toBeNull();
    expect(table.find(LOCAL, 80, remote, 1001)).toBeNull();
    expect(table.find(IpAddress.parse('10.0.0.3'), 80, remote, 1000)).toBeNull();
    expect(table.find(LOCAL, 80, IpAddress.parse('10.0.0.4'), 1000)).toBeNull();
    expect(table.find(LOCAL, 1000, remote, 80)).toBeNull();
  });
});

describe('SipHash-2-4', () => {
  it('answers what its authors publish for the key 00..0f and inputs 00, 00 01, ...', () => {
    const hash = new SipHash(Int32Array.of(0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c));
    const answer = (length: number): string => {
      hash.digest(Uint8Array.from({ length }, (_, i) => i));
      return [hash.high, hash.low].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('');
    };
    // Appendix A of the paper, and the first of its reference code's vectors.
    expect(answer(15)).toBe('a129ca6149be45e5');
    expect([0, 1, 2, 3, 7, 8].map(answer)).toEqual([
      '726fdb47dd0e0e31',
      '74f839c593dc67fd',
      '0d6c8009d9a94f5a',
      '85676696d7fb7e2d',
      'ab0200f58b01d137',
      '93f5f5799a932462',
    ]);
  });
});

describe('SequenceGenerator (RFC 6528)', () => {
  it('ticks every 4 microseconds for one four-tuple, and tells nothing of another', () => {
    const generator = new SequenceGenerator(new SeededRandom(9));
    const remote = IpAddress.parse('10.0.0.1');
    const isn = (port: number, now: number): number => generator.generate(LOCAL, port, remote, 80, now).isn;
    const first = isn(1000, 0);
    expect((isn(1000, 1000) - first) | 0).toBe(250_000);
    // Once around: 2^32 ticks are 4.77 hours.
    expect((isn(1000, 2 ** 32 / 250) - first) | 0).toBe(0);
    expect(isn(1001, 0)).not.toBe(first);
    const other = new SequenceGenerator(new SeededRandom(10));
    expect(other.generate(LOCAL, 1000, remote, 80, 0).isn).not.toBe(first);
  });
});
