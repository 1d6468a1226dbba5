import { beforeEach, describe, expect, it } from 'vitest';
import { send } from '../support/host.ts';
import { expectBytes, pattern } from '../support/packets.ts';
import { createHost6, expectOne, ofType, PEER_MAC, PEER6, US6 } from './host.ts';
import { frame6, icmp6Frame, ip6, ip6Bytes, long, summed, u16, u32 } from './packets.ts';

const UDP = 17;
const PROBLEM = 4;
const DATAGRAM = [0, 1, 0, 2, 0, 8, 0, 0];

let host: ReturnType<typeof createHost6>;

beforeEach(() => {
  host = createHost6();
  // Who sends is known, so that answers leave at once.
  send(host.path(PEER6), [0]);
  host.resolve();
  host.take();
});

function inject(next: number, payload: readonly number[], fields: object = {}): void {
  host.netif.inject(frame6(ip6({ source: PEER6, destination: US6, next, ...fields }, payload), fields));
}

/** An extension header of options, padded with zeros (Pad1). */
function options(next: number, ...bytes: number[]): number[] {
  const length = Math.ceil((bytes.length + 2) / 8) * 8;
  const padding = length - 2 - bytes.length;
  const pad = padding === 0 ? [] : padding === 1 ? [0] : [1, padding - 2, ...new Array(padding - 2).fill(0)];
  return [next, length / 8 - 1, ...bytes, ...pad];
}

/** A fragment header with its piece. */
function fragment(
  next: number,
  offset: number,
  more: boolean,
  id: number,
  data: ArrayLike<number>,
): number[] {
  return [next, 0, ...u16(offset | (more ? 1 : 0)), ...u32(id), ...Array.from(data)];
}

describe('a received IPv6 packet', () => {
  it('goes to its transport, padding cut', () => {
    const bytes = [...ip6({ source: PEER6, destination: US6, next: UDP, hopLimit: 9 }, DATAGRAM), 9, 9, 9];
    host.netif.inject(frame6(bytes));
    expect(host.udp.take()).toMatchObject([
      { source: PEER6, destination: US6, hopLimit: 9, isGroup: false, data: Uint8Array.from(DATAGRAM) },
    ]);
  });

  it.each([
    ['has version 4', { version: 4 }, 'ip6InHdrErrors'],
    ['is shorter than it says', { payloadLength: 9 }, 'ip6InTruncatedPkts'],
    ['comes from a group', { source: 'ff02::5' }, 'ip6InAddrErrors'],
    ['comes from ::1', { source: '::1' }, 'ip6InAddrErrors'],
    ['goes to ::1', { destination: '::1' }, 'ip6InAddrErrors'],
    ['comes from an IPv4 address in IPv6 clothes', { source: '::ffff:a00:2' }, 'ip6InAddrErrors'],
    ['comes from ourselves', { source: US6 }, 'ip6InAddrErrors'],
    ['is another’s', { destination: '2001:db8::3' }, 'ip6InAddrErrors'],
    ['is of a group that nobody joined', { destination: 'ff02::5' }, 'ip6InAddrErrors'],
    ['is ours, by a link multicast', { destinationMac: '33:33:00:00:00:01' }, 'ip6InAddrErrors'],
  ])('is dropped if it %s', (_, fields, counter) => {
    inject(UDP, DATAGRAM, fields);
    expect(host.udp.packets).toEqual([]);
    expect(host.take()).toEqual([]);
    expect(host.ipv6.receiver.counters).toMatchObject({ [counter]: 1 });
  });

  it.each([
    ['hop-by-hop options with a router alert', 0, options(UDP, 5, 2, 0, 0)],
    ['an unknown option that may be skipped', 60, options(UDP, 0x1e, 1, 0)],
    ['a routing header that is through', 43, [UDP, 0, 0, 0, 0, 0, 0, 0]],
    ['an atomic fragment', 44, fragment(UDP, 0, false, 7, [])],
    ['all of these', 0, [...options(60), ...options(43), UDP, 0, 4, 0, 0, 0, 0, 0]],
  ])('is delivered with %s', (_, next, headers) => {
    inject(next, [...headers, ...DATAGRAM]);
    expect(host.udp.take()).toMatchObject([{ data: Uint8Array.from(DATAGRAM) }]);
  });

  it.each([
    ['hop-by-hop options that are not in front', 60, [...options(0), ...options(UDP)], 1, 40],
    ['an option with action 10', 60, options(UDP, 0x9e, 0), 2, 42],
    ['an option with action 11', 60, options(UDP, 0xde, 0), 2, 42],
    ['an option longer than its header', 60, [UDP, 0, 0x1e, 9, 0, 0, 0, 0], 0, 43],
    ['a routing header of type 0', 43, [UDP, 2, 0, 1, 0, 0, 0, 0, ...ip6Bytes('2001:db8::9')], 0, 42],
    ['a next header that nobody knows', 250, [1, 2, 3, 4, 5, 6, 7, 8], 1, 6],
    ['the same behind options', 60, options(250), 1, 40],
  ])('is answered with a parameter problem for %s', (_, next, headers, code, pointer) => {
    inject(next, [...headers, ...DATAGRAM]);
    const problem = expectOne(host.take());
    expect(problem).toMatchObject({ source: long(US6), destination: long(PEER6), next: 58 });
    expect(problem.payload.slice(0, 2)).toEqual([PROBLEM, code]);
    expect(problem.payload.slice(4, 8)).toEqual(u32(pointer));
    expectBytes(
      problem.payload.slice(8),
      ip6({ source: PEER6, destination: US6, next }, [...headers, ...DATAGRAM]),
    );
    expect(host.udp.packets).toEqual([]);
  });

  it.each([
    ['an option with action 01', 60, options(UDP, 0x5e, 0)],
    ['more options than anybody needs', 60, options(UDP, ...new Array(9).fill([0x1e, 0]).flat())],
    ['more padding than aligns', 60, [UDP, 1, ...new Array(14).fill(0)]],
    ['more headers than anybody needs', 60, new Array(9).fill(options(60)).flat()],
    ['no next header', 59, []],
    ['a header that is cut', 60, [UDP, 9, 0, 0, 0, 0, 0, 0]],
  ])('is dropped without a word for %s', (_, next, headers) => {
    inject(next, [...headers, ...DATAGRAM]);
    expect(host.udp.packets).toEqual([]);
    expect(host.take()).toEqual([]);
  });

  it('to a group is answered for an option with action 10, not for one with 11', () => {
    const group = { destination: 'ff02::1', destinationMac: '33:33:00:00:00:01' };
    inject(60, [...options(UDP, 0xde, 0), ...DATAGRAM], group);
    expect(host.take()).toEqual([]);
    inject(60, [...options(UDP, 0x9e, 0), ...DATAGRAM], group);
    expect(expectOne(host.take())).toMatchObject({ source: long(US6) });
  });
});

describe('IPv6 reassembly', () => {
  const data = pattern(3000);

  function pieces(sizes: readonly number[], id = 5): (() => void)[] {
    let offset = 0;
    return sizes.map((size) => {
      const start = offset;
      offset += size;
      const end = offset;
      return () => inject(44, fragment(UDP, start, end < data.length, id, data.subarray(start, end)));
    });
  }

  it.each([
    ['in order', [0, 1, 2]],
    ['backward', [2, 1, 0]],
    ['with one twice', [0, 2, 0, 1]],
  ])('joins fragments that come %s', (_, order) => {
    const all = pieces([1232, 1232, 536]);
    for (const i of order) all[i]!();
    const [whole] = host.udp.take();
    expectBytes(whole!.data, data);
    expect(host.ipv6.receiver.reassembly.size).toBe(0);
  });

  it('keeps options in front of the fragment header', () => {
    inject(60, [...options(44), ...fragment(UDP, 0, true, 5, data.subarray(0, 1200))]);
    inject(60, [...options(44), ...fragment(UDP, 1200, false, 5, data.subarray(1200, 1300))]);
    expectBytes(host.udp.take()[0]!.data, data.subarray(0, 1300));
  });

  it('gives a packet up for good when fragments overlap (RFC 5722)', () => {
    inject(44, fragment(UDP, 0, true, 5, data.subarray(0, 1232)));
    inject(44, fragment(UDP, 1224, true, 5, data.subarray(1224, 2456)));
    pieces([1232, 1232, 536])[1]!();
    pieces([1232, 1232, 536])[2]!();
    expect(host.udp.packets).toEqual([]);
    expect(host.ipv6.receiver.reassembly.counters.ip6ReasmFails).toBe(1);
    expect(host.ipv6.receiver.reassembly.bytes).toBe(0);
  });

  it('delivers an atomic fragment among fragments of the same identification (RFC 6946)', () => {
    pieces([1232, 1232, 536])[0]!();
    inject(44, fragment(UDP, 0, false, 5, DATAGRAM));
    expect(host.udp.take()).toMatchObject([{ data: Uint8Array.from(DATAGRAM) }]);
    expect(host.ipv6.receiver.reassembly.size).toBe(1);
  });

  it.each([
    ['a fragment that is no multiple of eight', fragment(UDP, 0, true, 5, pattern(1230)), 0, 4],
    ['a packet that would be too long', fragment(UDP, 65_528, false, 5, pattern(16)), 0, 42],
    ['a first fragment without all headers', fragment(60, 0, true, 5, options(UDP)), 3, 0],
  ])('is refused with a parameter problem for %s', (_, bytes, code, pointer) => {
    inject(44, bytes);
    const { payload } = expectOne(ofType(host.take(), PROBLEM));
    expect(payload[1]).toBe(code);
    expect(payload.slice(4, 8)).toEqual(u32(pointer));
    expect(host.ipv6.receiver.reassembly.size).toBe(0);
  });

  it('says so after sixty seconds if the first fragment came', () => {
    pieces([1232, 1232, 536], 1)[0]!();
    pieces([1232, 1232, 536], 2)[1]!();
    host.run(59_900);
    expect(ofType(host.take(), 3)).toEqual([]);
    host.run(200);
    const { payload } = expectOne(ofType(host.take(), 3));
    expect(payload[1]).toBe(1);
    expect(host.ipv6.receiver.reassembly.bytes).toBe(0);
  });

  it('keeps no more than it may (RFC 8900)', () => {
    for (let id = 0; id < 2000; id++) pieces([1232, 1232, 536], id)[0]!();
    expect(host.ipv6.receiver.reassembly.size).toBe(256);
    expect(host.ipv6.receiver.reassembly.bytes).toBe(256 * 1232);
  });

  it('takes no neighbour discovery in fragments (RFC 6980)', () => {
    const message = summed(PEER6, US6, 58, [136, 0, 0, 0, 0x60, 0, 0, 0, ...ip6Bytes(PEER6)], 2);
    inject(44, fragment(58, 0, false, 5, message), { hopLimit: 255 });
    expect(host.link.ndp.counters.inAdvertisements).toBe(1);
    expect(host.network.icmpv6!.counters.icmp6InErrors).toBe(1);
  });
});

describe('ICMPv6', () => {
  it('answers an echo request, and one to all nodes from an address of its own', () => {
    host.netif.inject(icmp6Frame({ source: PEER6, destination: US6, type: 128 }, [0, 7, 0, 1, 5, 6]));
    expect(expectOne(host.take())).toMatchObject({ source: long(US6), macTo: PEER_MAC });
    host.netif.inject(
      icmp6Frame(
        { source: PEER6, destination: 'ff02::1', type: 128, destinationMac: '33:33:00:00:00:01' },
        [0, 7, 0, 1, 5, 6],
      ),
    );
    const answer = expectOne(host.take());
    expect(answer).toMatchObject({ source: long(US6) });
    expect(answer.payload[0]).toBe(129);
    expect(answer.payload.slice(4)).toEqual([0, 7, 0, 1, 5, 6]);
  });

  it('believes no wrong checksum', () => {
    const frame = icmp6Frame({ source: PEER6, destination: US6, type: 128 }, [0, 7, 0, 1]);
    frame[56]! ^= 1;
    host.netif.inject(frame);
    expect(host.take()).toEqual([]);
    expect(host.network.icmpv6!.counters.icmp6InErrors).toBe(1);
  });

  it.each([
    [1, 0, 'net-unreachable'],
    [1, 1, 'prohibited'],
    [1, 3, 'host-unreachable'],
    [1, 4, 'port-unreachable'],
    [3, 0, 'time-exceeded'],
    [4, 0, 'parameter-problem'],
    [4, 1, 'protocol-unreachable'],
  ])('hands type %i code %i to the transport as %s', (type, code, kind) => {
    const quoted = ip6({ source: US6, destination: PEER6, next: UDP }, DATAGRAM);
    host.netif.inject(icmp6Frame({ source: PEER6, destination: US6, type, code }, [0, 0, 0, 0, ...quoted]));
    expect(host.udp.errors).toMatchObject([{ kind, source: US6, destination: PEER6 }]);
    expectBytes(host.udp.errors[0]!.data, DATAGRAM);
  });

  it('sends no more errors than it may', () => {
    for (let i = 0; i < 100; i++) inject(250, [1, 2, 3, 4]);
    expect(host.take().length).toBeLessThanOrEqual(10);
    expect(host.network.icmpv6!.counters.icmp6OutLimited).toBe(90);
  });

  it('answers no error with an error', () => {
    const quoted = ip6({ source: US6, destination: PEER6, next: 250 }, DATAGRAM);
    host.netif.inject(
      icmp6Frame({ source: PEER6, destination: US6, type: 1, code: 9 }, [0, 0, 0, 0, ...quoted]),
    );
    expect(host.take()).toEqual([]);
  });
});

describe('path MTU discovery (RFC 8201)', () => {
  function tooBig(mtu: number, transport = DATAGRAM): void {
    const quoted = ip6({ source: US6, destination: PEER6, next: UDP }, transport);
    host.netif.inject(icmp6Frame({ source: PEER6, destination: US6, type: 2 }, [...u32(mtu), ...quoted]));
  }

  it('takes a router’s word if the transport vouches, for ten minutes', () => {
    const path = host.path(PEER6);
    tooBig(1400);
    expect(path.mtu).toBe(1400);
    expect(path.interfaceMtu).toBe(1500);
    host.run(599_000);
    expect(path.mtu).toBe(1400);
    host.run(2000);
    expect(path.mtu).toBe(1500);
  });

  it.each([1279, 68, 0, 1500, 9000])('does not believe %i', (mtu) => {
    tooBig(mtu);
    expect(host.path(PEER6).mtu).toBe(1500);
  });

  it('does not believe what the transport does not', () => {
    host.udp.believes = false;
    tooBig(1400);
    expect(host.path(PEER6).mtu).toBe(1500);
  });

  it('cuts what does not fit', () => {
    tooBig(1280);
    const data = pattern(3000);
    send(host.path(PEER6), data);
    const sent = host.take();
    expect(sent.map(({ payload }) => payload.length)).toEqual([1240, 1240, 8 + 3000 - 2 * 1232]);
    expect(sent.map(({ payload }) => (payload[2]! << 8) | payload[3]!)).toEqual([1, 1233, 2464]);
    expect(
      new Set(sent.map(({ next, payload }) => [next, payload[0], payload.slice(4, 8)].join())).size,
    ).toBe(1);
    expectBytes(
      sent.flatMap(({ payload }) => payload.slice(8)),
      data,
    );
  });
});
