import { describe, expect, it } from 'vitest';
import { MacAddress } from '../../src/address/index.ts';
import { allocateSummable, releaseSummable } from '../../src/checksum/index.ts';
import { Errno } from '../../src/native/index.ts';
import {
  CHECKSUM_NONE,
  CHECKSUM_PARTIAL,
  CHECKSUM_VERIFIED,
  type Frame,
  type NetifHandler,
  NO_OFFLOADS,
} from '../../src/netif/netif.ts';
import { TapNetif, type TapNetifOptions } from '../../src/netif/tap/netif.ts';
import { FakePort } from './fake-port.ts';

const SEGMENTED = 65549;
const ALL = { checksum: 'partial', segmentation: SEGMENTED } as const;

/** Writes down, in words, what a netif calls. */
class Recorder implements NetifHandler {
  readonly calls: string[] = [];
  onFrame: (frame: Frame) => void = () => {};

  receive(frame: Frame): void {
    this.calls.push(`frame ${frame.end - frame.start}`);
    this.onFrame(frame);
  }
  flush(): void {
    this.calls.push('flush');
  }
  writable(): void {
    this.calls.push('writable');
  }
  closed(error?: Error): void {
    this.calls.push(error === undefined ? 'closed' : `closed: ${error.message}`);
  }
}

function setup(options: Partial<TapNetifOptions> = {}) {
  const port = new FakePort();
  const netif = new TapNetif({
    port,
    name: 'tap7',
    mac: MacAddress.parse('02:00:00:00:00:02'),
    mtu: 1500,
    headerSize: 0,
    offloads: NO_OFFLOADS,
    ...options,
  });
  const handler = new Recorder();
  netif.start(handler);
  return { port, netif, handler };
}

const withOffloads = (headerSize = 10) => setup({ headerSize, offloads: ALL });

/** A frame of `size` bytes, each `fill`. */
function frameOf(size: number, fill = 0x11): Buffer {
  return Buffer.alloc(size, fill);
}

/** A virtio-net header by its fields, in their order. */
function header(flags: number, type = 0, hdrLen = 0, size = 0, start = 0, offset = 0): Buffer {
  const bytes = Buffer.alloc(10);
  bytes[0] = flags;
  bytes[1] = type;
  bytes.writeUInt16LE(hdrLen, 2);
  bytes.writeUInt16LE(size, 4);
  bytes.writeUInt16LE(start, 6);
  bytes.writeUInt16LE(offset, 8);
  return bytes;
}

function send(netif: TapNetif, frame: Uint8Array, offload: (frame: Frame) => void = () => {}): void {
  const reserved = netif.reserve(frame.length)!;
  reserved.bytes.set(frame, reserved.start);
  offload(reserved);
  netif.commit(reserved);
}

describe('receiving', () => {
  it('hands over all that is there, then flushes once', () => {
    const { port, handler, netif } = setup();
    port.input.push(frameOf(60), frameOf(1514), frameOf(1518));
    port.readiness!.readable();
    expect(handler.calls).toEqual(['frame 60', 'frame 1514', 'frame 1518', 'flush']);
    expect(netif.counters).toMatchObject({ rxFrames: 3, rxBytes: 60 + 1514 + 1518 });
  });

  it('stops after a batch, and leaves the rest to the next turn', () => {
    const { port, handler } = setup({ batchFrames: 2 });
    port.input.push(frameOf(60), frameOf(61), frameOf(62));
    port.readiness!.readable();
    expect(handler.calls).toEqual(['frame 60', 'frame 61', 'flush']);
    port.readiness!.readable();
    expect(handler.calls.slice(3)).toEqual(['frame 62', 'flush']);
  });

  it('flushes earlier when frames are long', () => {
    const { port, handler } = withOffloads();
    for (let i = 0; i < 6; i++)
      port.input.push(Buffer.concat([header(1, 1, 54, 1460, 34, 16), frameOf(65_000)]));
    port.readiness!.readable();
    expect(handler.calls.filter((call) => call === 'frame 65000')).toHaveLength(5);
    expect(handler.calls.at(-1)).toBe('flush');
  });

  it('does nothing when there is nothing', () => {
    const { port, handler } = setup();
    port.input.push(-Errno.EINTR);
    port.readiness!.readable();
    port.readiness!.readable();
    expect(handler.calls).toEqual([]);
  });

  it('drops what was cut and what is no frame', () => {
    const { port, handler, netif } = setup();
    port.input.push(frameOf(1519), frameOf(4000), frameOf(13), frameOf(14));
    port.readiness!.readable();
    expect(handler.calls).toEqual(['frame 14', 'flush']);
    expect(netif.counters).toMatchObject({ rxFrames: 1, rxDropped: 2, rxErrors: 1 });
  });

  it('reuses memory that nobody keeps, and never what somebody does', () => {
    const { port, handler } = setup();
    const places: number[] = [];
    const kept: Uint8Array[] = [];
    handler.onFrame = (frame) => {
      places.push(frame.start);
      if (frame.bytes[frame.start] !== 0xee) return;
      frame.retain();
      kept.push(frame.bytes.subarray(frame.start, frame.end));
    };
    port.input.push(frameOf(60, 1), frameOf(60, 2), frameOf(60, 0xee), frameOf(60, 3), frameOf(60, 4));
    port.readiness!.readable();
    expect(places).toEqual([0, 0, 0, 64, 64]);
    for (let i = 0; i < 1000; i++) {
      port.input.push(frameOf(1514, 0xee));
      port.readiness!.readable();
    }
    expect(kept).toHaveLength(1001);
    expect(kept.every((bytes) => bytes.every((byte) => byte === 0xee))).toBe(true);
  });

  it('goes no further once it was closed from within', () => {
    const { port, handler, netif } = setup();
    handler.onFrame = () => void netif.close();
    port.input.push(frameOf(60), frameOf(61));
    port.readiness!.readable();
    expect(handler.calls).toEqual(['frame 60', 'closed']);
    expect(port).toMatchObject({ closed: true, watched: false });
  });
});

describe('receiving with virtio-net headers', () => {
  const seen = (input: Buffer[], headerSize = 10) => {
    const { port, handler, netif } = withOffloads(headerSize);
    const frames: object[] = [];
    handler.onFrame = ({ start, end, checksum, checksumStart, checksumOffset, segmentSize }) =>
      frames.push({
        length: end - start,
        checksum,
        at: checksum === CHECKSUM_PARTIAL ? checksumStart - start : 0,
        checksumOffset,
        segmentSize,
      });
    port.input.push(...input);
    port.readiness!.readable();
    return { frames, counters: netif.counters };
  };

  it.each([10, 12])('reads what the kernel says of each frame (header of %i bytes)', (size) => {
    const padding = Buffer.alloc(size - 10);
    const input = [
      header(0),
      header(1, 0, 0, 0, 34, 6),
      header(2),
      header(1, 1, 66, 1448, 34, 16),
      header(1, 4 | 0x80, 86, 1428, 54, 16),
    ];
    const { frames } = seen(
      input.map((bytes) => Buffer.concat([bytes, padding, frameOf(3000)])),
      size,
    );
    const plain = { length: 3000, checksum: CHECKSUM_NONE, at: 0, checksumOffset: 0, segmentSize: 0 };
    expect(frames).toEqual([
      plain,
      { ...plain, checksum: CHECKSUM_PARTIAL, at: 34, checksumOffset: 6 },
      { ...plain, checksum: CHECKSUM_VERIFIED },
      { ...plain, checksum: CHECKSUM_PARTIAL, at: 34, checksumOffset: 16, segmentSize: 1448 },
      { ...plain, checksum: CHECKSUM_PARTIAL, at: 54, checksumOffset: 16, segmentSize: 1428 },
    ]);
  });

  it('refuses headers that cannot be', () => {
    const outside = Buffer.concat([header(1, 0, 0, 0, 59, 0), frameOf(60)]);
    const udpFragments = Buffer.concat([header(1, 3, 42, 1480, 34, 6), frameOf(3000)]);
    const noSize = Buffer.concat([header(1, 1, 54, 0, 34, 16), frameOf(3000)]);
    const { frames, counters } = seen([outside, udpFragments, noSize, Buffer.alloc(8)]);
    expect(frames).toEqual([]);
    expect(counters).toMatchObject({ rxFrames: 0, rxErrors: 4 });
  });
});

describe('sending', () => {
  it('writes a frame as it is, at once', () => {
    const { port, netif } = setup();
    send(netif, frameOf(60, 5));
    expect(port.output).toEqual([frameOf(60, 5)]);
    expect(netif.counters).toMatchObject({ txFrames: 1, txBytes: 60 });
  });

  it('writes all that was reserved, wherever the cursor went', () => {
    const { port, netif } = setup();
    send(netif, frameOf(60, 5), (frame) => {
      frame.start += 34;
    });
    expect(port.output).toEqual([frameOf(60, 5)]);
  });

  it.each([10, 12])('says in the header what is left to the kernel (header of %i bytes)', (size) => {
    const { port, netif } = withOffloads(size);
    const tcp = frameOf(4000, 0);
    tcp.writeUInt16BE(0x0800, 12);
    tcp[46] = 0x80;
    const partial = (segmentSize: number) => (frame: Frame) => {
      frame.checksum = CHECKSUM_PARTIAL;
      frame.checksumStart = frame.start + 34;
      frame.checksumOffset = 16;
      frame.segmentSize = segmentSize;
    };
    send(netif, tcp, partial(1448));
    send(netif, tcp.subarray(0, 1000), partial(0));
    send(netif, tcp.subarray(0, 60));
    const headers = port.output.map((bytes) => bytes.subarray(0, 10));
    expect(headers).toEqual([header(1, 1, 66, 1448, 34, 16), header(1, 0, 0, 0, 34, 16), header(0)]);
    expect(port.output.map((bytes) => bytes.length - size)).toEqual([4000, 1000, 60]);
  });

  it.each([
    [0, 0x86dd, 12],
    [4, 0x86dd, 16],
  ])('knows IPv6 segments, behind a VLAN tag of %i bytes too', (tag, type, at) => {
    const { port, netif } = withOffloads();
    const frame = frameOf(4000, 0);
    if (tag !== 0) frame.writeUInt16BE(0x8100, 12);
    frame.writeUInt16BE(type, at);
    frame[54 + tag + 12] = 0x50;
    send(netif, frame, (reserved) => {
      reserved.checksum = CHECKSUM_PARTIAL;
      reserved.checksumStart = reserved.start + 54 + tag;
      reserved.checksumOffset = 16;
      reserved.segmentSize = 1440;
    });
    expect(port.output[0]!.subarray(0, 10)).toEqual(header(1, 4, 74 + tag, 1440, 54 + tag, 16));
  });

  it('refuses a frame that no device of this kind takes', () => {
    const { netif } = setup();
    expect(() => netif.reserve(1519)).toThrow(expect.objectContaining({ code: 'EMSGSIZE' }));
    expect(netif.reserve(1518)).not.toBeNull();
    expect(withOffloads().netif.reserve(SEGMENTED)).not.toBeNull();
  });

  it('forgets a frame that was reserved and not committed', () => {
    const { port, netif } = setup();
    netif.reserve(100);
    send(netif, frameOf(60));
    expect(port.output.map((bytes) => bytes.length)).toEqual([60]);
  });

  it('builds frames where their sums need no copy, if it is the stack that sums', async () => {
    const { netif } = setup();
    const summable = allocateSummable(64);
    const frame = netif.reserve(60)!;
    expect(frame.bytes.buffer).toBe(summable.buffer);
    expect(withOffloads().netif.reserve(60)!.bytes.buffer).not.toBe(summable.buffer);
    await netif.close();
    releaseSummable(summable);
  });
});

describe('a full device', () => {
  it.each([Errno.EAGAIN, Errno.ENOBUFS])('keeps the frame, stalls, and goes on (errno %i)', (errno) => {
    const { port, netif, handler } = setup();
    port.refusals.push(errno, errno);
    send(netif, frameOf(60, 1));
    expect(port.wantsWritable).toBe(true);
    expect(netif.reserve(60)).toBeNull();
    expect(netif.counters).toMatchObject({ txFrames: 0, txStalls: 1 });
    port.readiness!.writable();
    expect(handler.calls).toEqual([]);
    port.readiness!.writable();
    expect(handler.calls).toEqual(['writable']);
    expect(port.output).toEqual([frameOf(60, 1)]);
    expect(port.wantsWritable).toBe(false);
    send(netif, frameOf(60, 2));
    expect(port.output).toHaveLength(2);
  });

  it('says nothing if nobody asked for space meanwhile', () => {
    const { port, netif, handler } = setup();
    port.refusals.push(Errno.EAGAIN);
    send(netif, frameOf(60));
    port.readiness!.writable();
    expect(handler.calls).toEqual([]);
    expect(port.wantsWritable).toBe(false);
  });

  it('gives the kernel a last chance at close, and counts what is lost', async () => {
    const { port, netif } = setup();
    port.refusals.push(Errno.EAGAIN, Errno.EAGAIN);
    send(netif, frameOf(60));
    await netif.close();
    expect(netif.counters).toMatchObject({ txFrames: 0, txDropped: 1 });
    expect(port.closed).toBe(true);
  });
});

describe('trouble', () => {
  it('counts frames that an interface that is down does not take', () => {
    const { port, netif, handler } = setup();
    port.refusals.push(Errno.EIO, Errno.EINVAL);
    send(netif, frameOf(60));
    send(netif, frameOf(60));
    send(netif, frameOf(60));
    expect(netif.counters).toMatchObject({ txDropped: 1, txErrors: 1, txFrames: 1 });
    expect(handler.calls).toEqual([]);
  });

  it.each([
    [-Errno.EBADFD, 'closed: read ENODEV: the device tap7 was deleted'],
    [0, 'closed: read ENODEV: the device tap7 was deleted'],
    [-Errno.EFAULT, 'closed: read EFAULT: the device tap7 cannot be read'],
  ])('ends when a read gives %i', async (result, call) => {
    const { port, netif, handler } = setup();
    port.input.push(frameOf(60), result);
    port.readiness!.readable();
    expect(handler.calls).toEqual(['frame 60', call]);
    expect(port).toMatchObject({ closed: true, watched: false });
    expect(netif.reserve(60)).toBeNull();
    await netif.close();
    expect(handler.calls).toHaveLength(2);
  });

  it('ends when the event loop says so, even if reads do not tell why', () => {
    const { port, handler } = setup();
    port.readiness!.failed(Errno.EBADF);
    expect(handler.calls).toEqual(['closed: read EBADF: the device tap7 cannot be read']);
  });

  it('starts once, and not after close', async () => {
    const { netif, handler } = setup();
    expect(() => netif.start(handler)).toThrow(/has a handler already/);
    await netif.close();
    expect(() => netif.start(handler)).toThrow(expect.objectContaining({ code: 'ENETDOWN' }));
  });

  it('drops a frame that is committed after close', async () => {
    const { port, netif } = setup();
    const frame = netif.reserve(60)!;
    await netif.close();
    netif.commit(frame);
    expect(port.output).toEqual([]);
    expect(netif.counters.txDropped).toBe(1);
  });
});
