import { describe, expect, it } from 'vitest';
import { MacAddress } from '../../src/address/index.ts';
import { Ethernet } from '../../src/ethernet/index.ts';
import { Errno, type IoVectors, libc, type NativeMemory } from '../../src/native/index.ts';
import { CHECKSUM_PARTIAL, type Frame, type Netif } from '../../src/netif/netif.ts';
import { TapNetif, type TapNetifOptions } from '../../src/netif/tap/netif.ts';
import { VirtualClock } from '../../src/time/index.ts';
import { pattern } from '../support/packets.ts';
import { FakePort } from './fake-port.ts';

const MAC = MacAddress.parse('02:00:00:00:00:02');
const HEADERS = 54;
const VNET = 10;

/** Keeps how frames are written, too: reads the memory that the vectors name, as the kernel would. */
class GatherPort extends FakePort {
  /** Of each frame: how many places it came from; 0 for one that was written whole. */
  readonly vectors: number[] = [];

  override write(memory: NativeMemory, offset: number, length: number): number {
    this.vectors.push(0);
    return super.write(memory, offset, length);
  }

  writeGathered(vectors: IoVectors, count: number): number {
    const refusal = this.refusals.shift();
    if (refusal !== undefined) return -refusal;
    const parts: Buffer[] = [];
    for (let i = 0; i < count; i++) {
      const vector = Buffer.from(libc().view(vectors.address(i), 16));
      const length = Number(vector.readBigUInt64LE(8));
      parts.push(Buffer.from(libc().view(Number(vector.readBigUInt64LE(0)), length)));
    }
    const frame = Buffer.concat(parts);
    this.output.push(frame);
    this.vectors.push(count);
    return frame.length;
  }
}

function setup(options: Partial<TapNetifOptions> = {}) {
  const port = new GatherPort();
  const netif = new TapNetif({
    port,
    name: 'tap7',
    mac: MAC,
    mtu: 1500,
    headerSize: VNET,
    offloads: { checksum: 'partial', segmentation: 65549 },
    boundless: true,
    ...options,
  });
  netif.start({ receive: () => {}, flush: () => {}, writable: () => {}, closed: () => {} });
  return { port, netif, ethernet: new Ethernet(netif, new VirtualClock()) };
}

/** A frame of several segments with `chunks` behind made-up headers, as TCP makes one. */
function send(ethernet: Ethernet, chunks: readonly Uint8Array[]): { gathered: boolean } {
  const payload = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const frame = ethernet.reserve(HEADERS - 14 + payload) as Frame;
  const at = frame.start + HEADERS - 14;
  frame.bytes.fill(0x45, frame.start, at);
  frame.checksum = CHECKSUM_PARTIAL;
  frame.checksumStart = frame.start + 20;
  frame.checksumOffset = 16;
  frame.segmentSize = 1460;
  const { pieces } = frame;
  const gathered = pieces !== null && chunks.every((chunk) => pieces.add(chunk, 0, chunk.length));
  if (gathered) pieces!.at = at;
  else {
    let to = at;
    for (const chunk of chunks) {
      frame.bytes.set(chunk, to);
      to += chunk.length;
    }
  }
  ethernet.commit(frame, frame.start, MAC, 0x0800);
  return { gathered };
}

describe('a TAP with offloads', () => {
  it('writes headers from its own memory and payload from where it is', () => {
    const { port, netif, ethernet } = setup();
    const chunks = [Buffer.from(pattern(10_000)), Buffer.from(pattern(30_000, 3)).subarray(5, 20_005)];
    expect(send(ethernet, chunks)).toEqual({ gathered: true });
    expect(port.vectors).toEqual([3]);
    const [frame] = port.output;
    expect(frame).toHaveLength(VNET + HEADERS + 30_000);
    expect(frame!.subarray(VNET + HEADERS)).toEqual(Buffer.concat(chunks));
    expect(netif.counters).toMatchObject({ txFrames: 1, txBytes: HEADERS + 30_000, txDropped: 0 });
  });

  it('sends the same bytes, gathered or not', () => {
    const whole = setup();
    const apart = setup({ boundless: false });
    const chunks = [Buffer.from(pattern(5000)), Buffer.from(pattern(7000, 5))];
    expect(send(whole.ethernet, chunks).gathered).toBe(true);
    expect(send(apart.ethernet, chunks).gathered).toBe(false);
    expect(whole.port.output).toEqual(apart.port.output);
  });

  it('forgets the pieces with the frame: the next one is its own', () => {
    const { port, ethernet } = setup();
    send(ethernet, [Buffer.alloc(9000, 1)]);
    send(ethernet, [Buffer.alloc(100, 2)]);
    // Reserved and forgotten, as when a path finds that it has no neighbour.
    const forgotten = ethernet.reserve(5000) as Frame;
    forgotten.pieces!.add(Buffer.alloc(4000), 0, 4000);
    send(ethernet, [Buffer.alloc(200, 3)]);
    expect(port.vectors).toEqual([2, 0, 0]);
    expect(port.output[2]!.subarray(VNET + HEADERS)).toEqual(Buffer.alloc(200, 3));
  });

  it('counts a frame that the kernel does not take', () => {
    const { port, netif, ethernet } = setup();
    port.refusals.push(Errno.EIO);
    send(ethernet, [Buffer.alloc(9000)]);
    expect(netif.counters).toMatchObject({ txFrames: 0, txDropped: 1 });
  });

  it('copies while someone is shown our frames', () => {
    const { ethernet } = setup();
    const seen: Buffer[] = [];
    ethernet.observer = {
      observe: (frame, start, end) => seen.push(Buffer.from(frame.bytes.slice(start, end))),
    };
    const chunk = Buffer.from(pattern(9000));
    expect(send(ethernet, [chunk]).gathered).toBe(false);
    expect(seen[0]!.subarray(HEADERS)).toEqual(chunk);
  });

  it('does not gather where it may have to wait, nor without offloads, nor for a netif that knows nothing of it', () => {
    expect(setup({ boundless: false }).netif.gathers).toBe(false);
    expect(setup({ headerSize: 0, offloads: { checksum: 'none', segmentation: 0 } }).netif.gathers).toBe(
      false,
    );
    const { netif } = setup();
    const wrapper: Netif = {
      name: netif.name,
      mac: netif.mac,
      mtu: netif.mtu,
      transmit: netif.transmit,
      receive: netif.receive,
      counters: netif.counters,
      start: () => {},
      reserve: (size) => netif.reserve(size),
      commit: (frame) => netif.commit(frame),
      flush: () => netif.flush(),
      close: () => netif.close(),
    };
    expect(send(new Ethernet(wrapper, new VirtualClock()), [Buffer.alloc(9000)])).toEqual({
      gathered: false,
    });
  });
});
