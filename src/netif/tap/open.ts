import { MacAddress, type Prefix } from '../../address/index.ts';
import { CryptoRandom } from '../../time/random.ts';
import { adopt, attach, type TapDevice } from './device.ts';
import { HostEnd } from './host-end.ts';
import { TapNetif } from './netif.ts';
import { checkOptions, invalid, parseHostAddress, parseMac, type TapOptions } from './options.ts';

const DEFAULT_MTU = 1500;
const DEFAULT_BUSY_POLL_US = 50;

/**
 * Opens a TAP device and configures the kernel's end of it as the options say.
 * A descriptor given as `fd` belongs to the netif from then on; if this throws,
 * it is still the caller's, and open.
 *
 * @throws NetError
 * - `EINVAL`: an option cannot be (before any system call), or `fd` is not a TAP
 * - `EPERM`, `EACCES`: this process may not open or configure the device
 * - `EBUSY`: the device is open elsewhere
 * - `ENODEV`, `ENOENT`: no TAP here: not Linux, no koffi, no /dev/net/tun
 */
export function openTap(options: TapOptions = {}): TapNetif {
  checkOptions(options);
  const hostAddress = options.hostAddress === undefined ? null : parseHostAddress(options.hostAddress);
  const mac = options.mac === undefined ? null : parseMac(options.mac);
  const device =
    options.fd === undefined ? attach(options.name ?? 'tap%d', options) : adopt(options.fd, options);
  try {
    return new TapNetif({
      port: device.descriptor,
      name: device.name,
      mac: stationAddress(mac, device.hostMac),
      mtu: configure(device, hostAddress, options),
      headerSize: device.headerSize,
      offloads: device.offloads,
      // What is held back cannot wait for room.
      datagrams: device.datagrams && device.isBoundless,
      software: device.software,
      batchWrites: device.isBoundless && options.ioUring !== false,
      boundless: device.isBoundless,
      busyPollUs: options.busyPollUs ?? DEFAULT_BUSY_POLL_US,
      ...(options.batchFrames === undefined ? {} : { batchFrames: options.batchFrames }),
    });
  } catch (error) {
    if (options.fd === undefined) device.descriptor.close();
    throw error;
  }
}

/**
 * Opens and configures a device for another process, which takes it as `fd`: the
 * descriptor is the caller's to hand over and to close.
 *
 * @throws NetError as {@link openTap}
 */
export function openTapDescriptor(options: Omit<TapOptions, 'fd'> = {}): {
  readonly fd: number;
  readonly name: string;
} {
  checkOptions(options);
  const hostAddress = options.hostAddress === undefined ? null : parseHostAddress(options.hostAddress);
  const { descriptor, ...device } = attach(options.name ?? 'tap%d', options);
  try {
    configure({ descriptor, ...device }, hostAddress, options);
    return { fd: descriptor.fd, name: device.name };
  } catch (error) {
    descriptor.close();
    throw error;
  }
}

/** Two stations of one address on a cable would take each other's frames for their own. */
export function stationAddress(mac: MacAddress | null, hostMac: MacAddress): MacAddress {
  if (mac !== null) {
    if (mac.equals(hostMac)) throw invalid(`mac ${mac} is the kernel's end; the stack's end needs its own`);
    return mac;
  }
  const random = new CryptoRandom();
  for (;;) {
    const drawn = MacAddress.local(random.next32());
    if (!drawn.equals(hostMac)) return drawn;
  }
}

/** @returns the MTU in bytes */
export function configure(device: TapDevice, hostAddress: Prefix | null, options: TapOptions): number {
  const { mtu, queueFrames } = options;
  const end = new HostEnd(device.name);
  try {
    if (!end.is(device.hostMac)) return unreachable(device, hostAddress, options);
    if (mtu !== undefined && mtu !== end.mtu) end.mtu = mtu;
    if (queueFrames !== undefined) end.queueLength = queueFrames;
    if (hostAddress !== null) end.setAddress(hostAddress);
    if (options.up ?? hostAddress !== null) end.up();
    return end.mtu;
  } finally {
    end.close();
  }
}

/** The device lives in another network namespace: whoever moved it there configures it. */
function unreachable(device: TapDevice, hostAddress: Prefix | null, options: TapOptions): number {
  if (hostAddress !== null || options.up === true || options.queueFrames !== undefined) {
    throw invalid(
      `${device.name} is not in this network namespace, so hostAddress, up and queueFrames cannot be set here`,
    );
  }
  return options.mtu ?? DEFAULT_MTU;
}
