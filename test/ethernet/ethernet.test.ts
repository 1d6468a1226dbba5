import { beforeEach, describe, expect, it } from 'vitest';
import { MacAddress } from '../../src/address/index.ts';
import { Ethernet, TokenBucket } from '../../src/ethernet/index.ts';
import { VirtualClock } from '../../src/time/index.ts';
import { BROADCAST_MAC, expectFrame, packet, pattern } from '../support/packets.ts';
import { ScriptedNetif } from '../support/scripted-netif.ts';

const TYPE = 0x88b5;
const GROUP = '01:00:5e:00:00:fb';

describe('Ethernet', () => {
  let netif: ScriptedNetif;
  let ethernet: Ethernet;
  let clock: VirtualClock;
  let seen: string[];

  beforeEach(() => {
    clock = new VirtualClock();
    netif = new ScriptedNetif({ mtu: 100 });
    ethernet = new Ethernet(netif, clock);
    seen = [];
    ethernet.register({
      ethertype: TYPE,
      receive: (frame, toGroup) => seen.push(`${frame.end - frame.start}${toGroup ? ' group' : ''}`),
    });
    netif.start({
      receive: (frame) => ethernet.receive(frame),
      flush: () => ethernet.flush(),
      writable: () => {},
      closed: () => {},
    });
  });

  it('hands the payload to the protocol of the ethertype', () => {
    netif.inject(
      packet().raw(TYPE, pattern(50)),
      packet({ destination: BROADCAST_MAC }).raw(TYPE, pattern(46)),
    );
    expect(seen).toEqual(['50', '46 group']);
  });

  it('drops what is for others, and groups that nobody joined', () => {
    const toGroup = packet({ destination: GROUP }).raw(TYPE, []);
    netif.inject(packet({ destination: '02:00:00:00:00:02' }).raw(TYPE, []), toGroup);
    expect(ethernet.counters.notOurs).toBe(2);
    const group = MacAddress.parse(GROUP);
    ethernet.join(group);
    ethernet.join(group);
    ethernet.leave(group);
    netif.inject(toGroup);
    expect(seen).toEqual(['0 group']);
    ethernet.leave(group);
    netif.inject(toGroup);
    expect(ethernet.counters.notOurs).toBe(3);
  });

  it('drops runts, giants, group sources, lengths and unknown types', () => {
    netif.inject(
      pattern(13),
      packet().raw(TYPE, pattern(101)),
      packet({ source: GROUP }).raw(TYPE, []),
      packet().raw(46, pattern(46)),
      packet().raw(0x1234, []),
    );
    expect(seen).toEqual([]);
    expect(ethernet.counters).toEqual({ runts: 1, tooLong: 1, badSource: 1, notOurs: 0, unknownType: 2 });
  });

  it('takes a long frame that carries several segments', () => {
    netif.injectWith(packet().raw(TYPE, pattern(1000)), (frame) => {
      frame.segmentSize = 80;
    });
    expect(seen).toEqual(['1000']);
  });

  it('writes the header around a payload, and flushes at the end of the turn, once', () => {
    for (const text of ['a', 'b']) {
      const frame = ethernet.reserve(1)!;
      frame.bytes[frame.start] = text.charCodeAt(0);
      ethernet.commit(frame, frame.start, MacAddress.parse('02:00:00:00:00:99'), TYPE);
    }
    expect(netif.flushes).toBe(0);
    clock.advanceTo(0);
    expect(netif.flushes).toBe(1);
    const [first] = netif.take();
    expectFrame(first).to('02:00:00:00:00:99').from('02:00:00:00:00:01');
    expect([...first!.subarray(12)]).toEqual([0x88, 0xb5, 97]);
  });

  it('leaves the flush to the end of the batch where there is one', () => {
    ethernet.register({
      ethertype: TYPE + 1,
      receive: () => {
        const frame = ethernet.reserve(1)!;
        ethernet.commit(frame, frame.start, MacAddress.BROADCAST, TYPE);
      },
    });
    netif.inject(packet().raw(TYPE + 1, []), packet().raw(TYPE + 1, []));
    expect(netif.flushes).toBe(1);
    clock.advanceTo(1);
    expect(netif.flushes).toBe(1);
  });
});

describe('TokenBucket', () => {
  it('gives its burst at once and its rate in the long run', () => {
    const bucket = new TokenBucket(10, 5);
    const take = (now: number, times: number): number =>
      Array.from({ length: times }, () => bucket.take(now)).filter(Boolean).length;
    expect(take(0, 20)).toBe(5);
    expect(take(100, 20)).toBe(1);
    expect(take(10_000, 20)).toBe(5);
  });
});
