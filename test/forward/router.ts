import { IpAddress, Prefix } from '../../src/address/index.ts';
import { Network, type NetworkOptions } from '../../src/direct/network.ts';
import { SeededRandom, TimerWheel, VirtualClock } from '../../src/time/index.ts';
import { RecordingProtocol } from '../support/host.ts';
import { BROADCAST_MAC, packet } from '../support/packets.ts';
import { ScriptedNetif, type ScriptedNetifOptions } from '../support/scripted-netif.ts';

export const IN = '10.1.0.1';
export const OUT = '10.2.0.1';
/** A host behind the router, one beside it outside, and the router that the default route leads to. */
export const HOST = '10.1.0.2';
export const PEER = '10.2.0.2';
export const GATEWAY = '10.2.0.254';
export const FAR = '192.0.2.7';
export const IN_MAC = '02:00:00:00:01:01';
export const OUT_MAC = '02:00:00:00:02:01';
export const MACS: Readonly<Record<string, string>> = {
  [HOST]: '02:00:00:00:01:02',
  '10.1.0.3': '02:00:00:00:01:03',
  [PEER]: '02:00:00:00:02:02',
  [GATEWAY]: '02:00:00:00:02:fe',
};

export interface RouterOptions
  extends Partial<Pick<NetworkOptions, 'forwarding' | 'isPortInUse' | 'hostModel'>> {
  readonly inside?: ScriptedNetifOptions;
  readonly outside?: ScriptedNetifOptions;
  /** Leaves the neighbours unknown. */
  readonly unresolved?: boolean;
}

/** A router on two scripted netifs and virtual time, which knows its neighbours. */
export function createRouter(options: RouterOptions = {}) {
  const clock = new VirtualClock(100_000);
  const timers = new TimerWheel(clock);
  const inside = new ScriptedNetif({ mac: IN_MAC, ...options.inside });
  const outside = new ScriptedNetif({ mac: OUT_MAC, ...options.outside });
  const { forwarding = {}, isPortInUse, hostModel } = options;
  const network = new Network({
    netif: inside,
    name: 'in',
    address: Prefix.parse(`${IN}/24`),
    others: [
      {
        netif: outside,
        name: 'out',
        address: Prefix.parse(`${OUT}/24`),
        gateway: IpAddress.parse(GATEWAY),
      },
    ],
    clock,
    timers,
    random: new SeededRandom(3),
    forwarding,
    ...(isPortInUse === undefined ? {} : { isPortInUse }),
    ...(hostModel === undefined ? {} : { hostModel }),
  });
  const udp = new RecordingProtocol(17);
  const tcp = new RecordingProtocol(6);
  network.register(udp);
  network.register(tcp);
  void network.start();
  const run = (ms: number): void => clock.advanceTo(clock.now() + ms);
  run(5000);
  const greet = (netif: ScriptedNetif, address: string, our: string): void => {
    const mac = MACS[address]!;
    netif.inject(
      packet({ source: mac, destination: BROADCAST_MAC }).arpRequest({ senderIp: address, targetIp: our }),
    );
  };
  if (options.unresolved !== true) {
    greet(inside, HOST, IN);
    greet(inside, '10.1.0.3', IN);
    greet(outside, PEER, OUT);
    greet(outside, GATEWAY, OUT);
  }
  run(0);
  inside.take();
  outside.take();
  return { clock, timers, network, inside, outside, udp, tcp, run, settle: () => run(0) };
}

/** A frame from a host to the router's inner or outer interface. */
export const fromInside = (from = HOST) => packet({ source: MACS[from]!, destination: IN_MAC });
export const fromOutside = (from = GATEWAY) => packet({ source: MACS[from]!, destination: OUT_MAC });
