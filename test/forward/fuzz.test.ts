import { expect, it } from 'vitest';
import { CHECKSUM_PARTIAL, CHECKSUM_VERIFIED } from '../../src/netif/netif.ts';
import { randomBelow, SeededRandom } from '../../src/time/index.ts';
import { expectFrame, internetChecksum, pattern, tcpSegment, udpDatagram } from '../support/packets.ts';
import { createRouter, FAR, fromInside, fromOutside, GATEWAY, HOST, MACS, OUT } from './router.ts';

const FRAMES = 20_000;
const TSO = { checksum: 'partial', segmentation: 65_536 } as const;
const IP = 14;

/** What comes from inside and from outside, right as it is. */
function seeds(): { readonly inside: Uint8Array[]; readonly outside: Uint8Array[] } {
  const out = { source: HOST, destination: FAR };
  const back = { source: FAR, destination: OUT };
  const ports = { sourcePort: 5000, destinationPort: 53 };
  const answers = { sourcePort: 53, destinationPort: 5000 };
  const udp = fromInside()
    .ipv4(out)
    .udp({ ...ports, data: pattern(50) });
  const translated = fromOutside()
    .ipv4({ source: OUT, destination: FAR })
    .udp({ ...ports, data: pattern(50) });
  const received = fromInside()
    .ipv4({ source: FAR, destination: HOST })
    .udp({ ...answers, data: pattern(50) });
  return {
    inside: [
      udp,
      fromInside()
        .ipv4(out)
        .tcp({ ...ports, flags: 'S', options: [2, 4, 5, 0xb4] }),
      fromInside()
        .ipv4({ ...out, dontFragment: true })
        .tcp({ ...ports, flags: 'PA', data: pattern(3000) }),
      fromInside()
        .ipv4(out)
        .icmpEchoRequest({ identifier: 5, data: pattern(20) }),
      fromInside().ipv4(out).icmp(3, 3, [0, 0, 0, 0], received.subarray(IP)),
      fromInside()
        .ipv4({ ...out, options: [0x94, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0] })
        .udp({ ...ports, data: pattern(1400) }),
      fromInside()
        .ipv4({ ...out, moreFragments: true, identification: 3 })
        .payload(17, udpDatagram(HOST, FAR, { ...ports, data: pattern(1600) }).slice(0, 800)),
      fromInside()
        .ipv4({ ...out, fragmentOffset: 800, identification: 3 })
        .payload(17, pattern(808)),
      fromInside()
        .ipv4({ source: HOST, destination: OUT })
        .udp({ sourcePort: 5001, destinationPort: 5000, data: pattern(9) }),
    ],
    outside: [
      fromOutside()
        .ipv4(back)
        .udp({ ...answers, data: pattern(700) }),
      fromOutside()
        .ipv4(back)
        .payload(6, tcpSegment(FAR, OUT, { ...answers, flags: 'SA' })),
      fromOutside()
        .ipv4(back)
        .icmpEchoReply({ identifier: 5, data: pattern(20) }),
      fromOutside()
        .ipv4({ ...back, source: GATEWAY })
        .icmp(11, 0, [0, 0, 0, 0], translated.subarray(IP, IP + 60)),
      fromOutside()
        .ipv4({ ...back, source: GATEWAY })
        .icmp(3, 4, [0, 0, 2, 88], translated.subarray(IP, IP + 28)),
      fromOutside()
        .ipv4({ ...back, moreFragments: true, identification: 4 })
        .payload(17, udpDatagram(FAR, OUT, { ...answers, data: pattern(1600) }).slice(0, 800)),
      fromOutside()
        .ipv4({ ...back, fragmentOffset: 800, identification: 4 })
        .payload(17, pattern(808)),
    ],
  };
}

it(`a router that translates takes ${FRAMES} mutated frames, sends none that is broken, and goes on`, () => {
  const random = new SeededRandom(5);
  const router = createRouter({
    forwarding: { napt: { outside: 'out', maxMappings: 500 } },
    inside: { receive: TSO, transmit: TSO },
    outside: { mtu: 1000, receive: TSO },
  });
  const corpus = seeds();
  const keepNeighbours = { inside: router.inside, outside: router.outside };
  for (let count = 0; count < FRAMES; count++) {
    const side = randomBelow(random, 2) === 0 ? 'inside' : 'outside';
    const frame = corpus[side][randomBelow(random, corpus[side].length)]!.slice();
    for (let changes = randomBelow(random, 4); changes > 0; changes--) {
      frame[IP + randomBelow(random, Math.min(80, frame.length - IP))] = randomBelow(random, 256);
    }
    const length =
      randomBelow(random, 8) === 0 ? IP + 20 + randomBelow(random, frame.length - IP - 20) : frame.length;
    const cut = frame.subarray(0, length);
    if (randomBelow(random, 4) !== 0) {
      // A sound header, so that it gets further in.
      cut[IP] = 0x40 | Math.min(Math.max(cut[IP]! & 15, 5), (length - IP) >>> 2, 15);
      cut.set([(length - IP) >> 8, (length - IP) & 255, ...cut.subarray(IP + 4, IP + 10), 0, 0], IP + 2);
      const checksum = internetChecksum(cut.subarray(IP, IP + (cut[IP]! & 15) * 4));
      cut.set([checksum >> 8, checksum & 255], IP + 10);
    }
    const segmentSize = randomBelow(random, 4) === 0 ? 1 + randomBelow(random, 1500) : 0;
    keepNeighbours[side].injectWith(cut, (cursor) => {
      cursor.segmentSize = segmentSize;
      if (randomBelow(random, 2) === 0) cursor.checksum = CHECKSUM_VERIFIED;
      else if (cut[IP + 9] === 6 && length >= IP + 40) {
        cursor.checksum = CHECKSUM_PARTIAL;
        cursor.checksumStart = cursor.start + IP + (cut[IP]! & 15) * 4;
        cursor.checksumOffset = 16;
      }
    });
    if (count % 50 !== 0) continue;
    router.settle();
    for (const netif of [router.inside, router.outside]) {
      for (const { bytes, segmentSize: size } of netif.log.splice(0)) {
        if (bytes[12] !== 8 || bytes[13] !== 0) continue;
        expectFrame(bytes).ipv4();
        if (size === 0) expect(bytes.length).toBeLessThanOrEqual(netif.mtu + IP);
      }
    }
  }
  router.settle();
  const { napt, ipv4 } = router.network;
  expect(napt!.mappings.size).toBeLessThanOrEqual(500);
  expect(ipv4.reassembly.bytes).toBeLessThanOrEqual(4 << 20);
  expect(napt!.counters.outbound).toBeGreaterThan(1000);
  expect(napt!.counters.inbound).toBeGreaterThan(500);
  expect(napt!.counters.errors).toBeGreaterThan(50);
  router.outside.take();
  router.inside.inject(
    fromInside()
      .ipv4({ source: HOST, destination: FAR })
      .udp({ sourcePort: 5000, destinationPort: 53, data: pattern(40) }),
  );
  router.settle();
  expectFrame(router.outside.take()[0])
    .to(MACS[GATEWAY]!)
    .ipv4({ source: OUT, destination: FAR })
    .udp({ data: pattern(40) });
});
