import { describe, expect, it } from 'vitest';
import { IpAddress, Prefix } from '../../src/address/index.ts';
import { type AddressState, OwnAddress } from '../../src/ipv6/own-address.ts';
import { selectSource, sortDestinations } from '../../src/ipv6/select.ts';
import { SeededRandom, TimerWheel, VirtualClock } from '../../src/time/index.ts';

const clock = new VirtualClock();
const timers = new TimerWheel(clock);

function own(text: string, state: AddressState = 'preferred'): OwnAddress {
  const { address, length } = Prefix.parse(text);
  const host = {
    timers,
    random: new SeededRandom(1),
    retransmitMs: 1000,
    now: () => 0,
    probe: () => {},
    assigned: () => {},
  };
  const made = new OwnAddress(host, { address, prefixLength: length, origin: 'configured' });
  made.state = state;
  return made;
}

describe('source address selection (the examples of RFC 6724 §10.1)', () => {
  it.each([
    ['2001:db8:1::1', ['2001:db8:3::1/64', 'fe80::1/64'], '2001:db8:3::1', 'scope'],
    ['ff05::1', ['2001:db8:3::1/64', 'fe80::1/64'], '2001:db8:3::1', 'scope'],
    ['fe80::1', ['fe80::2/64', '2001:db8:1::1/64'], 'fe80::2', 'scope'],
    ['2001:db8:1::1', ['2001:db8:1::2/64', '2001:db8:3::2/64'], '2001:db8:1::2', 'longest prefix'],
    ['2002:c633:6401::1', ['2002:c633:6401::d5e3/64', '2001:db8:1::2/64'], '2002:c633:6401::d5e3', 'label'],
    ['2001:db8:1::d5e3', ['2002:c633:6401::2/64', '2001:db8:1::d5e3/64'], '2001:db8:1::d5e3', 'the same'],
    ['fd00::1', ['2001:db8::1/64', 'fd00:1::1/64'], 'fd00:1::1', 'label'],
  ])('toward %s, of %j: %s (%s)', (destination, candidates, expected) => {
    for (const order of [candidates, [...candidates].reverse()]) {
      const chosen = selectSource(
        order.map((text) => own(text)),
        IpAddress.parse(destination),
      );
      expect(`${chosen!.address}`).toBe(expected);
    }
  });

  it('avoids deprecated and never takes tentative addresses', () => {
    const to = IpAddress.parse('2001:db8:1::1');
    const old = own('2001:db8:1::2/64', 'deprecated');
    const tentative = own('2001:db8:1::3/64', 'tentative');
    const other = own('2001:db8:2::2/64');
    expect(selectSource([old, tentative, other], to)).toBe(other);
    expect(selectSource([old, tentative], to)).toBe(old);
    expect(selectSource([tentative], to)).toBeNull();
  });
});

describe('destination address selection (RFC 6724 §10.2)', () => {
  function sorted(destinations: string[], sources: string[]): string[] {
    const owned = sources.filter((text) => text.includes(':')).map((text) => own(text));
    const ipv4 = sources.find((text) => !text.includes(':'));
    return sortDestinations(
      destinations.map((text) => IpAddress.parse(text)),
      (destination) => {
        if (destination.isIpv4) {
          return ipv4 === undefined ? null : { address: IpAddress.parse(ipv4), deprecated: false };
        }
        const source = selectSource(owned, destination);
        return source === null
          ? null
          : { address: source.address, deprecated: source.state === 'deprecated' };
      },
    ).map(String);
  }

  it.each([
    // Matching scope.
    [
      ['2001:db8:1::1', '198.51.100.121'],
      ['2001:db8:1::2/64', 'fe80::1/64', '169.254.13.78'],
      ['2001:db8:1::1', '198.51.100.121'],
    ],
    [
      ['2001:db8:1::1', '198.51.100.121'],
      ['fe80::1/64', '198.51.100.117'],
      ['198.51.100.121', '2001:db8:1::1'],
    ],
    // Higher precedence.
    [
      ['10.1.2.3', '2001:db8:1::1'],
      ['2001:db8:1::2/64', 'fe80::1/64', '10.1.2.4'],
      ['2001:db8:1::1', '10.1.2.3'],
    ],
    // Smaller scope.
    [
      ['2001:db8:1::1', 'fe80::1'],
      ['2001:db8:1::2/64', 'fe80::2/64'],
      ['fe80::1', '2001:db8:1::1'],
    ],
    // Longest matching prefix.
    [
      ['2001:db8:3ffe::1', '2001:db8:1::1'],
      ['2001:db8:1::2/64', 'fe80::2/64'],
      ['2001:db8:1::1', '2001:db8:3ffe::1'],
    ],
    // Matching label.
    [
      ['2002:c633:6401::1', '2001:db8:1::1'],
      ['2002:c633:6401::2/64', 'fe80::2/64'],
      ['2002:c633:6401::1', '2001:db8:1::1'],
    ],
    // What cannot be reached is last.
    [['2001:db8:1::1', '10.0.0.1'], ['10.0.0.2'], ['10.0.0.1', '2001:db8:1::1']],
  ])('orders %j, of %j, as %j', (destinations, sources, expected) => {
    expect(sorted(destinations, sources)).toEqual(expected);
  });
});
