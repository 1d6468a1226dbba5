import { MacAddress, Prefix } from '../../address/index.ts';
import { NetError } from '../../errors.ts';

export interface TapOptions {
  /**
   * Interface name, at most 15 bytes: a new device, or an existing persistent
   * one that nobody has open. `tap%d` takes the first free number. Default `tap%d`.
   */
  readonly name?: string;
  /**
   * In place of `name`: the descriptor of an open TAP, handed over by a parent
   * with the privilege to open one. `close()` closes it.
   */
  readonly fd?: number;
  /**
   * The device has several queues, and this opens one of them: each further call
   * with the same `name` opens another, which the kernel spreads flows over. They
   * are one station, so give all of them one `mac`. Default false.
   */
  readonly multiQueue?: boolean;
  /** Whether the device stays when it is closed; left as it is if not given. */
  readonly persist?: boolean;
  /** Largest IP packet in bytes, set on the kernel's end too. Default: what the kernel's end has (1500 on a new device). */
  readonly mtu?: number;
  /** Brings the kernel's end up. Default: only with `hostAddress`; otherwise it stays as it is. */
  readonly up?: boolean;
  /** An address with prefix length for the kernel's end, such as `10.0.0.1/24` or `fd00::1/64`; brings it up. */
  readonly hostAddress?: string;
  /** Address of the stack's end. Default: a random, locally administered one. */
  readonly mac?: MacAddress | string;
  /**
   * Whether checksums and the cutting of TCP segments are left to the other end,
   * both ways: by default where the kernel grants that. Where it does not, or
   * with `software`, ordinary frames are put together and cut apart here, so
   * that the stack works with large ones all the same. With `false` every frame
   * is one packet: what captures and impairments on this interface are meant for.
   */
  readonly offloads?: boolean | 'software';
  /**
   * Whether frames that are cut apart here are written through `io_uring`, a
   * system call for up to 64 of them: by default where the kernel permits it, and
   * `sendBuffer` does not limit what it holds. With `false`, a call for each.
   */
  readonly ioUring?: boolean;
  /** Most frames handed over between two flushes. Default 64. */
  readonly batchFrames?: number;
  /**
   * Microseconds for which the device is looked at again, when it has just had
   * frames, before the event loop sleeps: where the kernel's programs answer at
   * once, round trips take half as long. Looks in vain become rare by
   * themselves. 0 for none. Default 50.
   */
  readonly busyPollUs?: number;
  /** Frames that the kernel queues for us before it drops (`txqueuelen`). Default: as it is, 1000 on a new device. */
  readonly queueFrames?: number;
  /**
   * Bytes of ours that the kernel holds before `reserve` answers null. Default:
   * no limit, right where the kernel itself is the peer. Where frames are
   * redirected to a slower link (tc-mirred), a limit gives backpressure in place
   * of loss. Frames that a bridge or the IP layer took are off the account.
   */
  readonly sendBuffer?: number;
}

/** Longest interface name in bytes (`IFNAMSIZ` less the terminator). */
const LONGEST_NAME = 15;
const LARGEST_MTU = 65521;
const SMALLEST_MTU = 68;

/**
 * Refuses, before any system call, what cannot be.
 *
 * @throws NetError `EINVAL` that names the option
 */
export function checkOptions(options: TapOptions): void {
  const { name, fd, multiQueue, mtu, batchFrames, queueFrames, sendBuffer, busyPollUs } = options;
  if (name !== undefined && fd !== undefined) throw invalid('give name or fd, not both');
  if (name !== undefined) checkName(name);
  if (multiQueue === true && fd !== undefined)
    throw invalid('multiQueue is for devices by name; an fd is one queue');
  if (fd !== undefined && (!Number.isInteger(fd) || fd < 0)) throw invalid(`fd ${fd} is not a descriptor`);
  checkRange('mtu', mtu, SMALLEST_MTU, LARGEST_MTU);
  checkRange('batchFrames', batchFrames, 1, 65536);
  checkRange('busyPollUs', busyPollUs, 0, 1_000_000);
  checkRange('queueFrames', queueFrames, 1, 1_000_000);
  checkRange('sendBuffer', sendBuffer, 1, 0x7fffffff);
}

/** The kernel's rules (`dev_valid_name`). */
function checkName(name: string): void {
  const length = Buffer.byteLength(name);
  if (length === 0 || length > LONGEST_NAME) {
    throw invalid(
      `interface name ${JSON.stringify(name)} has ${length} bytes; 1 to ${LONGEST_NAME} are allowed`,
    );
  }
  if (name === '.' || name === '..' || /[/:\s\0]/.test(name)) {
    throw invalid(`interface name ${JSON.stringify(name)} has characters that the kernel refuses`);
  }
  if (name.replace('%d', '').includes('%')) {
    throw invalid(`interface name ${JSON.stringify(name)}: % stands only in one %d, for a free number`);
  }
}

function checkRange(option: string, value: number | undefined, least: number, most: number): void {
  if (value === undefined) return;
  if (!Number.isInteger(value) || value < least || value > most) {
    throw invalid(`${option} ${value} is not an integer within ${least}..${most}`);
  }
}

/** @throws NetError `EINVAL` if `text` is not an address with prefix length */
export function parseHostAddress(text: string): Prefix {
  try {
    return Prefix.parse(text);
  } catch (cause) {
    throw new NetError('EINVAL', {
      syscall: 'openTap',
      reason: `hostAddress ${JSON.stringify(text)} is not an address with prefix length such as 10.0.0.1/24`,
      cause,
    });
  }
}

/** @throws NetError `EINVAL` if it is not the address of one station */
export function parseMac(mac: MacAddress | string): MacAddress {
  let parsed: MacAddress;
  try {
    parsed = typeof mac === 'string' ? MacAddress.parse(mac) : mac;
  } catch (cause) {
    throw new NetError('EINVAL', { syscall: 'openTap', reason: `mac ${mac} cannot be read`, cause });
  }
  if (parsed.isGroup || parsed.equals(MacAddress.ZERO))
    throw invalid(`mac ${mac} is not a station's address`);
  return parsed;
}

export function invalid(reason: string): NetError {
  return new NetError('EINVAL', { syscall: 'openTap', reason });
}
