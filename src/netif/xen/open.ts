import { MacAddress } from '../../address/index.ts';
import { NetError } from '../../errors.ts';
import { type Clock, RealClock } from '../../time/index.ts';
import type { DomainId, Hypervisor } from './hypervisor.ts';
import { readNumbers } from './keys.ts';
import { Netback } from './netback/netback.ts';
import { Netfront } from './netfront/netfront.ts';
import type { RingNetif } from './ring-netif.ts';

/** What both ends can be told. */
interface EndOptions {
  readonly hypervisor: Hypervisor;
  /** The host's clock unless given. */
  readonly clock?: Clock;
  /** `vif0`, or `vif3.0` of a backend, unless given. */
  readonly name?: string;
  /** Largest network-layer packet; what xenstore says (`mtu`), else 1500, unless given. */
  readonly mtu?: number;
  /**
   * What this end does: checksums by the device (as good as none, between two domains), and frames
   * of many segments. True, for both, unless given; false for one frame per packet and all checksums
   * in software. With `software` the rings carry ordinary frames with all their checksums, which are
   * put together and cut apart here, so that the stack works with large ones all the same: for
   * another end that has no offloads.
   */
  readonly offloads?: boolean | 'software' | { readonly checksum: boolean; readonly segmentation: boolean };
  /** Packets of several slots (`feature-sg`); needed for an MTU above 4078 and for segmentation. True unless given. */
  readonly scatterGather?: boolean;
  /** An event channel for each direction where both ends can. True unless given. */
  readonly splitChannels?: boolean;
  /** Most pairs of rings, as far as the other end takes part; 1 unless given. */
  readonly queues?: number;
  /** Most pages of a ring, as log2, as far as the other end takes part; 0 unless given. */
  readonly ringOrder?: number;
  /** How long the first connection may take; 30,000 ms unless given, `Infinity` for as long as it takes. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface NetfrontOptions extends EndOptions {
  /** Of the device in this domain: `device/vif/INDEX`; 0 unless given. */
  readonly index?: number;
  /**
   * Group addresses to receive. If given, the backend is asked to filter out all others, if it can;
   * more can be added later. Without it, all of them come.
   */
  readonly multicastGroups?: readonly MacAddress[];
}

export interface NetbackOptions extends EndOptions {
  /** The frontend's domain. */
  readonly frontend: DomainId;
  /** Of the device in that domain: `backend/vif/FRONTEND/INDEX`; 0 unless given. */
  readonly index?: number;
  /** Of the stack on this end; the frontend's with `fe` in front unless given. */
  readonly mac?: MacAddress;
}

const MAX_QUEUES = 16;
const MAX_ORDER = 4;
const DEFAULT_TIMEOUT_MS = 30_000;

/**
 * Opens this domain's network card and waits until its backend is connected.
 *
 * @throws NetError `ENODEV` if there is no such device, `ETIMEDOUT` if the backend does not connect,
 * `EINVAL` for options out of range
 */
export async function openNetfront(options: NetfrontOptions): Promise<Netfront> {
  const { hypervisor, index = 0, multicastGroups } = options;
  const { clock = new RealClock(), name = `vif${index}` } = options;
  const common = check(options, index);
  const folder = `device/vif/${index}`;
  const { mac, mtu } = await describe(hypervisor, folder);
  const netfront = new Netfront({
    hypervisor,
    clock,
    folder,
    name,
    mac,
    mtu: checkMtu(options.mtu ?? mtu),
    wishes: { ...common, multicastControl: multicastGroups !== undefined },
    groups: multicastGroups ?? [],
  });
  return connected(netfront, clock, options);
}

/**
 * Serves the network card of another domain and waits until its frontend is connected.
 *
 * @throws NetError as {@link openNetfront}
 */
export async function openNetback(options: NetbackOptions): Promise<Netback> {
  const { hypervisor, frontend, index = 0 } = options;
  const { clock = new RealClock(), name = `vif${frontend}.${index}` } = options;
  const common = check(options, index);
  const folder = `backend/vif/${frontend}/${index}`;
  const { mac, mtu } = await describe(hypervisor, folder);
  const netback = new Netback({
    hypervisor,
    clock,
    folder,
    name,
    mac: options.mac ?? new MacAddress(0xfe00 | (mac.high & 0xff), mac.low),
    mtu: checkMtu(options.mtu ?? mtu),
    offer: { ...common, multicastControl: true },
  });
  return connected(netback, clock, options);
}

function check(
  options: EndOptions,
  index: number,
): {
  checksum: boolean;
  segmentation: boolean;
  software: boolean;
  scatterGather: boolean;
  splitChannels: boolean;
  queues: number;
  ringOrder: number;
} {
  const { offloads = true, scatterGather = true, splitChannels = true, queues = 1, ringOrder = 0 } = options;
  inRange('index', index, 0, 0xffff);
  inRange('queues', queues, 1, MAX_QUEUES);
  inRange('ringOrder', ringOrder, 0, MAX_ORDER);
  const software = offloads === 'software';
  const { checksum, segmentation } =
    typeof offloads === 'object'
      ? offloads
      : { checksum: offloads === true, segmentation: offloads === true };
  if (segmentation && !checksum) {
    throw invalid('segments have their checksums made by the device: offloads.checksum must be on');
  }
  return {
    checksum,
    segmentation: segmentation && scatterGather,
    software,
    scatterGather,
    splitChannels,
    queues,
    ringOrder,
  };
}

function checkMtu(mtu: number): number {
  // The largest packet is 65,535 bytes with its Ethernet header.
  inRange('mtu', mtu, 68, 65_517);
  return mtu;
}

function inRange(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw invalid(`${name} is ${value}; it must be a whole number from ${least} to ${most}`);
}

function invalid(reason: string): NetError {
  return new NetError('EINVAL', { syscall: 'open', reason });
}

/** What the toolstack wrote about a device. */
async function describe(hypervisor: Hypervisor, folder: string): Promise<{ mac: MacAddress; mtu: number }> {
  const { store, domain } = hypervisor;
  const text = await store.read(`${folder}/mac`);
  if (text === null) {
    throw new NetError('ENODEV', {
      syscall: 'open',
      reason: `xenstore of domain ${domain} has no ${folder}/mac: is the device attached?`,
    });
  }
  const { mtu = 1500 } = await readNumbers(store, folder, ['mtu']);
  return { mac: MacAddress.parse(text), mtu };
}

/** Waits for the first connection, for as long as is allowed. */
async function connected<T extends RingNetif>(netif: T, clock: Clock, options: EndOptions): Promise<T> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
  const { promise: refused, reject } = rejection();
  const onAbort = (): void => reject(signal!.reason as Error);
  const alarm = clock.alarm(() => {
    void (async () => {
      const state = await netif.describe().catch((error: Error) => error.message);
      reject(
        new NetError('ETIMEDOUT', {
          syscall: 'open',
          reason: `${netif.name} is not connected after ${timeoutMs} ms: ${state}`,
        }),
      );
    })();
  });
  if (timeoutMs !== Infinity) alarm.set(clock.now() + timeoutMs);
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([netif.open(), refused]);
    return netif;
  } catch (error) {
    await netif.close();
    throw error;
  } finally {
    alarm.clear();
    signal?.removeEventListener('abort', onAbort);
  }
}

function rejection(): { promise: Promise<never>; reject: (error: Error) => void } {
  let reject!: (error: Error) => void;
  const promise = new Promise<never>((_, onReject) => {
    reject = onReject;
  });
  promise.catch(() => {});
  return { promise, reject };
}
