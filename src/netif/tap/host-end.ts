import { MacAddress, type Prefix } from '../../address/index.ts';
import { set32 } from '../../bytes/index.ts';
import { AF_INET, AF_INET6, Descriptor, Errno } from '../../native/index.ts';
import {
  IFF_UP,
  InterfaceRequest,
  SIOCGIFFLAGS,
  SIOCGIFHWADDR,
  SIOCGIFINDEX,
  SIOCGIFMTU,
  SIOCSIFADDR,
  SIOCSIFFLAGS,
  SIOCSIFMTU,
  SIOCSIFNETMASK,
  SIOCSIFTXQLEN,
} from './ioctl.ts';

const REASONS: Partial<Record<number, string>> = {
  [Errno.EPERM]: 'configuring an interface needs root or CAP_NET_ADMIN: let a privileged parent do it',
  [Errno.ENODEV]: 'no such interface in this network namespace',
};

/**
 * The kernel's end of a TAP: an interface like any other, found by name in this
 * process's network namespace and configured by ioctl on a socket, without an
 * `ip` process.
 */
export class HostEnd {
  readonly #name: string;
  readonly #socket = Descriptor.controlSocket(AF_INET);

  constructor(name: string) {
    this.#name = name;
  }

  close(): void {
    this.#socket.close();
  }

  /**
   * Whether the interface of that name is the one with this address. A TAP
   * handed over may live in another namespace, where its name means another
   * device or none.
   */
  is(mac: MacAddress): boolean {
    const request = new InterfaceRequest(this.#name);
    if (this.#socket.tryIoctl(SIOCGIFHWADDR, request.bytes) < 0) return false;
    return MacAddress.read(request.bytes, InterfaceRequest.UNION + 2).equals(mac);
  }

  /** Bytes. */
  get mtu(): number {
    const request = new InterfaceRequest(this.#name);
    this.#call(SIOCGIFMTU, request, 'SIOCGIFMTU');
    return request.value;
  }

  set mtu(mtu: number) {
    const request = new InterfaceRequest(this.#name);
    request.value = mtu;
    this.#call(SIOCSIFMTU, request, 'SIOCSIFMTU');
  }

  /** Frames that wait for us to read them. */
  set queueLength(frames: number) {
    const request = new InterfaceRequest(this.#name);
    request.value = frames;
    this.#call(SIOCSIFTXQLEN, request, 'SIOCSIFTXQLEN');
  }

  up(): void {
    const request = new InterfaceRequest(this.#name);
    this.#call(SIOCGIFFLAGS, request, 'SIOCGIFFLAGS');
    if ((request.flags & IFF_UP) !== 0) return;
    request.flags |= IFF_UP;
    this.#call(SIOCSIFFLAGS, request, 'SIOCSIFFLAGS');
  }

  /** Replaces the IPv4 address; adds an IPv6 one, or leaves it if it is there. */
  setAddress(prefix: Prefix): void {
    if (prefix.address.isIpv4) this.#setIpv4(prefix);
    else this.#addIpv6(prefix);
  }

  #setIpv4(prefix: Prefix): void {
    const address = new InterfaceRequest(this.#name);
    address.bytes.writeUInt16LE(AF_INET, InterfaceRequest.UNION);
    // struct sockaddr_in: family, port, then the address.
    prefix.address.writeIpv4(address.bytes, InterfaceRequest.UNION + 4);
    this.#call(SIOCSIFADDR, address, 'SIOCSIFADDR');
    const mask = new InterfaceRequest(this.#name);
    mask.bytes.writeUInt16LE(AF_INET, InterfaceRequest.UNION);
    set32(mask.bytes, InterfaceRequest.UNION + 4, prefix.length === 0 ? 0 : -1 << (32 - prefix.length));
    this.#call(SIOCSIFNETMASK, mask, 'SIOCSIFNETMASK');
  }

  #addIpv6(prefix: Prefix): void {
    const index = new InterfaceRequest(this.#name);
    this.#call(SIOCGIFINDEX, index, 'SIOCGIFINDEX');
    // struct in6_ifreq: address, prefix length, interface index.
    const request = Buffer.alloc(24);
    prefix.address.writeIpv6(request, 0);
    request.writeInt32LE(prefix.length, 16);
    request.writeInt32LE(index.value, 20);
    const socket = Descriptor.controlSocket(AF_INET6);
    try {
      const result = socket.tryIoctl(SIOCSIFADDR, request);
      if (result !== -Errno.EEXIST && result < 0) {
        socket.ioctl(SIOCSIFADDR, request, `SIOCSIFADDR ${this.#name}`, REASONS);
      }
    } finally {
      socket.close();
    }
  }

  #call(request: number, argument: InterfaceRequest, name: string): void {
    this.#socket.ioctl(request, argument.bytes, `${name} ${this.#name}`, REASONS);
  }
}
