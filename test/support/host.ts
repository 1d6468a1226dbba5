import { IpAddress, Prefix } from '../../src/address/index.ts';
import { Network, type NetworkOptions } from '../../src/direct/network.ts';
import type { CommitOptions, IpError, IpErrorKind, IpPacket, IpPath, IpProtocol } from '../../src/ip.ts';
import { CHECKSUM_PARTIAL, type Frame } from '../../src/netif/netif.ts';
import { SeededRandom, TimerWheel, VirtualClock } from '../../src/time/index.ts';
import { packet } from './packets.ts';
import { ScriptedNetif, type ScriptedNetifOptions } from './scripted-netif.ts';

export const OUR_MAC = '02:00:00:00:00:01';
export const PEER_MAC = '02:00:00:00:00:99';
export const GATEWAY_MAC = '02:00:00:00:00:fe';
export const US = '10.0.0.1';
export const PEER = '10.0.0.2';
export const GATEWAY = '10.0.0.254';

export interface ReceivedPacket {
  readonly source: string;
  readonly destination: string;
  readonly trafficClass: number;
  readonly hopLimit: number;
  readonly isGroup: boolean;
  readonly checksum: Frame['checksum'];
  readonly segmentSize: number;
  readonly data: Uint8Array;
}

export interface ReceivedError {
  readonly kind: IpErrorKind;
  readonly source: string;
  readonly destination: string;
  readonly mtu: number;
  /** The quoted transport header. */
  readonly data: Uint8Array;
}

/** A transport that writes down what it is told. */
export class RecordingProtocol implements IpProtocol {
  readonly protocol: number;
  readonly packets: ReceivedPacket[] = [];
  readonly errors: ReceivedError[] = [];
  flushes = 0;
  writables = 0;
  /** Its answer to errors. */
  believes = true;
  onPacket: (packet: IpPacket) => void = () => {};

  constructor(protocol: number) {
    this.protocol = protocol;
  }

  receive(packet: IpPacket): void {
    const { frame, source, destination, trafficClass, hopLimit, isGroup } = packet;
    this.packets.push({
      source: `${source}`,
      destination: `${destination}`,
      trafficClass,
      hopLimit,
      isGroup,
      checksum: frame.checksum,
      segmentSize: frame.segmentSize,
      data: Uint8Array.from(frame.bytes.subarray(frame.start, frame.end)),
    });
    this.onPacket(packet);
  }

  error(error: IpError): boolean {
    this.errors.push({
      kind: error.kind,
      source: `${error.source}`,
      destination: `${error.destination}`,
      mtu: error.mtu,
      data: Uint8Array.from(error.bytes.subarray(error.start, error.end)),
    });
    return this.believes;
  }

  flush(): void {
    this.flushes++;
  }

  writable(): void {
    this.writables++;
  }

  take(): ReceivedPacket[] {
    return this.packets.splice(0);
  }
}

export interface HostOptions
  extends ScriptedNetifOptions,
    Partial<Omit<NetworkOptions, 'netif' | 'address' | 'mac'>> {
  readonly address?: string | null;
}

/** A network of one host, 10.0.0.1/24, on a scripted netif and virtual time; its first announcement is over. */
export function createHost(options: HostOptions = {}) {
  const clock = new VirtualClock(100_000);
  const timers = new TimerWheel(clock);
  const netif = new ScriptedNetif(options);
  const { address = `${US}/24` } = options;
  const network = new Network({
    ...options,
    netif,
    clock,
    timers,
    random: new SeededRandom(7),
    address: address === null ? null : Prefix.parse(address),
  });
  const udp = new RecordingProtocol(17);
  network.register(udp);
  const started = network.start();
  const run = (ms: number): void => clock.advanceTo(clock.now() + ms);
  if (!options.probe) {
    run(2500);
    netif.take();
  }
  return {
    clock,
    timers,
    netif,
    network,
    udp,
    started,
    run,
    /** Everything that is due now. */
    settle: () => run(0),
    path: (destination: string, source?: string): IpPath =>
      network.path(IpAddress.parse(destination), source === undefined ? undefined : IpAddress.parse(source)),
    /** The peer's ARP reply. */
    resolve: (ip = PEER, mac = PEER_MAC): void =>
      netif.inject(packet({ source: mac }).arpReply({ senderIp: ip, targetIp: US, targetMac: OUR_MAC })),
  };
}

export type Host = ReturnType<typeof createHost>;

export interface SendOptions extends CommitOptions {
  readonly protocol?: number;
  /** Leaves the sum to the device: offset of the field. */
  readonly partial?: number;
  readonly segmentSize?: number;
}

/** Sends `data` as a transport would; false if there was no room. */
export function send(path: IpPath, data: ArrayLike<number>, options: SendOptions = {}): boolean {
  const frame = path.reserve(options.protocol ?? 17, data.length);
  if (frame === null) return false;
  frame.bytes.set(Array.from(data), frame.start);
  if (options.partial !== undefined) {
    frame.checksum = CHECKSUM_PARTIAL;
    frame.checksumStart = frame.start;
    frame.checksumOffset = options.partial;
  }
  if (options.segmentSize !== undefined) frame.segmentSize = options.segmentSize;
  path.commit(frame, options);
  return true;
}
