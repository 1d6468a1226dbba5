import type { DirectStackOptions as DirectOptions, InterfaceOptions } from '../direct/index.ts';
import type { Netif } from '../netif/index.ts';
import type { Stack } from '../stack.ts';
import type { DirectStackOptions, NetifSpec, StackOptions } from './arguments.ts';
import { type InterfaceSpec, interfaceName } from './interface-arguments.ts';

export interface OpenStack {
  readonly stack: Stack;
  /** For people: what runs where. */
  readonly description: string;
  /** Completes the capture file, once the stack is closed; says what is missing in it. */
  finish(): Promise<string | null>;
  /** The same at once, where the process is about to end. */
  finishSync(): void;
}

/** What happens to the stack while it runs. */
export interface StackEvents {
  /** The interface went away by itself. */
  onDown(error: Error | undefined): void;
  /** Another station uses the stack's address. */
  onConflict(conflict: { readonly address: string; readonly mac: string }): void;
}

/** The queue of a TAP that a stack takes in place of a device: one shard of a station. */
export interface ShardQueue {
  readonly shard: number;
  readonly shards: number;
  readonly fd: number;
  readonly mac: string;
  readonly mtu: number;
}

/** A shard's way to the others. */
export interface ShardPeers extends ShardQueue {
  /** Of shard 0. */
  publish(frame: Uint8Array): void;
  /** Of the others: `deliver` takes what shard 0 published. */
  subscribe(deliver: (frame: Uint8Array) => void): void;
  /** The stack is closed: when its queue may go too. */
  beforeRelease(): Promise<void>;
}

export interface OpenOptions {
  /** One shard of a station. */
  readonly peers?: ShardPeers | undefined;
  /**
   * Nothing of the stack keeps the process, once it is open: that is for what
   * the application does with it. Default false.
   */
  readonly background?: boolean;
  /** What a `DirectStack` is given beside what the options say. */
  readonly direct?: StackSettings;
}

/** What has no place on a command line. */
export type StackSettings = Pick<DirectOptions, 'dns' | 'search' | 'hosts' | 'tcp'>;

/**
 * The stack that the options describe, ready for use. Its parts are imported
 * only when they are used, so `--net socket` needs no native code.
 */
export async function openStack(
  options: StackOptions,
  events: StackEvents,
  more: OpenOptions = {},
): Promise<OpenStack> {
  if (options.net === 'direct') return openDirect(options, events, more);
  const { SocketStack } = await import('../socket/index.ts');
  return {
    stack: new SocketStack(),
    description: "the host's own sockets",
    finish: async () => null,
    finishSync: () => {},
  };
}

async function openDirect(
  options: DirectStackOptions,
  events: StackEvents,
  { peers, background = false, direct = {} }: OpenOptions,
): Promise<OpenStack> {
  const [{ capture, impair, shardPorts }, { DirectStack }, { RealClock, SeededRandom }, { captureFile }] =
    await Promise.all([
      import('../netif/index.ts'),
      import('../direct/index.ts'),
      import('../time/index.ts'),
      import('./capture-file.ts'),
    ]);
  const clock = background ? new (await import('../net/index.ts')).BackgroundClock() : new RealClock();
  const { impair: spoiling, pcap, snapLength, control, napt } = options;
  // Opened first: a file that cannot be written is found out before a device is made.
  const sink = pcap === undefined ? null : captureFile(pcap);
  const devices = new Devices();
  try {
    // Impairments hit packets one by one, so frames must be packets.
    const offloads = spoiling === undefined && options.offloads;
    const [first, ...others] = interfacesOf(options);
    const device =
      peers === undefined
        ? await devices.open(first, offloads)
        : devices.keep(await openShard(peers, offloads));
    const addresses = options.ip6 === undefined ? options.ip : `${options.ip} and IPv6 ${options.ip6}`;
    let netif: Netif = device;
    if (spoiling !== undefined) {
      const { impairments, seed } = spoiling;
      const random = new SeededRandom(seed);
      netif = impair(netif, { clock, random, transmit: impairments, receive: impairments });
    }
    if (sink !== null) {
      const epochMs = Date.now() - clock.now();
      netif = capture(netif, sink, { clock, epochMs, ...(snapLength !== undefined && { snapLength }) });
    }
    const interfaces = [settingsOf(first, netif)];
    for (const one of others) interfaces.push(settingsOf(one, await devices.open(one, offloads)));
    const also = interfaces.slice(1).map(({ ipv4, netif: { name } }) => `, ${ipv4 ?? 'no IPv4'} on ${name}`);
    const description = `${addresses} on ${describe(device)}${also.join('')}`;
    const stack = new DirectStack({
      ...direct,
      interfaces,
      clock,
      ...(options.forward && { forwarding: napt === undefined ? true : { napt: { outside: napt } } }),
      ...(peers !== undefined && { ephemeralPorts: shardPorts(peers.shard, peers.shards) }),
      onDown: (error) => events.onDown(error),
      onConflict: (conflict) => events.onConflict(conflict),
    });
    await stack.ready();
    const stopAnswering =
      control === undefined ? () => {} : await (await import('./control.ts')).answerQuestions(stack, control);
    if (background) devices.unref();
    return {
      stack,
      description,
      finish: async () => {
        stopAnswering();
        await sink?.end();
        if (sink === null || sink.droppedRecords === 0) return null;
        return `the disk was too slow for ${sink.droppedRecords} frames, which ${pcap} lacks.`;
      },
      finishSync: () => {
        stopAnswering();
        sink?.flushSync();
      },
    };
  } catch (error) {
    await devices.close();
    await sink?.end();
    throw error;
  }
}

/** The interfaces that the options describe, the first as told by --ip and its like. */
function interfacesOf(options: DirectStackOptions): [InterfaceSpec, ...InterfaceSpec[]] {
  const { netif, first, others = [], ip, ip6, gateway, gateway6, hostIp } = options;
  const own = {
    ...first,
    netif,
    ip,
    ...(ip6 !== undefined && { ip6 }),
    ...(gateway !== undefined && { gateway }),
    ...(gateway6 !== undefined && { gateway6 }),
    ...(hostIp !== undefined && { hostIp }),
  };
  return [own, ...others];
}

function settingsOf(spec: InterfaceSpec, netif: Netif): InterfaceOptions {
  const { ip, ip6, gateway, gateway6, metric, advertise } = spec;
  return {
    netif,
    name: interfaceName(spec),
    ...(ip !== undefined && { ipv4: ip }),
    ...(ip6 !== undefined && { ipv6: ip6 }),
    ...(gateway !== undefined && { gateway }),
    ...(gateway6 !== undefined && { gateway6 }),
    ...(metric !== undefined && { metric }),
    ...(advertise !== undefined && { advertise }),
  };
}

/** The devices that were opened; one with several VLANs is opened once. */
class Devices {
  readonly #open: Netif[] = [];
  readonly #trunks = new Map<string, Netif>();

  async open(
    { netif: spec, hostIp, vlan: id }: InterfaceSpec,
    offloads: boolean | 'software',
  ): Promise<Netif> {
    if (id === undefined) return this.keep(await openNetif(spec, hostIp, offloads));
    const { vlan } = await import('../netif/index.ts');
    const key = JSON.stringify(spec);
    let trunk = this.#trunks.get(key);
    if (trunk === undefined) {
      trunk = this.keep(await openNetif(spec, hostIp, offloads));
      this.#trunks.set(key, trunk);
    }
    return vlan(trunk, { id });
  }

  keep(netif: Netif): Netif {
    this.#open.push(netif);
    return netif;
  }

  unref(): void {
    for (const netif of this.#open) netif.unref?.();
  }

  async close(): Promise<void> {
    for (const netif of this.#open) await netif.close();
  }
}

async function openNetif(
  spec: NetifSpec,
  hostIp: string | undefined,
  offloads: boolean | 'software',
): Promise<Netif> {
  if (spec.kind === 'stream') {
    const { openStream } = await import('../netif/stream/index.ts');
    const { kind, ...options } = spec;
    const netif = await openStream(options);
    if (!offloads) return netif;
    const { softwareOffloads } = await import('../netif/index.ts');
    return softwareOffloads(netif);
  }
  if (spec.kind === 'xen' || spec.kind === 'vif') return openXen(spec, offloads);
  const { openTap } = await import('../netif/tap/index.ts');
  return openTap({
    ...(spec.kind === 'tap' ? { name: spec.name } : { fd: spec.fd }),
    ...(hostIp !== undefined && { hostAddress: hostIp }),
    offloads,
  });
}

async function openXen(
  spec: Extract<NetifSpec, { kind: 'xen' | 'vif' }>,
  offloads: boolean | 'software',
): Promise<Netif> {
  const { openLinuxHypervisor, openNetback, openNetfront } = await import('../netif/xen/index.ts');
  const hypervisor = await openLinuxHypervisor();
  try {
    const netif =
      spec.kind === 'xen'
        ? await openNetfront({ hypervisor, index: spec.index, offloads })
        : await openNetback({ hypervisor, frontend: spec.frontend, index: spec.index, offloads });
    const close = netif.close.bind(netif);
    netif.close = () => close().finally(() => hypervisor.close());
    return netif;
  } catch (error) {
    await hypervisor.close();
    throw error;
  }
}

async function openShard(peers: ShardPeers, offloads: boolean | 'software'): Promise<Netif> {
  const [{ openTap }, { shard }] = await Promise.all([
    import('../netif/tap/index.ts'),
    import('../netif/index.ts'),
  ]);
  const { fd, mac, mtu } = peers;
  const netif = shard(openTap({ fd, mac, mtu, offloads }), {
    shard: peers.shard,
    publish: (frame) => peers.publish(frame),
  });
  if (peers.shard > 0) peers.subscribe((frame) => netif.deliver(frame));
  const close = netif.close.bind(netif);
  // The kernel numbers the queues anew when one goes, so they go together.
  netif.close = () => peers.beforeRelease().then(close);
  return netif;
}

function describe(netif: Netif): string {
  const { checksum, segmentation } = netif.transmit;
  const offloads = [
    ...(checksum === 'none' ? [] : ['checksums']),
    ...(segmentation === 0 ? [] : ['segmentation']),
  ];
  return `${netif.name} (${netif.mac}, MTU ${netif.mtu}, offloads: ${offloads.join(' and ') || 'none'})`;
}
