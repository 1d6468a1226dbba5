import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DirectStack } from '../../src/direct/index.ts';
import { capture, createCable, type Frame, type Netif, untagged, vlan } from '../../src/netif/index.ts';
import { CHECKSUM_PARTIAL } from '../../src/netif/netif.ts';
import { runVirtual, SeededRandom, VirtualClock } from '../../src/time/index.ts';
import { packet } from '../support/packets.ts';
import { ScriptedNetif } from '../support/scripted-netif.ts';

const OFFLOADS = { checksum: 'partial', segmentation: 65_536 } as const;

/** A frame with a tag of `tci` in it. */
function tagged(tci: number, frame: Uint8Array): Uint8Array {
  return Uint8Array.from([...frame.subarray(0, 12), 0x81, 0x00, tci >>> 8, tci & 255, ...frame.subarray(12)]);
}

function handler() {
  const seen = { frames: [] as Uint8Array[], cursors: [] as Partial<Frame>[], flushes: 0, closed: 0 };
  return {
    seen,
    receive: (frame: Frame): void => {
      seen.frames.push(frame.bytes.slice(frame.start, frame.end));
      const { checksum, segmentSize } = frame;
      seen.cursors.push({ checksum, segmentSize, checksumStart: frame.checksumStart - frame.start });
    },
    flush: (): void => {
      seen.flushes++;
    },
    writable: (): void => {},
    closed: (): void => {
      seen.closed++;
    },
  };
}

const hello = packet().raw(0x0800, [1, 2, 3, 4, 5]);

describe('VLANs of a trunk', () => {
  it('get the frames of their tag, without it, and the untagged side the rest', () => {
    const trunk = new ScriptedNetif();
    const sides = [vlan(trunk, { id: 7 }), vlan(trunk, { id: 4094, priority: 3 }), untagged(trunk)];
    expect(sides.map(({ name }) => name)).toEqual(['script.7', 'script.4094', 'script']);
    const handlers = sides.map((side) => {
      const own = handler();
      side.start(own);
      return own;
    });
    // Injecting checks that the frame is as it was afterwards.
    trunk.inject(tagged(7, hello), tagged((0xffff & (5 << 13)) | 4094, hello), hello, tagged(0x6000, hello));
    trunk.inject(tagged(8, hello), hello.slice(0, 9));
    const frames = handlers.map(({ seen }) => seen.frames);
    expect(frames[0]).toEqual([hello]);
    expect(frames[1]).toEqual([hello]);
    // A tag with nothing but a priority makes no VLAN.
    expect(frames[2]).toEqual([hello, hello, hello.slice(0, 9)]);
    expect(handlers.map(({ seen }) => seen.flushes)).toEqual([2, 2, 2]);
    expect(sides[0]!.counters).toMatchObject({ rxFrames: 1, rxBytes: hello.length });
  });

  it('put their tag and priority into what is sent, and leave the rest where it is', () => {
    const trunk = new ScriptedNetif({ transmit: OFFLOADS });
    const side = vlan(trunk, { id: 0x123, priority: 5 });
    expect(side.transmit).toEqual({ checksum: 'partial', segmentation: 65_532 });
    side.start(handler());
    const frame = side.reserve(hello.length)!;
    expect(frame.end - frame.start).toBe(hello.length);
    frame.bytes.set(hello, frame.start);
    frame.checksum = CHECKSUM_PARTIAL;
    frame.checksumStart = frame.start + 14;
    frame.checksumOffset = 2;
    frame.segmentSize = 1;
    frame.start += 14;
    side.commit(frame);
    expect(trunk.log).toEqual([
      {
        bytes: tagged(0xa123, hello),
        checksum: CHECKSUM_PARTIAL,
        checksumStart: 18,
        checksumOffset: 2,
        segmentSize: 1,
      },
    ]);
    trunk.room = 0;
    expect(side.reserve(60)).toBeNull();
    expect(side.counters).toMatchObject({ txFrames: 1, txBytes: hello.length, txStalls: 1 });
  });

  it('keep what a device says of a frame', () => {
    const trunk = new ScriptedNetif({ receive: OFFLOADS });
    const own = handler();
    vlan(trunk, { id: 7 }).start(own);
    trunk.injectWith(tagged(7, hello), (frame) => {
      frame.checksum = CHECKSUM_PARTIAL;
      frame.checksumStart = frame.start + 18;
      frame.segmentSize = 3;
    });
    expect(own.seen.cursors).toEqual([{ checksum: CHECKSUM_PARTIAL, segmentSize: 3, checksumStart: 14 }]);
  });

  it('close the trunk with the last of them', async () => {
    const trunk = new ScriptedNetif();
    const sides = [vlan(trunk, { id: 1 }), vlan(trunk, { id: 2 })];
    const handlers = sides.map(() => handler());
    for (const [index, side] of sides.entries()) side.start(handlers[index]!);
    await sides[0]!.close();
    await sides[0]!.close();
    expect([trunk.closes, handlers[0]!.seen.closed, handlers[1]!.seen.closed]).toEqual([0, 1, 0]);
    expect(sides[0]!.reserve(60)).toBeNull();
    trunk.inject(tagged(1, hello));
    expect(handlers[0]!.seen.frames).toEqual([]);
    await sides[1]!.close();
    expect([trunk.closes, handlers[1]!.seen.closed]).toEqual([1, 1]);
  });

  it('tell all of them when the trunk goes away', async () => {
    const trunk = new ScriptedNetif();
    const handlers = [handler(), handler()];
    for (const [index, own] of handlers.entries()) vlan(trunk, { id: index + 1 }).start(own);
    await trunk.close();
    expect(handlers.map(({ seen }) => seen.closed)).toEqual([1, 1]);
  });

  it.each([[{ id: 0 }], [{ id: 4095 }], [{ id: 1.5 }], [{ id: 7, priority: 8 }], [{ id: 9 }]])(
    'are refused as %j',
    (options) => {
      const trunk = new ScriptedNetif();
      vlan(trunk, { id: 9 });
      expect(() => vlan(trunk, options)).toThrow(/EINVAL/);
    },
  );
});

describe('stacks on VLANs', () => {
  let clock: VirtualClock;
  let stacks: DirectStack[];
  const run = <T>(promise: Promise<T>): Promise<T> => runVirtual(clock, promise, 60_000);

  beforeEach(() => {
    clock = new VirtualClock();
    stacks = [];
  });
  afterEach(() => run(Promise.all(stacks.map((stack) => stack.close()))));

  it.each([
    ['without offloads', {}],
    ['with offloads', { offloads: OFFLOADS }],
  ])('share a cable and do not hear each other, %s', async (_name, options) => {
    const ends = createCable({ clock, ...(options as object) });
    const stack = (end: Netif, id: number | null, number: number): DirectStack => {
      const netif = id === null ? untagged(end) : vlan(end, { id });
      const made = new DirectStack({
        netif,
        ipv4: `10.0.0.${number}/24`,
        ipv6: `2001:db8::${number}/64`,
        clock,
        random: new SeededRandom(stacks.length + 1),
      });
      stacks.push(made);
      return made;
    };
    // The same addresses on each VLAN.
    const pairs = [1, 2, null].map((id) => [stack(ends[0], id, 1), stack(ends[1], id, 2)] as const);
    await run(Promise.all(stacks.map((one) => one.ready())));
    const sent = Buffer.alloc(300_000, 'x');
    for (const [index, [client, server]] of pairs.entries()) {
      await server.tcp.listen({ port: 80 }, async (flow) => {
        let size = 0;
        for await (const chunk of flow) size += chunk.length;
        await flow.write(Buffer.from(`${index}: ${size}`));
        await flow.close();
      });
      for (const host of ['10.0.0.2', '2001:db8::2']) {
        const answer = (async () => {
          const flow = await client.tcp.connect({ host, port: 80 });
          await flow.write(sent);
          await flow.shutdown();
          const text = `${await flow.read()}`;
          await flow.close();
          return text;
        })();
        expect(await run(answer)).toBe(`${index}: 300000`);
      }
    }
  });

  it.skipIf(spawnSync('tshark', ['--version']).error !== undefined)('look right to tshark', async () => {
    const ends = createCable({ clock });
    const chunks: Uint8Array[] = [];
    const sink = { write: (chunk: Uint8Array) => void chunks.push(chunk), end: async () => {} };
    const trunk = capture(ends[0], sink, { clock });
    const random = new SeededRandom(1);
    const sides = [vlan(trunk, { id: 9, priority: 6 }), vlan(ends[1], { id: 9, priority: 2 })];
    stacks = sides.map(
      (netif, index) => new DirectStack({ netif, ipv4: `10.0.0.${index + 1}/24`, clock, random }),
    );
    await run(Promise.all(stacks.map((one) => one.ready())));
    await stacks[1]!.tcp.listen({ port: 80 }, async (flow) => {
      for await (const chunk of flow) await flow.write(chunk);
      await flow.close();
    });
    const flow = await run(stacks[0]!.tcp.connect({ host: '10.0.0.2', port: 80 }));
    await run(flow.write(Buffer.alloc(20_000)).then(() => flow.shutdown()));
    for (let chunk = await run(flow.read()); chunk !== null; ) chunk = await run(flow.read());
    await run(Promise.all(stacks.map((one) => one.close())));
    const folder = mkdtempSync(join(tmpdir(), 'mirage-net-vlan-'));
    const file = join(folder, 'trunk.pcap');
    writeFileSync(file, Buffer.concat(chunks));
    const fields = ['vlan.id', 'vlan.priority', 'arp.opcode', 'ip.checksum.status', 'tcp.checksum.status'];
    const { stdout } = spawnSync(
      'tshark',
      [
        ...['-r', file, '-T', 'fields', '-o', 'tcp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE'],
        ...fields.flatMap((field) => ['-e', field]),
      ],
      { encoding: 'utf8' },
    );
    rmSync(folder, { recursive: true });
    const kinds = new Map<string, number>();
    for (const line of stdout.trim().split('\n')) kinds.set(line, (kinds.get(line) ?? 0) + 1);
    const segments = ['9\t6\t\t1\t1', '9\t2\t\t1\t1'];
    expect([...kinds.keys()].filter((kind) => !/^9\t[26]\t[12]/.test(kind)).sort()).toEqual(segments.sort());
    for (const kind of segments) expect(kinds.get(kind)).toBeGreaterThan(10);
  });
});
