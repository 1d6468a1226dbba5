/**
 * The stack's own layers from IP down to a Xen card, for packetdrill scripts: the
 * script's stack has the frontend, on a machine simulated in memory, and the
 * script is at the backend, as the router that everything is sent to. What it
 * injects goes in as frames through the backend; what the stack sends comes out
 * there, by the rings, grants and events of both ends.
 */

const ETHERNET_HEADER = 14;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_ARP = 0x0806;
const ETHERTYPE_IPV6 = 0x86dd;
const PROTOCOL_TCP = 6;
const PROTOCOL_ICMP6 = 58;
const NEIGHBOUR_SOLICITATION = 135;
const NEIGHBOUR_ADVERTISEMENT = 136;
const ARP_REQUEST = 1;
const ARP_REPLY = 2;
/** Of virtual time, for a handshake or an orderly end. */
const MOST_MS = 60_000;
const PAGES = 640;

/** Modules of the build that this needs. */
export const MODULES = ['direct/network.js', 'netif/complete.js', 'netif/segmenter.js', 'netif/xen/index.js'];

/** On the same link as the script's local address; never seen by the script. */
const ROUTER = {
  4: { prefix: (local) => `${local}/24`, address: '192.168.0.254' },
  6: { prefix: (local) => `${local}/64`, address: 'fe80::fe' },
};

/**
 * As `createIpLayer` of `fake-ip.mjs`, but asynchronous, since the two ends have to find each other.
 *
 * @param {object} house the built modules
 * @param {{ local: string, mtu: number, ipVersion: 4 | 6, clock: object, timers: object, random: object,
 *   offloads: boolean | 'software', send: (datagram: Uint8Array) => void }} options
 */
export async function createXenIpLayer(house, options) {
  const { local, mtu, ipVersion, clock, timers, random, offloads, send } = options;
  const machine = new house.SimulatedMachine({ clock, pages: PAGES });
  const dom0 = machine.domain(0);
  const guest = machine.domain(1);
  const mac = house.MacAddress.parse('00:16:3e:00:00:02');
  const run = (promise) => house.runVirtual(clock, promise, MOST_MS);
  await run(house.attachVif(dom0.store, { frontend: 1, backend: 0, index: 0, mac, mtu }));
  const [front, back] = await run(
    Promise.all([
      house.openNetfront({ hypervisor: guest, clock, offloads }),
      house.openNetback({ hypervisor: dom0, frontend: 1, clock, offloads: offloads === true }),
    ]),
  );
  const router = ROUTER[ipVersion];
  const network = new house.Network({
    netif: front,
    clock,
    timers,
    random,
    address: ipVersion === 4 ? house.Prefix.parse(router.prefix(local)) : null,
    gateway: ipVersion === 4 ? house.IpAddress.parse(router.address) : null,
    ipv6:
      ipVersion === 6
        ? {
            address: house.Prefix.parse(router.prefix(local)),
            autoconfigure: false,
            gateway: house.IpAddress.parse(router.address),
            detect: false,
          }
        : null,
  });
  const far = new ScriptEnd(house, { netif: back, stack: mac, router: router.address, mtu, send });
  back.start(far);
  await run(network.start());
  return {
    layer: network,
    /** One datagram arrives, a batch of its own. */
    receive: (datagram) => far.sendDatagram(datagram),
    /** Closes both ends; an error if anything is left on the machine, or if a frame was lost or refused on the way. */
    async close() {
      await run(network.close());
      await run(back.close());
      await run(Promise.all([guest.close(), dom0.close()]));
      const { grants, mappings, pages, ports, watches } = machine.use;
      if (grants + mappings + pages + ports + watches > 0) {
        throw new Error(`left on the machine: ${JSON.stringify(machine.use)}`);
      }
      for (const { name, counters } of [front, back]) {
        const { rxDropped, rxErrors, txDropped, txErrors } = counters;
        if (rxDropped + rxErrors + txDropped + txErrors > 0) {
          throw new Error(`frames lost on ${name}: ${JSON.stringify(counters)}`);
        }
      }
    },
  };
}

/** Who is at the backend: a router as far as neighbours see it, else the script. */
class ScriptEnd {
  #house;
  #netif;
  #stack;
  #router;
  #mtu;
  #send;
  #segmenter;

  constructor(house, { netif, stack, router, mtu, send }) {
    this.#house = house;
    this.#netif = netif;
    this.#stack = stack;
    this.#router = house.IpAddress.parse(router);
    this.#mtu = mtu;
    this.#send = send;
    this.#segmenter = new house.Segmenter();
  }

  /** One that no link of this MTU has in one packet goes as a frame of several segments, or as so many frames. */
  sendDatagram(datagram) {
    const etherType = datagram[0] >> 4 === 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
    const frame = this.#frame(etherType, datagram);
    if (datagram.length > this.#mtu) this.#leaveToSegmentation(frame);
    if (frame.segmentSize === 0 || this.#netif.transmit.segmentation > 0) {
      this.#transmit(frame);
    } else {
      this.#cut(frame, (bytes) => this.#transmit(this.#frame(etherType, bytes.subarray(ETHERNET_HEADER))));
    }
    this.#netif.flush();
  }

  receive(frame) {
    const { get16 } = this.#house;
    // A frame that was received is not to be written into.
    const bytes = Uint8Array.from(frame.bytes.subarray(frame.start, frame.end));
    switch (get16(bytes, 12)) {
      case ETHERTYPE_ARP:
        return this.#answerArp(bytes);
      case ETHERTYPE_IPV4:
        if (bytes[ETHERNET_HEADER + 9] === PROTOCOL_TCP) this.#show(frame, bytes);
        return;
      case ETHERTYPE_IPV6:
        // Hop-by-hop options (of MLD's reports) have another number here.
        if (bytes[ETHERNET_HEADER + 6] === PROTOCOL_TCP) this.#show(frame, bytes);
        else if (bytes[ETHERNET_HEADER + 6] === PROTOCOL_ICMP6) this.#answerSolicitation(bytes);
        return;
    }
  }

  flush() {}

  writable() {}

  closed(error) {
    if (error) throw error;
  }

  /** Gives the script the packets that `frame`, of which `bytes` is a copy, would be on a wire. */
  #show(frame, bytes) {
    const { Frame, completeChecksum } = this.#house;
    const copy = new Frame(bytes).reset(bytes, 0, bytes.length);
    copy.checksum = frame.checksum;
    copy.checksumStart = frame.checksumStart - frame.start;
    copy.checksumOffset = frame.checksumOffset;
    copy.segmentSize = frame.segmentSize;
    if (copy.segmentSize === 0) {
      completeChecksum(copy, bytes.length);
      this.#give(bytes.subarray(ETHERNET_HEADER));
      return;
    }
    this.#cut(copy, (one) => this.#give(one.subarray(ETHERNET_HEADER)));
  }

  /** Gives `use` each of the frames that `frame` stands for. */
  #cut(frame, use) {
    const { bytes } = frame;
    const segmenter = this.#segmenter;
    segmenter.begin(frame, 0, bytes.length);
    while (segmenter.hasMore) {
      segmenter.next();
      use(bytes.slice(segmenter.start, segmenter.end));
    }
  }

  /** Makes of a TCP packet with a right checksum one whose segments are as long as the link lets them be. */
  #leaveToSegmentation(frame) {
    const { CHECKSUM_PARTIAL, IpAddress, fold, get16, pseudoHeaderSum, set16, sum } = this.#house;
    const { bytes } = frame;
    const isIpv4 = get16(bytes, 12) === ETHERTYPE_IPV4;
    const ip = ETHERNET_HEADER;
    const tcp = ip + (isIpv4 ? 20 : 40);
    const read = (at) => (isIpv4 ? new IpAddress().readIpv4(bytes, at) : new IpAddress().readIpv6(bytes, at));
    const [source, destination] = isIpv4 ? [ip + 12, ip + 16] : [ip + 8, ip + 24];
    const pseudo = pseudoHeaderSum(read(source), read(destination), PROTOCOL_TCP, bytes.length - tcp);
    if (sum(bytes, tcp, bytes.length, pseudo) !== 0xffff) throw new Error('the script sent a bad checksum');
    set16(bytes, tcp + 16, fold(pseudo));
    frame.checksum = CHECKSUM_PARTIAL;
    frame.checksumStart = tcp;
    frame.checksumOffset = 16;
    frame.segmentSize = this.#mtu - (tcp - ip) - (bytes[tcp + 12] >> 4) * 4;
  }

  #give(datagram) {
    if (datagram.length > this.#mtu) {
      throw new Error(`a packet of ${datagram.length} bytes on a link with an MTU of ${this.#mtu}`);
    }
    this.#send(datagram);
  }

  /** A packet for the stack in a frame, in memory of its own. */
  #frame(etherType, packet) {
    const { Frame, set16 } = this.#house;
    const bytes = new Uint8Array(ETHERNET_HEADER + packet.length);
    this.#stack.write(bytes, 0);
    this.#netif.mac.write(bytes, 6);
    set16(bytes, 12, etherType);
    bytes.set(packet, ETHERNET_HEADER);
    return new Frame(bytes).reset(bytes, 0, bytes.length);
  }

  #transmit(frame) {
    const netif = this.#netif;
    const room = netif.reserve(frame.bytes.length);
    if (room === null) throw new Error('the ring is full');
    room.bytes.set(frame.bytes, room.start);
    room.checksum = frame.checksum;
    room.checksumStart = room.start + frame.checksumStart;
    room.checksumOffset = frame.checksumOffset;
    room.segmentSize = frame.segmentSize;
    netif.commit(room);
  }

  #answer(etherType, packet) {
    this.#transmit(this.#frame(etherType, packet));
    this.#netif.flush();
  }

  #answerArp(bytes) {
    const { get16, set16, IpAddress } = this.#house;
    const at = ETHERNET_HEADER;
    const target = new IpAddress().readIpv4(bytes, at + 24);
    if (get16(bytes, at + 6) !== ARP_REQUEST || !target.equals(this.#router)) return;
    const reply = bytes.slice(at, at + 28);
    set16(reply, 6, ARP_REPLY);
    this.#netif.mac.write(reply, 8);
    this.#router.writeIpv4(reply, 14);
    reply.set(bytes.subarray(at + 8, at + 18), 18);
    this.#answer(ETHERTYPE_ARP, reply);
  }

  /** RFC 4861 §4.4: solicited, from a router, with our link-layer address. */
  #answerSolicitation(bytes) {
    const { set16, set32, complement, sum, pseudoHeaderSum, IpAddress } = this.#house;
    const at = ETHERNET_HEADER;
    if (bytes[at + 40] !== NEIGHBOUR_SOLICITATION) return;
    if (!new IpAddress().readIpv6(bytes, at + 48).equals(this.#router)) return;
    const asker = new IpAddress().readIpv6(bytes, at + 8);
    const reply = new Uint8Array(40 + 32);
    set32(reply, 0, 6 << 28);
    set16(reply, 4, 32);
    reply[6] = PROTOCOL_ICMP6;
    reply[7] = 255;
    this.#router.writeIpv6(reply, 8);
    asker.writeIpv6(reply, 24);
    reply[40] = NEIGHBOUR_ADVERTISEMENT;
    reply[44] = 0xe0; // router, solicited, override
    this.#router.writeIpv6(reply, 48);
    reply[64] = 2;
    reply[65] = 1;
    this.#netif.mac.write(reply, 66);
    const pseudo = pseudoHeaderSum(this.#router, asker, PROTOCOL_ICMP6, 32);
    set16(reply, 42, complement(sum(reply, 40, reply.length, pseudo)));
    this.#answer(ETHERTYPE_IPV6, reply);
  }
}
