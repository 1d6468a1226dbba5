import { beforeEach, describe, expect, it } from 'vitest';
import { IpAddress } from '../../src/address/index.ts';
import { createHost, GATEWAY, GATEWAY_MAC, type Host, send, US } from '../support/host.ts';
import { expectFrame, packet, pattern } from '../support/packets.ts';

const FAR = '192.0.2.1';

describe('path MTU discovery (RFC 1191)', () => {
  let host: Host;

  beforeEach(() => {
    host = createHost({ gateway: IpAddress.parse(GATEWAY) });
    send(host.path(FAR), [0]);
    host.resolve(GATEWAY, GATEWAY_MAC);
    host.netif.take();
  });

  /** The router's "fragmentation needed" about a packet of ours of `length` bytes. */
  function tooBig(mtu: number, { length = 1500, destination = FAR, source = US } = {}): void {
    const quoted = packet()
      .ipv4({ source, destination, totalLength: length, dontFragment: true })
      .payload(17, pattern(8))
      .subarray(14);
    host.netif.inject(
      packet({ source: GATEWAY_MAC })
        .ipv4({ source: GATEWAY, destination: US })
        .icmp(3, 4, [0, 0, mtu >> 8, mtu & 255], quoted),
    );
  }

  it('believes the router where the transport vouches for the packet', () => {
    const path = host.path(FAR);
    tooBig(1400);
    expect(host.udp.errors).toMatchObject([
      { kind: 'packet-too-big', source: US, destination: FAR, mtu: 1400, data: pattern(8) },
    ]);
    expect(path.mtu).toBe(1400);
    expect(path.interfaceMtu).toBe(1500);
    expect(host.path('192.0.2.2').mtu).toBe(1500);
    send(path, pattern(1400));
    expect(host.netif.take().map((frame) => expectFrame(frame).ipv4().payload.length)).toEqual([1376, 24]);
  });

  it('does not believe it otherwise', () => {
    host.udp.believes = false;
    tooBig(1400);
    expect(host.path(FAR).mtu).toBe(1500);
  });

  it.each([
    ['of a packet that is not ours', { source: '10.0.0.9' }],
    ['of a packet to ourselves', { destination: '127.0.0.1' }],
    ['of a broadcast', { destination: '10.0.0.255' }],
  ])('ignores word %s', (_, fields) => {
    tooBig(1400, fields);
    expect(host.udp.errors).toEqual([]);
    expect(host.network.ipv4.pathMtu.size).toBe(0);
  });

  it('is never raised, and no link is narrower than 68', () => {
    tooBig(1400);
    tooBig(1450);
    tooBig(1400);
    tooBig(60);
    expect(host.path(FAR).mtu).toBe(1400);
    expect(host.udp.errors).toHaveLength(1);
  });

  it('goes down the plateaus where the router does not tell', () => {
    const seen: number[] = [];
    for (let i = 0; i < 6; i++) {
      tooBig(0);
      seen.push(host.path(FAR).mtu);
    }
    expect(seen).toEqual([1492, 1280, 1006, 576, 552, 552]);
    host = createHost({ gateway: IpAddress.parse(GATEWAY) });
    tooBig(0, { length: 1100 });
    expect(host.path(FAR).mtu).toBe(1006);
  });

  it('stops at 552, and lets routers cut what is narrower', () => {
    const path = host.path(FAR);
    tooBig(300);
    expect(path.mtu).toBe(552);
    send(path, pattern(500));
    const narrow = expectFrame(host.netif.take()[0]).ipv4({ dontFragment: false });
    send(path, pattern(500));
    expect(expectFrame(host.netif.take()[0]).ipv4().identification).not.toBe(narrow.identification);
  });

  it('tries larger packets again after ten minutes', () => {
    const path = host.path(FAR);
    tooBig(1400);
    host.run(300_000);
    tooBig(1300);
    host.run(599_000);
    expect(path.mtu).toBe(1300);
    host.run(2000);
    expect(path.mtu).toBe(1500);
    expect(host.network.ipv4.pathMtu.size).toBe(0);
  });

  it('remembers 1024 destinations at most', () => {
    for (let i = 0; i < 1100; i++) tooBig(1400, { destination: `192.0.${i >> 8}.${i & 255}` });
    expect(host.network.ipv4.pathMtu.size).toBe(1024);
    expect(host.path('192.0.0.75').mtu).toBe(1500);
    expect(host.path('192.0.0.76').mtu).toBe(1400);
  });
});
