import { MacAddress } from '../../src/address/index.ts';
import { DirectStack } from '../../src/direct/index.ts';
import { type CaptureSink, capture, createCable, impair } from '../../src/netif/index.ts';
import type { Flow } from '../../src/stack.ts';
import { SeededRandom, VirtualClock } from '../../src/time/index.ts';
import { icmpEcho } from './packets.ts';

/** Who is who in the corpus and in the runs: the peer's frames to the victim are what is mutated. */
export const VICTIM_IP = 0x0a000002;
export const PEER_IP = 0x0a000001;
export const VICTIM_MAC = new MacAddress(0x0242, 0x22222222);
export const PEER_MAC = new MacAddress(0x0242, 0x11111111);
/** Ports of the victim that are open: the live connection's, the sacrificial ones', and a UDP socket's. */
export const LIVE_PORT = 7;
export const SACRIFICE_PORT = 9;
export const UDP_PORT = 53;

const FILE_HEADER = 24;
const RECORD_HEADER = 16;

/** The frames that the peer sent in a little conversation with the victim: every protocol, and every kind of segment. */
export async function recordCorpus(): Promise<Uint8Array[]> {
  const clock = new VirtualClock();
  const chunks: Uint8Array[] = [];
  let handOver = (): void => {};
  const sink: CaptureSink = {
    write: (chunk) => {
      chunks.push(chunk);
    },
    end: () => Promise.resolve(),
    attach: (give) => {
      handOver = give;
    },
  };
  const [peerEnd, victimEnd] = createCable({ clock, macs: [PEER_MAC, VICTIM_MAC] });
  const lossy = impair(capture(peerEnd, sink, { clock }), {
    clock,
    random: new SeededRandom(7),
    receive: { loss: 0.05, delayMs: 1 },
  });
  const peer = new DirectStack({ netif: lossy, ipv4: '10.0.0.1/24', clock, random: new SeededRandom(1) });
  const victim = new DirectStack({
    netif: victimEnd,
    ipv4: '10.0.0.2/24',
    clock,
    random: new SeededRandom(2),
  });
  await Promise.all([peer.ready(), victim.ready()]);
  const talk = converse(clock, peer, victim);
  let over = false;
  void talk.then(() => {
    over = true;
  });
  await clock.run(() => over, 600_000);
  await talk;
  handOver();
  return [...frames(chunks), icmpEcho(false), icmpEcho(true)];
}

async function converse(clock: VirtualClock, peer: DirectStack, victim: DirectStack): Promise<void> {
  const host = '10.0.0.2';
  await victim.tcp.listen({ port: LIVE_PORT }, (flow) => void echo(flow));
  const socket = await victim.udp.bind({ port: UDP_PORT });
  const sender = await peer.udp.bind();
  for (const size of [0, 1, 100, 1400, 4000]) {
    await sender.send(new Uint8Array(size).fill(size), { host, port: UDP_PORT });
  }
  // The victim asks a closed port of the peer: "port unreachable" comes back.
  await socket.send(new Uint8Array(30), { host: '10.0.0.1', port: 4 }).catch(() => {});
  const flow = await peer.tcp.connect({ host, port: LIVE_PORT });
  const echoed = (async () => {
    for await (const _ of flow) {
      // Read to the end.
    }
  })();
  for (const size of [1, 10, 500, 40_000]) {
    await flow.write(new Uint8Array(size).fill(size));
    await clock.sleep(100);
  }
  await flow.shutdown();
  await echoed;
  await flow.close();
  const cut = await peer.tcp.connect({ host, port: LIVE_PORT });
  await cut.write(new Uint8Array(10));
  await clock.sleep(50);
  cut.abort();
  await peer.tcp.connect({ host, port: 4 }).catch(() => {});
  await clock.sleep(100);
  await Promise.all([sender.close(), socket.close()]);
  await Promise.all([peer.close(), victim.close()]);
}

/** Sends back what comes, until the end or a reset. Keep-alive finds out which peers were reset by a forgery. */
export async function echo(flow: Flow): Promise<void> {
  flow.setKeepAlive(true, 2000);
  try {
    for await (const chunk of flow) await flow.write(chunk);
    await flow.close();
  } catch {
    // Reset: no more to echo.
  }
}

/** The frames to the victim, or to all, in the records of a capture. */
function frames(chunks: readonly Uint8Array[]): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (const [i, chunk] of chunks.entries()) {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    for (let at = i === 0 ? FILE_HEADER : 0; at < chunk.length; ) {
      const length = view.getUint32(at + 8);
      const frame = chunk.slice(at + RECORD_HEADER, at + RECORD_HEADER + length);
      const isOurs = view.getUint32(at + RECORD_HEADER + 8) === PEER_MAC.low >>> 0;
      if (isOurs) found.push(frame);
      at += RECORD_HEADER + length;
    }
  }
  return found;
}
