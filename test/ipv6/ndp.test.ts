import { describe, expect, it } from 'vitest';
import type { AddressConflict } from '../../src/arp/index.ts';
import { send } from '../support/host.ts';
import {
  advertisement,
  createHost6,
  expectOne,
  NA,
  NS,
  ofType,
  PEER_MAC,
  PEER6,
  solicitation,
  US6,
} from './host.ts';
import { ip6Bytes, long, macOption } from './packets.ts';

const OUR_MAC = '02:00:00:00:00:01';
const GROUP = 'ff02::1:ff00:1';
const GROUP_MAC = '33:33:ff:00:00:01';
const OTHER_MAC = '02:00:00:00:00:77';

describe('paths', () => {
  it('are shared by those who go the same way, from the second on: a flood of strangers leaves none', () => {
    const host = createHost6();
    const first = host.path(PEER6);
    const second = host.path(PEER6, US6);
    expect(second).not.toBe(first);
    expect(host.path(PEER6)).toBe(second);
    // Strangers, however many, neither stay nor push out what is shared.
    const stranger = (i: number): string => `2001:db8::${(0x8000 + i).toString(16)}`;
    const once = Array.from({ length: 3000 }, (_, i) => host.path(stranger(i)));
    expect(host.path(PEER6)).toBe(second);
    expect(once.some((path, i) => host.path(stranger(i)) === path)).toBe(false);
  });
});

describe('neighbour discovery', () => {
  it('asks the solicited-node group, keeps what waits, and sends it when answered', () => {
    const host = createHost6();
    send(host.path(PEER6), [1]);
    send(host.path(PEER6), [2]);
    const question = expectOne(host.take());
    expect(question).toMatchObject({
      source: long(US6),
      destination: long('ff02::1:ff00:2'),
      macTo: '33:33:ff:00:00:02',
      hopLimit: 255,
      next: 58,
    });
    expect(question.payload.slice(4)).toEqual([0, 0, 0, 0, ...ip6Bytes(PEER6), ...macOption(1, OUR_MAC)]);
    host.resolve();
    const sent = host.take();
    expect(sent.map(({ payload }) => payload)).toEqual([[1], [2]]);
    expect(sent[0]).toMatchObject({ macTo: PEER_MAC, hopLimit: 64, next: 17 });
  });

  it('asks three times, a second apart, and says that nobody is there', () => {
    const host = createHost6();
    send(host.path(PEER6), [1, 2, 3, 4, 5, 6, 7, 8]);
    host.run(2900);
    expect(ofType(host.take(), NS)).toHaveLength(3);
    expect(host.udp.errors).toEqual([]);
    host.run(200);
    expect(host.udp.errors).toMatchObject([
      { kind: 'neighbour-unreachable', source: US6, destination: PEER6 },
    ]);
    expect(host.take()).toEqual([]);
  });

  it('answers a solicitation, and has learnt who asked', () => {
    const host = createHost6();
    host.netif.inject(
      solicitation({
        source: PEER6,
        destination: GROUP,
        target: US6,
        destinationMac: GROUP_MAC,
        options: macOption(1, PEER_MAC),
      }),
    );
    const answer = expectOne(host.take());
    expect(answer).toMatchObject({
      source: long(US6),
      destination: long(PEER6),
      macTo: PEER_MAC,
      hopLimit: 255,
    });
    expect(answer.payload[0]).toBe(NA);
    expect(answer.payload.slice(4)).toEqual([0x60, 0, 0, 0, ...ip6Bytes(US6), ...macOption(2, OUR_MAC)]);
    send(host.path(PEER6), [1]);
    expect(expectOne(host.take()).macTo).toBe(PEER_MAC);
  });

  it('answers a probe of its address to all nodes', () => {
    const host = createHost6();
    host.netif.inject(
      solicitation({ source: '::', destination: GROUP, target: US6, destinationMac: GROUP_MAC }),
    );
    const answer = expectOne(host.take());
    expect(answer).toMatchObject({ destination: long('ff02::1'), macTo: '33:33:00:00:00:01' });
    expect(answer.payload[4]).toBe(0x20);
  });

  it.each([
    ['came by a router', { hopLimit: 254 }],
    ['has an option of length zero', { options: [1, 0, 0, 0, 0, 0, 0, 0] }],
    ['has half an option', { options: [1, 2, 0, 0, 0, 0, 0, 0] }],
    ['probes, and tells an address', { source: '::', options: macOption(1, PEER_MAC) }],
    ['asks for a group', { target: 'ff02::1' }],
  ])('does not answer a solicitation that %s', (_, fields) => {
    const host = createHost6();
    host.netif.inject(
      solicitation({ source: PEER6, destination: GROUP, target: US6, destinationMac: GROUP_MAC, ...fields }),
    );
    expect(host.take()).toEqual([]);
    expect(host.link.ndp.counters.inErrors).toBe(1);
    expect(host.link.ndp.cache.size).toBe(0);
  });

  it('probes a neighbour that is used and not confirmed, by unicast, then anew', () => {
    const host = createHost6();
    send(host.path(PEER6), [1]);
    host.resolve();
    host.take();
    host.run(46_000);
    send(host.path(PEER6), [2]);
    host.run(4900);
    expect(ofType(host.take(), NS)).toEqual([]);
    host.run(200);
    expect(expectOne(ofType(host.take(), NS))).toMatchObject({ destination: long(PEER6), macTo: PEER_MAC });
    host.run(3000);
    host.take();
    send(host.path(PEER6), [3]);
    expect(expectOne(host.take())).toMatchObject({ destination: long('ff02::1:ff00:2') });
  });

  it('takes a transport’s word that the neighbour is there', () => {
    const host = createHost6();
    const path = host.path(PEER6);
    send(path, [1]);
    host.resolve();
    host.run(46_000);
    send(path, [2]);
    path.confirm();
    host.take();
    host.run(6000);
    expect(ofType(host.take(), NS)).toEqual([]);
  });

  it('asks the old address of a live neighbour before it believes a new one', () => {
    const host = createHost6();
    send(host.path(PEER6), [1]);
    host.resolve();
    host.take();
    host.netif.inject(advertisement({ target: PEER6, mac: OTHER_MAC, flags: 0x20 }));
    expect(expectOne(ofType(host.take(), NS))).toMatchObject({ macTo: PEER_MAC });
    host.resolve();
    send(host.path(PEER6), [2]);
    expect(expectOne(host.take()).macTo).toBe(PEER_MAC);
    // Silence is an answer too.
    host.run(2000);
    host.netif.inject(advertisement({ target: PEER6, mac: OTHER_MAC, flags: 0x20 }));
    host.run(2000);
    host.take();
    send(host.path(PEER6), [3]);
    expect(expectOne(host.take()).macTo).toBe(OTHER_MAC);
  });

  it('keeps to the first answer where others do not override', () => {
    const host = createHost6();
    send(host.path(PEER6), [1]);
    host.resolve();
    host.take();
    host.netif.inject(advertisement({ target: PEER6, mac: OTHER_MAC, flags: 0x40 }));
    expect(host.take()).toEqual([]);
    send(host.path(PEER6), [2]);
    expect(expectOne(host.take()).macTo).toBe(PEER_MAC);
  });

  it('makes no entries of advertisements that it did not ask for', () => {
    const host = createHost6();
    host.resolve();
    expect(host.link.ndp.cache.size).toBe(0);
  });

  it('stays within its limits, whoever asks and whatever is looked for', () => {
    const host = createHost6();
    for (let i = 0; i < 2000; i++) {
      host.netif.inject(
        solicitation({
          source: `2001:db8::${(0x1000 + i).toString(16)}`,
          destination: GROUP,
          target: US6,
          destinationMac: GROUP_MAC,
          options: macOption(1, PEER_MAC),
        }),
      );
    }
    expect(host.link.ndp.cache.size).toBe(512);
    expect(ofType(host.take(), NA).length).toBeLessThanOrEqual(200);
    expect(host.link.ndp.counters.outLimited).toBe(1800);
    for (let i = 0; i < 2000; i++) send(host.path(`2001:db8::${(0x8000 + i).toString(16)}`), [1]);
    expect(host.link.ndp.cache.size).toBe(512);
    expect(ofType(host.take(), NS).length).toBeLessThanOrEqual(200);
  });
});

describe('duplicate address detection', () => {
  it('reports its groups, asks once, waits a second, and takes the address', async () => {
    const host = createHost6({ fresh: true });
    host.run(3000);
    await host.started;
    const sent = host.take();
    const probes = ofType(sent, NS);
    expect(probes).toHaveLength(2);
    for (const probe of probes) expect(probe).toMatchObject({ source: long('::'), hopLimit: 255 });
    expect(probes.map(({ payload }) => payload.slice(8, 24))).toContainEqual(ip6Bytes(US6));
    expect(ofType(sent, NA)).toEqual([]);
    const reports = sent.filter(({ next }) => next === 0);
    expect(reports[0]).toMatchObject({ source: long('::'), destination: long('ff02::16'), hopLimit: 1 });
    // Behind the router alert: a report of version 2 with a record for each solicited-node group.
    expect(reports[0]!.payload.slice(0, 9)).toEqual([58, 0, 5, 2, 0, 0, 1, 0, 143]);
    expect(reports[0]!.payload.slice(14, 16)).toEqual([0, 2]);
    expect(reports[0]!.payload.slice(16, 20)).toEqual([4, 0, 0, 0]);
    // Once more from the link-local address, since routers do not heed `::`.
    expect(reports.at(-1)!.source).toBe(long(`${host.link.linkLocal()}`));
  });

  it.each([
    [
      'advertises',
      advertisement({
        target: US6,
        destination: 'ff02::1',
        destinationMac: '33:33:00:00:00:01',
        flags: 0x20,
      }),
    ],
    [
      'probes for',
      solicitation({ source: '::', destination: GROUP, target: US6, destinationMac: GROUP_MAC }),
    ],
  ])('gives up an address that another station %s', async (_, frame) => {
    const conflicts: AddressConflict[] = [];
    const host = createHost6({ fresh: true, onConflict: (conflict) => conflicts.push(conflict) });
    host.run(10);
    host.netif.inject(frame);
    await expect(host.started).rejects.toMatchObject({ code: 'EADDRNOTAVAIL', address: US6 });
    host.run(5000);
    expect(conflicts).toMatchObject([{ address: US6, outcome: 'probe' }]);
    expect(`${conflicts[0]!.mac}`).toBe(PEER_MAC);
    expect(host.link.addresses.all.map(({ origin }) => origin)).toEqual(['link-local']);
  });

  it('knows its own probe when a bridge sends it back', async () => {
    const host = createHost6({ fresh: true });
    for (let i = 0; i < 3000; i += 10) {
      host.run(10);
      for (const frame of host.netif.take()) {
        // As if from another station: only the nonce tells.
        frame[11] = 0x55;
        host.netif.inject(frame);
      }
    }
    await host.started;
    expect(host.link.addresses.conflicts).toBe(0);
  });

  it('makes another link-local address where one is taken', async () => {
    const host = createHost6({ fresh: true, address: null });
    const [first] = host.link.addresses.all;
    host.netif.inject(
      advertisement({
        target: `${first!.address}`,
        destination: 'ff02::1',
        destinationMac: '33:33:00:00:00:01',
        flags: 0x20,
      }),
    );
    host.run(4000);
    await host.started;
    const [second] = host.link.addresses.all;
    expect(`${second!.address}`).toMatch(/^fe80::/);
    expect(`${second!.address}`).not.toBe(`${first!.address}`);
  });

  it('defends an address that it has, at most once in ten seconds', () => {
    const conflicts: AddressConflict[] = [];
    const host = createHost6({ onConflict: (conflict) => conflicts.push(conflict) });
    const rival = advertisement({
      target: US6,
      destination: 'ff02::1',
      destinationMac: '33:33:00:00:00:01',
      flags: 0x20,
    });
    host.netif.inject(rival, rival);
    expect(expectOne(ofType(host.take(), NA))).toMatchObject({
      source: long(US6),
      destination: long('ff02::1'),
    });
    expect(conflicts).toMatchObject([{ address: US6, outcome: 'defended' }]);
    host.run(10_000);
    host.netif.inject(rival);
    expect(ofType(host.take(), NA)).toHaveLength(1);
    expect(host.link.addresses.conflicts).toBe(3);
    expect(host.ipv6.isLocal(host.path(PEER6).source)).toBe(true);
  });
});
