/**
 * A network layer for packetdrill scripts: implements `IpLayer` of `src/ip.ts`
 * over single IP datagrams, without Ethernet, ARP, routes or fragments. One
 * local address; every destination is reached through the script's link.
 */

const FRAGMENT_FIELDS = 0x3fff; // MF and the offset
const DONT_FRAGMENT = 0x4000;
const DEFAULT_HOP_LIMIT = 64;
const PROTOCOL_ICMP4 = 1;
const PROTOCOL_ICMP6 = 58;

/** RFC 792 and RFC 1812 §5.2.7.1 codes of type 3, in the words of `IpErrorKind`. */
const UNREACHABLE4 = [
  'net-unreachable',
  'host-unreachable',
  'protocol-unreachable',
  'port-unreachable',
  'packet-too-big',
  'source-route-failed',
  'net-unreachable',
  'host-unreachable',
  'host-unreachable',
  'prohibited',
  'prohibited',
  'net-unreachable',
  'host-unreachable',
  'prohibited',
  'prohibited',
  'prohibited',
];

/** RFC 4443 §3.1 codes of type 1. */
const UNREACHABLE6 = [
  'net-unreachable',
  'prohibited',
  'host-unreachable',
  'host-unreachable',
  'port-unreachable',
  'prohibited',
  'prohibited',
];

/**
 * @param {object} house the built modules: `address`, `bytes`, `checksum`, `netif`
 * @param {{ local: string, mtu: number, ipVersion: 4 | 6, send: (datagram: Uint8Array) => void }} options
 */
export function createIpLayer(house, { local, mtu, ipVersion, send }) {
  const { IpAddress, Frame, NO_OFFLOADS, sum, complement, pseudoHeaderSum, get16, set16, get32, set32 } =
    house;
  const v4 = ipVersion === 4;
  const headerLength = v4 ? 20 : 40;
  const self = IpAddress.parse(local);
  const pathMtu = new Map();
  const protocols = new Map();

  class Path {
    constructor(destination, source) {
      this.destination = destination.copy();
      this.source = source.copy();
      this.interfaceMtu = mtu;
      this.headerLength = headerLength;
      this.transmit = NO_OFFLOADS;
      this.reserved = null;
    }

    get mtu() {
      return pathMtu.get(this.destination.toString()) ?? mtu;
    }

    reserve(protocol, length) {
      this.reserved = { protocol, length, bytes: new Uint8Array(headerLength + length) };
      return new Frame(this.reserved.bytes).reset(this.reserved.bytes, headerLength, headerLength + length);
    }

    commit(frame, { trafficClass = 0, hopLimit = DEFAULT_HOP_LIMIT, dontFragment = true } = {}) {
      const { protocol, bytes } = this.reserved;
      if (frame.bytes !== bytes || frame.start !== headerLength || frame.end !== bytes.length) {
        throw new Error('commit: not the frame that was reserved');
      }
      if (bytes.length > this.mtu) {
        throw new Error(`commit: ${bytes.length} bytes over a path of MTU ${this.mtu}`);
      }
      this.reserved = null;
      if (v4) {
        bytes[0] = 0x45;
        bytes[1] = trafficClass;
        set16(bytes, 2, bytes.length);
        set16(bytes, 6, dontFragment ? DONT_FRAGMENT : 0);
        bytes[8] = hopLimit;
        bytes[9] = protocol;
        this.source.writeIpv4(bytes, 12);
        this.destination.writeIpv4(bytes, 16);
        set16(bytes, 10, complement(sum(bytes, 0, 20)));
      } else {
        set32(bytes, 0, (6 << 28) | (trafficClass << 20));
        set16(bytes, 4, bytes.length - 40);
        bytes[6] = protocol;
        bytes[7] = hopLimit;
        this.source.writeIpv6(bytes, 8);
        this.destination.writeIpv6(bytes, 24);
      }
      send(bytes);
    }

    confirm() {}
  }

  const layer = {
    register(protocol) {
      protocols.set(protocol.protocol, protocol);
    },
    path(destination, source) {
      if (source !== undefined && !source.isUnspecified && !source.equals(self)) {
        throw new house.NetError('EADDRNOTAVAIL', { address: source.toString() });
      }
      if (destination.isUnspecified) throw new house.NetError('EINVAL', { address: destination.toString() });
      return new Path(destination, self);
    },
    isLocal: (address) => address.equals(self) || address.isLoopback,
    isBroadcast: (address) => address.isLimitedBroadcast,
    portUnreachable() {},
  };

  const packet = {
    frame: new Frame(new Uint8Array(0)),
    source: new IpAddress(),
    destination: new IpAddress(),
    protocol: 0,
    trafficClass: 0,
    hopLimit: 0,
    isGroup: false,
  };

  /** Reads the IP header at `at`; null where it is not one of ours to read. */
  function readHeader(bytes, at, end) {
    if (end - at < headerLength || bytes[at] >> 4 !== ipVersion) return null;
    if (v4) {
      const ihl = (bytes[at] & 15) * 4;
      return {
        payload: at + ihl,
        total: get16(bytes, at + 2),
        protocol: bytes[at + 9],
        trafficClass: bytes[at + 1],
        hopLimit: bytes[at + 8],
        fragment: (get16(bytes, at + 6) & FRAGMENT_FIELDS) !== 0,
        sumIsRight: sum(bytes, at, at + ihl) === 0xffff,
        source: new IpAddress().readIpv4(bytes, at + 12),
        destination: new IpAddress().readIpv4(bytes, at + 16),
      };
    }
    return {
      payload: at + 40,
      total: 40 + get16(bytes, at + 4),
      protocol: bytes[at + 6],
      trafficClass: (get16(bytes, at) >> 4) & 255,
      hopLimit: bytes[at + 7],
      fragment: false,
      sumIsRight: true,
      source: new IpAddress().readIpv6(bytes, at + 8),
      destination: new IpAddress().readIpv6(bytes, at + 24),
    };
  }

  /** What an ICMP message says in the words of `IpErrorKind`, or null if transports are not to hear of it. */
  function errorOf(bytes, at) {
    const type = bytes[at];
    const code = bytes[at + 1];
    if (v4) {
      if (type === 3) return { kind: UNREACHABLE4[code], mtu: code === 4 ? get16(bytes, at + 6) : 0 };
      if (type === 11) return { kind: code === 0 ? 'time-exceeded' : 'reassembly-time-exceeded', mtu: 0 };
      if (type === 12) return { kind: 'parameter-problem', mtu: 0 };
      return null; // RFC 6633 §3: source quench is silently discarded.
    }
    if (type === 1) return { kind: UNREACHABLE6[code], mtu: 0 };
    if (type === 2) return { kind: 'packet-too-big', mtu: get32(bytes, at + 4) >>> 0 };
    if (type === 3) return { kind: code === 0 ? 'time-exceeded' : 'reassembly-time-exceeded', mtu: 0 };
    if (type === 4) return { kind: 'parameter-problem', mtu: 0 };
    return null;
  }

  function receiveIcmp(bytes, header) {
    const at = header.payload;
    const pseudo = v4
      ? 0
      : pseudoHeaderSum(header.source, header.destination, PROTOCOL_ICMP6, header.total - 40);
    if (sum(bytes, at, header.total, pseudo) !== 0xffff)
      throw new Error('the script sent a bad ICMP checksum');
    const said = errorOf(bytes, at);
    if (!said || said.kind === undefined) return;
    const inner = readHeader(bytes, at + 8, header.total);
    if (!inner || header.total - inner.payload < 8 || !inner.source.equals(self)) return;
    const protocol = protocols.get(inner.protocol);
    const lowers = protocol?.error({
      kind: said.kind,
      source: inner.source,
      destination: inner.destination,
      protocol: inner.protocol,
      bytes,
      start: inner.payload,
      end: header.total,
      mtu: said.mtu,
    });
    if (said.kind !== 'packet-too-big' || !lowers) return;
    const key = inner.destination.toString();
    const least = v4 ? 68 : 1280; // RFC 1191 §3, RFC 8201 §4
    const lower = Math.max(said.mtu, least);
    if (lower < (pathMtu.get(key) ?? mtu)) pathMtu.set(key, lower);
  }

  return {
    layer,
    /** One datagram arrives, a batch of its own. */
    receive(datagram) {
      const bytes = Uint8Array.from(datagram);
      const header = readHeader(bytes, 0, bytes.length);
      if (!header?.sumIsRight || header.fragment || header.total > bytes.length) {
        throw new Error('the script sent a bad IP header');
      }
      if (!header.destination.equals(self)) return;
      if (header.protocol === (v4 ? PROTOCOL_ICMP4 : PROTOCOL_ICMP6)) {
        receiveIcmp(bytes, header);
      } else {
        packet.frame.reset(bytes, header.payload, header.total);
        Object.assign(packet.source, header.source);
        Object.assign(packet.destination, header.destination);
        packet.protocol = header.protocol;
        packet.trafficClass = header.trafficClass;
        packet.hopLimit = header.hopLimit;
        protocols.get(header.protocol)?.receive(packet);
      }
      for (const protocol of protocols.values()) protocol.flush();
    },
  };
}
