import type { MacAddress } from '../../address/index.ts';
import { Descriptor, Errno, loadPacketProgram } from '../../native/index.ts';
import { attach } from './device.ts';
import { TUNSETSTEERINGEBPF } from './ioctl.ts';
import { configure, stationAddress } from './open.ts';
import { checkOptions, invalid, parseHostAddress, parseMac, type TapOptions } from './options.ts';
import { steeringProgram } from './steering.ts';

/** As many as any use makes sense of; the kernel's own limit is 256. */
const MOST_QUEUES = 64;

/** A device with several queues, one for each shard: see `shardOf`. */
export interface TapQueues {
  readonly name: string;
  /** Of the station, the same on all queues. */
  readonly mac: MacAddress;
  readonly mtu: number;
  /** One for each queue, in the order of the shards: for `openTap({ fd, mac, mtu })`, on any thread. */
  readonly descriptors: readonly number[];
}

/**
 * Opens `count` queues of a TAP device and tells the kernel which packets go to
 * which. Close all of them at about the same time: the kernel numbers them anew
 * when one goes.
 *
 * @throws NetError as `openTap`; `EPERM` where programs for the kernel may not be loaded
 */
export function openTapQueues(count: number, options: Omit<TapOptions, 'fd' | 'multiQueue'> = {}): TapQueues {
  if (!Number.isInteger(count) || count < 1 || count > MOST_QUEUES) {
    throw invalid(`${count} queues; 1 to ${MOST_QUEUES} are possible`);
  }
  const queued: TapOptions = { ...options, multiQueue: true };
  checkOptions(queued);
  const hostAddress = options.hostAddress === undefined ? null : parseHostAddress(options.hostAddress);
  const given = options.mac === undefined ? null : parseMac(options.mac);
  const devices = [attach(options.name ?? 'tap%d', queued)];
  try {
    const [first] = devices;
    const mtu = configure(first!, hostAddress, options);
    const mac = stationAddress(given, first!.hostMac);
    while (devices.length < count) devices.push(attach(first!.name, queued));
    steer(first!.descriptor, count);
    return { name: first!.name, mac, mtu, descriptors: devices.map(({ descriptor }) => descriptor.fd) };
  } catch (error) {
    for (const { descriptor } of devices) descriptor.close();
    throw error;
  }
}

function steer(queue: Descriptor, count: number): void {
  const program = new Descriptor(loadPacketProgram(steeringProgram(count)));
  try {
    const argument = Buffer.alloc(4);
    argument.writeInt32LE(program.fd);
    queue.ioctl(TUNSETSTEERINGEBPF, argument, 'TUNSETSTEERINGEBPF', {
      [Errno.EINVAL]: 'this kernel cannot be told which queue a packet goes to (Linux 4.16 can)',
    });
  } finally {
    program.close();
  }
}
