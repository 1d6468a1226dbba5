/*
 * Requests of <linux/if_tun.h> and <linux/sockios.h>. The first have the
 * encoding of asm-generic/ioctl.h, which x86, Arm, RISC-V and LoongArch share.
 */
export const TUNSETIFF = 0x400454ca;
export const TUNSETPERSIST = 0x400454cb;
export const TUNSETOFFLOAD = 0x400454d0;
export const TUNSETSNDBUF = 0x400454d4;
export const TUNSETVNETHDRSZ = 0x400454d8;
export const TUNGETFEATURES = 0x800454cf;
export const TUNGETSNDBUF = 0x800454d3;
export const TUNGETIFF = 0x800454d2;
export const TUNGETVNETHDRSZ = 0x800454d7;
export const TUNSETSTEERINGEBPF = 0x800454e0;

export const IFF_TUN = 0x0001;
export const IFF_TAP = 0x0002;
export const IFF_MULTI_QUEUE = 0x0100;
export const IFF_NO_PI = 0x1000;
export const IFF_VNET_HDR = 0x4000;

export const TUN_F_CSUM = 0x01;
export const TUN_F_TSO4 = 0x02;
export const TUN_F_TSO6 = 0x04;
/** Linux 6.2. */
export const TUN_F_USO4 = 0x20;
export const TUN_F_USO6 = 0x40;

export const SIOCGIFFLAGS = 0x8913;
export const SIOCSIFFLAGS = 0x8914;
export const SIOCSIFADDR = 0x8916;
export const SIOCSIFNETMASK = 0x891c;
export const SIOCGIFMTU = 0x8921;
export const SIOCSIFMTU = 0x8922;
export const SIOCGIFHWADDR = 0x8927;
export const SIOCGIFINDEX = 0x8933;
export const SIOCSIFTXQLEN = 0x8943;

export const IFF_UP = 0x0001;

/** Bytes of an interface name with its terminating zero (`IFNAMSIZ`). */
const NAME_SIZE = 16;

/**
 * `struct ifreq`: the name, then at 16 a union whose largest member makes 40
 * bytes on 64-bit machines (32 on 32-bit ones, where the rest is not looked at).
 */
export class InterfaceRequest {
  static readonly UNION = NAME_SIZE;
  readonly bytes = Buffer.alloc(40);

  constructor(name = '') {
    this.bytes.write(name, 0, NAME_SIZE - 1, 'utf8');
  }

  get name(): string {
    return this.bytes.toString('utf8', 0, this.bytes.indexOf(0));
  }

  /** `ifr_flags`. */
  get flags(): number {
    return this.bytes.readUInt16LE(NAME_SIZE);
  }

  set flags(value: number) {
    this.bytes.writeUInt16LE(value, NAME_SIZE);
  }

  /** `ifr_mtu`, `ifr_ifindex`, `ifr_qlen`. */
  get value(): number {
    return this.bytes.readInt32LE(NAME_SIZE);
  }

  set value(value: number) {
    this.bytes.writeInt32LE(value, NAME_SIZE);
  }
}
