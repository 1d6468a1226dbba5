import { expect } from 'vitest';
import { IpAddress, Prefix } from '../../src/address/index.ts';
import { Network, type NetworkOptions } from '../../src/direct/network.ts';
import type { IpPath } from '../../src/ip.ts';
import type { Ipv6Configuration } from '../../src/ipv6/index.ts';
import { SeededRandom, TimerWheel, VirtualClock } from '../../src/time/index.ts';
import { RecordingProtocol } from '../support/host.ts';
import { ScriptedNetif, type ScriptedNetifOptions } from '../support/scripted-netif.ts';
import { icmp6Frame, ip6Bytes, macOption, read6, type Seen } from './packets.ts';

export const US6 = '2001:db8::1';
export const PEER6 = '2001:db8::2';
export const PEER_MAC = '02:00:00:00:00:99';
export const ROUTER = 'fe80::fe';
export const ROUTER_MAC = '02:00:00:00:00:fe';
export const NS = 135;
export const NA = 136;
export const RS = 133;
export const RA = 134;

export interface Host6Options extends ScriptedNetifOptions, Partial<Omit<Ipv6Configuration, 'address'>> {
  readonly address?: string | null;
  /** Leaves the start (duplicate address detection, reports) to the test. */
  readonly fresh?: boolean;
  readonly onConflict?: NetworkOptions['onConflict'];
}

/** A network of one host, 2001:db8::1/64, on a scripted netif and virtual time; its addresses are taken. */
export function createHost6(options: Host6Options = {}) {
  const { address = `${US6}/64`, autoconfigure = false, gateway = null, fresh = false } = options;
  const clock = new VirtualClock(100_000);
  const timers = new TimerWheel(clock);
  const netif = new ScriptedNetif(options);
  const network = new Network({
    netif,
    clock,
    timers,
    random: new SeededRandom(7),
    address: null,
    ipv6: {
      address: address === null ? null : Prefix.parse(address),
      autoconfigure,
      gateway,
      ...(options.detect === undefined ? {} : { detect: options.detect }),
      secret: options.secret ?? Uint8Array.from([1, 2, 3]),
    },
    ...(options.onConflict === undefined ? {} : { onConflict: options.onConflict }),
  });
  const udp = new RecordingProtocol(17);
  const tcp = new RecordingProtocol(6);
  network.register(udp);
  network.register(tcp);
  const started = network.start();
  started.catch(() => {});
  const run = (ms: number): void => clock.advanceTo(clock.now() + ms);
  if (!fresh) {
    run(5000);
    netif.take();
  }
  const ipv6 = network.ipv6!;
  return {
    clock,
    timers,
    netif,
    network,
    ipv6,
    link: ipv6.link,
    udp,
    tcp,
    started,
    run,
    settle: () => run(0),
    /** IPv6 packets sent since the last call. */
    take: (): Seen[] =>
      netif
        .take()
        .map(read6)
        .filter((seen) => seen !== null),
    path: (destination: string, source?: string): IpPath =>
      network.path(IpAddress.parse(destination), source === undefined ? undefined : IpAddress.parse(source)),
    /** The neighbour's answer to a solicitation. */
    resolve: (address = PEER6, mac = PEER_MAC, flags = 0x60): void =>
      netif.inject(advertisement({ target: address, mac, flags })),
  };
}

export interface AdvertisementFields {
  readonly target: string;
  readonly mac?: string | null;
  /** Router 0x80, solicited 0x40, override 0x20. */
  readonly flags?: number;
  readonly destination?: string;
  readonly destinationMac?: string;
  readonly hopLimit?: number;
}

export function advertisement(fields: AdvertisementFields): Uint8Array {
  const { target, mac = PEER_MAC, flags = 0x60, destination = US6, hopLimit = 255, destinationMac } = fields;
  return icmp6Frame(
    {
      source: target,
      destination,
      type: NA,
      hopLimit,
      ...(destinationMac === undefined ? {} : { destinationMac }),
    },
    [flags, 0, 0, 0, ...ip6Bytes(target), ...(mac === null ? [] : macOption(2, mac))],
  );
}

export function solicitation(fields: {
  readonly source: string;
  readonly destination: string;
  readonly target: string;
  readonly destinationMac?: string;
  readonly hopLimit?: number;
  readonly options?: readonly number[];
}): Uint8Array {
  const { target, options = [], hopLimit = 255 } = fields;
  return icmp6Frame({ ...fields, type: NS, hopLimit }, [0, 0, 0, 0, ...ip6Bytes(target), ...options]);
}

/** What is of one ICMPv6 type. */
export function ofType(sent: readonly Seen[], type: number): Seen[] {
  return sent.filter(({ next, payload }) => next === 58 && payload[0] === type);
}

export function expectOne<T>(items: readonly T[]): T {
  expect(items).toHaveLength(1);
  return items[0]!;
}
