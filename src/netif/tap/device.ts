import { MacAddress } from '../../address/index.ts';
import { Descriptor, Errno, systemError } from '../../native/index.ts';
import { NO_OFFLOADS, type Offloads } from '../netif.ts';
import {
  IFF_MULTI_QUEUE,
  IFF_NO_PI,
  IFF_TAP,
  IFF_VNET_HDR,
  InterfaceRequest,
  SIOCGIFHWADDR,
  TUN_F_CSUM,
  TUN_F_TSO4,
  TUN_F_TSO6,
  TUN_F_USO4,
  TUN_F_USO6,
  TUNGETFEATURES,
  TUNGETIFF,
  TUNGETSNDBUF,
  TUNGETVNETHDRSZ,
  TUNSETIFF,
  TUNSETOFFLOAD,
  TUNSETPERSIST,
  TUNSETSNDBUF,
  TUNSETVNETHDRSZ,
} from './ioctl.ts';
import { invalid, type TapOptions } from './options.ts';
import { VNET_HEADER } from './vnet-header.ts';

const CLONE_DEVICE = '/dev/net/tun';

/** A virtio-net header longer than this is none that any kernel has (24 bytes with UDP tunnels, Linux 6.17). */
const LONGEST_VNET_HEADER = 64;

/** Most bytes of a frame that carries several segments: an Ethernet header and the longest IP packet. */
export const LARGEST_SEGMENTED = 14 + 65535;

const OFFLOADS: Offloads = { checksum: 'partial', segmentation: LARGEST_SEGMENTED };
const CHECKSUM_ONLY: Offloads = { checksum: 'partial', segmentation: 0 };

type Granted = Pick<TapDevice, 'offloads' | 'datagrams'>;
const NOTHING: Granted = { offloads: NO_OFFLOADS, datagrams: false };

const UNPRIVILEGED =
  'opening a TAP needs root or CAP_NET_ADMIN, or a device made for this user (ip tuntap add NAME mode tap user USER), or a privileged parent that hands over fd:N';

const OPEN_REASONS: Partial<Record<number, string>> = {
  [Errno.ENOENT]: `there is no ${CLONE_DEVICE}: load the module (modprobe tun), or give the container the device`,
  [Errno.ENODEV]: `this kernel has no TUN/TAP driver: load the module (modprobe tun)`,
  [Errno.EACCES]: UNPRIVILEGED,
  [Errno.EPERM]: UNPRIVILEGED,
};

/** An attached TAP: what the kernel says of it, and the descriptor that it is read and written through. */
export interface TapDevice {
  readonly descriptor: Descriptor;
  readonly name: string;
  /** Bytes of the virtio-net header before each frame; 0 for none. */
  readonly headerSize: number;
  /** What both ends may leave to each other. */
  readonly offloads: Offloads;
  /** Both ends may also pass several datagrams as one frame. */
  readonly datagrams: boolean;
  /** Ordinary frames are put together and cut apart on this side. */
  readonly software: boolean;
  /** The kernel holds as much of ours as there is, so no write has to wait. */
  readonly isBoundless: boolean;
  /** Address of the kernel's end. */
  readonly hostMac: MacAddress;
}

/**
 * Creates the device or attaches to an existing one.
 *
 * @throws NetError `EPERM`/`EACCES` without the privilege, `ENODEV`/`ENOENT`
 * where the kernel has no TAP, `EBUSY` if the device is open elsewhere
 */
export function attach(name: string, options: TapOptions): TapDevice {
  const descriptor = Descriptor.open(CLONE_DEVICE, OPEN_REASONS);
  try {
    const features = new Value();
    descriptor.ioctl(TUNGETFEATURES, features.bytes, 'TUNGETFEATURES');
    const headers = wantsKernel(options) && (features.value & IFF_VNET_HDR) !== 0;
    const request = new InterfaceRequest(name);
    const queues = options.multiQueue === true ? IFF_MULTI_QUEUE : 0;
    request.flags = IFF_TAP | IFF_NO_PI | queues | (headers ? IFF_VNET_HDR : 0);
    descriptor.ioctl(TUNSETIFF, request.bytes, `TUNSETIFF ${name}`, {
      [Errno.EPERM]: UNPRIVILEGED,
      [Errno.EBUSY]: `${name} is in use: another process (or this one) has it open`,
      [Errno.EINVAL]: `${name} exists and is not a TAP device with ${queues === 0 ? 'one queue' : 'several queues'}`,
    });
    if (headers) {
      // A persistent device may still have the length that its last user asked for.
      descriptor.tryIoctl(TUNSETVNETHDRSZ, new Value(VNET_HEADER).bytes);
    }
    return describe(descriptor, request.name, headers, options);
  } catch (error) {
    descriptor.close();
    throw error;
  }
}

/**
 * Takes over a descriptor that someone else attached, as it is.
 *
 * @throws NetError `EINVAL` if it is not an open TAP, or one with packet
 * information headers
 */
export function adopt(fd: number, options: TapOptions): TapDevice {
  const descriptor = new Descriptor(fd);
  const request = new InterfaceRequest();
  const result = descriptor.tryIoctl(TUNGETIFF, request.bytes);
  if (result === -Errno.EBADF) throw systemError(Errno.EBADF, 'openTap', `fd ${fd} is not open`);
  if (result === -Errno.EBADFD) throw invalid(`fd ${fd} is ${CLONE_DEVICE}, but no device is attached to it`);
  if (result < 0) throw invalid(`fd ${fd} is not a TAP`);
  if ((request.flags & IFF_TAP) === 0) throw invalid(`fd ${fd} is a TUN device (IP packets), not a TAP`);
  if ((request.flags & IFF_NO_PI) === 0) throw invalid(`fd ${fd} was opened without IFF_NO_PI`);
  descriptor.setNonBlocking();
  return describe(descriptor, request.name, (request.flags & IFF_VNET_HDR) !== 0, options);
}

function describe(descriptor: Descriptor, name: string, headers: boolean, options: TapOptions): TapDevice {
  if (options.persist !== undefined) {
    const result = descriptor.tryIoctlValue(TUNSETPERSIST, options.persist ? 1 : 0);
    if (result < 0) throw systemError(-result, 'ioctl TUNSETPERSIST');
  }
  if (options.sendBuffer !== undefined) {
    descriptor.ioctl(TUNSETSNDBUF, new Value(options.sendBuffer).bytes, 'TUNSETSNDBUF');
  }
  const granted = headers ? negotiate(descriptor, wantsKernel(options)) : NOTHING;
  return {
    descriptor,
    name,
    headerSize: headers ? headerSize(descriptor) : 0,
    ...granted,
    software: !headers && options.offloads !== false,
    isBoundless: sendBuffer(descriptor) === 0x7fffffff,
    hostMac: hostMac(descriptor),
  };
}

function sendBuffer(descriptor: Descriptor): number {
  const size = new Value();
  descriptor.ioctl(TUNGETSNDBUF, size.bytes, 'TUNGETSNDBUF');
  return size.value;
}

function wantsKernel({ offloads = true }: TapOptions): boolean {
  return offloads === true;
}

function headerSize(descriptor: Descriptor): number {
  const size = new Value();
  descriptor.ioctl(TUNGETVNETHDRSZ, size.bytes, 'TUNGETVNETHDRSZ');
  if (size.value < VNET_HEADER || size.value > LONGEST_VNET_HEADER) {
    throw invalid(`the device has virtio-net headers of ${size.value} bytes`);
  }
  return size.value;
}

/**
 * Tells the kernel what it may send us. A descriptor handed over may have
 * offloads on from before, so declining them is said aloud too.
 */
function negotiate(descriptor: Descriptor, wanted: boolean): Granted {
  if (wanted) {
    const all = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    if (descriptor.tryIoctlValue(TUNSETOFFLOAD, all | TUN_F_USO4 | TUN_F_USO6) >= 0) {
      return { offloads: OFFLOADS, datagrams: true };
    }
    if (descriptor.tryIoctlValue(TUNSETOFFLOAD, all) >= 0) return { offloads: OFFLOADS, datagrams: false };
    if (descriptor.tryIoctlValue(TUNSETOFFLOAD, TUN_F_CSUM) >= 0) {
      return { offloads: CHECKSUM_ONLY, datagrams: false };
    }
  }
  descriptor.tryIoctlValue(TUNSETOFFLOAD, 0);
  return NOTHING;
}

/** Asked of the descriptor, so it is right even for a device in another network namespace. */
function hostMac(descriptor: Descriptor): MacAddress {
  const request = new InterfaceRequest();
  descriptor.ioctl(SIOCGIFHWADDR, request.bytes, 'SIOCGIFHWADDR');
  // struct sockaddr: two bytes of family, then the address.
  return MacAddress.read(request.bytes, InterfaceRequest.UNION + 2);
}

/** An `int` that an ioctl reads or writes. */
class Value {
  readonly bytes = Buffer.alloc(4);

  constructor(value = 0) {
    this.bytes.writeInt32LE(value);
  }

  get value(): number {
    return this.bytes.readInt32LE();
  }
}
