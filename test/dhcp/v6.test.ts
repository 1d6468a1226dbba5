import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { MacAddress } from '../../src/address/index.ts';
import { Dhcp6Client } from '../../src/dhcp/index.ts';
import { SeededRandom } from '../../src/time/index.ts';

const MAC = MacAddress.parse('02:00:00:00:00:01');
const DUID = [0, 3, 0, 1, 2, 0, 0, 0, 0, 1];

function option(code: number, value: readonly number[]): number[] {
  return [code >> 8, code & 255, value.length >> 8, value.length & 255, ...value];
}

const SERVER = option(2, [0, 1, 9, 9]);
const DNS = option(23, [...Buffer.from('20010db8000000000000000000000053', 'hex')]);
const SEARCH = option(24, [3, ...Buffer.from('lan'), 4, ...Buffer.from('test'), 0]);
const seconds = (code: number, value: number) =>
  option(code, [...new Uint8Array(Uint32Array.of(value).buffer)].reverse());

describe('stateless DHCPv6 (RFC 8415 §18.2.6)', () => {
  let client: Dhcp6Client;
  let sent: { bytes: Uint8Array; at: number }[];
  let now: number;

  beforeEach(() => {
    sent = [];
    now = 1_000_000;
    const random = new SeededRandom(3);
    client = new Dhcp6Client({ mac: MAC, random, send: (bytes) => sent.push({ bytes, at: now }) });
  });

  const run = (): void => {
    now = client.wakeAt;
    client.timer(now);
  };
  const reply = (...options: number[][]): Uint8Array => {
    const [, ...xid] = sent.at(-1)!.bytes.subarray(0, 4);
    return Uint8Array.from([7, ...xid, ...options.flat()]);
  };

  it('asks for what it wants within a second, with who it is', () => {
    client.start(now);
    run();
    expect(sent[0]!.at - 1_000_000).toBeLessThan(1000);
    const bytes = [...sent[0]!.bytes];
    expect(bytes[0]).toBe(11);
    expect(bytes.slice(4)).toEqual([
      ...option(1, DUID),
      ...option(6, [0, 23, 0, 24, 0, 32, 0, 83]),
      ...option(8, [0, 0]),
    ]);
  });

  it('asks ever more rarely, up to what a server holds for right', () => {
    client.start(now);
    run();
    client.receive(reply(SERVER, seconds(32, 600), seconds(83, 100)), now);
    expect(client.state).toBe('CONFIGURED');
    // The time of what was told is over, and nobody answers.
    for (let i = 0; i < 14; i++) run();
    const gaps = sent.slice(2).map(({ at }, i) => (at - sent[i + 1]!.at) / 1000);
    expect(gaps[0]).toBeGreaterThan(0.89);
    expect(gaps[0]).toBeLessThan(1.11);
    for (let i = 1; i < 6; i++) expect(gaps[i]! / gaps[i - 1]!).toBeGreaterThan(1.7);
    expect(gaps.at(-1)).toBeLessThan(110.1);
    expect(gaps.at(-1)).toBeGreaterThan(89);
  });

  it('takes what is told, and asks again when its time is over', () => {
    client.start(now);
    run();
    client.receive(reply(SERVER, option(1, DUID), DNS, SEARCH, seconds(32, 7200)), now);
    expect(client.configuration).toMatchObject({ dns: ['2001:db8::53'], search: ['lan.test'] });
    expect(client.wakeAt - now).toBe(7_200_000);
    run();
    run();
    client.receive(reply(SERVER, seconds(32, 5)), now);
    // RFC 8415 §7.6: not more often than every ten minutes.
    expect(client.wakeAt - now).toBe(600_000);
  });

  it.each<[string, (bytes: Uint8Array) => Uint8Array]>([
    ['of another transaction', (bytes) => bytes.with(3, bytes[3]! ^ 1)],
    ['of another kind', (bytes) => bytes.with(0, 2)],
    ['cut short', (bytes) => bytes.subarray(0, bytes.length - 1)],
    ['without a server', (bytes) => Uint8Array.from([...bytes.subarray(0, 4), ...DNS])],
    [
      'to another client',
      (bytes) => Uint8Array.from([...bytes, ...option(1, [0, 3, 0, 1, 2, 0, 0, 0, 0, 9])]),
    ],
  ])('counts and ignores a message %s', (_, change) => {
    client.start(now);
    run();
    client.receive(change(reply(SERVER, DNS)), now);
    expect([client.state, client.counters.inErrors, client.configuration]).toEqual(['REQUESTING', 1, null]);
  });

  it('lives through anything', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        client.start(now);
        while (client.state !== 'REQUESTING') run();
        client.receive(reply([...noise]), now);
        client.receive(noise, now);
      }),
    );
  });
});
