import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MacAddress } from '../../src/address/index.ts';
import { Switch, type SwitchOptions } from '../../src/netif/index.ts';
import { MacTable } from '../../src/netif/mac-table.ts';
import { VirtualClock } from '../../src/time/index.ts';
import { A, B, C, listen, numbered, send } from './helpers.ts';

function network(options: Partial<SwitchOptions> = {}) {
  const clock = new VirtualClock();
  const bridge = new Switch({ clock, ...options });
  const ports = [bridge.port(), bridge.port(), bridge.port()] as const;
  const heard = ports.map((port) => listen(port));
  const run = (): number[][] => {
    clock.advanceTo(clock.now());
    const numbers = heard.map((recorder) => recorder.numbers);
    for (const recorder of heard) recorder.frames.length = 0;
    return numbers;
  };
  return { clock, bridge, ports, heard, run };
}

describe('Switch', () => {
  it('floods what it does not know, and sends to one port what it has learned', () => {
    const { ports, run, bridge } = network();
    send(ports[0], numbered(1, 60, A, B));
    expect(run()).toEqual([[], [1], [1]]);
    send(ports[1], numbered(2, 60, B, A));
    expect(run()).toEqual([[2], [], []]);
    send(ports[0], numbered(3, 60, A, B));
    expect(run()).toEqual([[], [3], []]);
    send(ports[2], numbered(4, 60, C, MacAddress.BROADCAST));
    expect(run()).toEqual([[4], [4], []]);
    send(ports[2], numbered(5, 60, C, MacAddress.parse('01:00:5e:00:00:01')));
    expect(run()).toEqual([[5], [5], []]);
    expect(bridge.learned).toBe(3);
  });

  it('follows a host that moves, and sends nothing back to the port it came from', () => {
    const { ports, run } = network();
    send(ports[0], numbered(1, 60, A, C));
    send(ports[1], numbered(2, 60, A, C));
    run();
    send(ports[2], numbered(3, 60, C, A));
    expect(run()).toEqual([[], [3], []]);
    send(ports[1], numbered(4, 60, B, A));
    expect(run()).toEqual([[], [], []]);
  });

  it('does not learn group addresses, and drops runts', () => {
    const { ports, bridge, run } = network();
    send(ports[0], numbered(1, 60, MacAddress.BROADCAST, B));
    expect(bridge.learned).toBe(0);
    run();
    const frame = ports[0].reserve(13)!;
    ports[0].commit(frame);
    expect(run()).toEqual([[], [], []]);
    expect(ports[0].counters.txErrors).toBe(1);
  });

  it('forgets what was silent for the aging time, and what was on a closed port', async () => {
    const { ports, clock, bridge, run } = network({ agingMs: 1000 });
    send(ports[0], numbered(1, 60, A, B));
    send(ports[1], numbered(2, 60, B, A));
    run();
    clock.advanceTo(1000);
    send(ports[2], numbered(3, 60, C, A));
    expect(run()).toEqual([[3], [], []]);
    clock.advanceTo(1001);
    send(ports[2], numbered(4, 60, C, A));
    expect(run()).toEqual([[4], [4], []]);
    await ports[2].close();
    expect(bridge.learned).toBe(1);
    send(ports[0], numbered(5, 60, A, C));
    expect(run()).toEqual([[], [5], []]);
  });

  it('drops for a port whose queue is full, and does not stall the sender', () => {
    const clock = new VirtualClock();
    const bridge = new Switch({ clock, queueFrames: 4 });
    const [one, two, three] = [bridge.port(), bridge.port(), bridge.port()];
    for (let i = 0; i < 10; i++) expect(send(one, numbered(i))).toBe(true);
    expect([two.counters.rxDropped, three.counters.rxDropped]).toEqual([6, 6]);
    expect(one.counters.txStalls).toBe(0);
    const heard = listen(two);
    clock.advanceTo(0);
    expect(heard.numbers).toEqual([0, 1, 2, 3]);
  });

  it('shares the bytes among ports, and keeps them if any of these does', () => {
    const { ports, heard, clock } = network();
    const buffers = new Set<ArrayBufferLike>();
    heard[1]!.onFrame = (frame) => buffers.add(frame.bytes.buffer);
    heard[2]!.onFrame = (frame) => {
      buffers.add(frame.bytes.buffer);
      if (heard[2]!.frames.length % 3 === 0) heard[2]!.keep(frame);
    };
    for (let i = 0; i < 300; i++) {
      send(ports[0], numbered(i, 1000));
      if (i % 7 === 0) clock.advanceTo(0);
    }
    clock.advanceTo(0);
    expect(heard[1]!.numbers).toEqual(heard[2]!.numbers);
    expect(
      heard[2]!.kept.map((view) => Buffer.compare(view, numbered(view[17]! | (view[16]! << 8), 1000))),
    ).toEqual(new Array(100).fill(0));
    expect(buffers.size).toBeLessThan(3);
  });
});

describe('MacTable', () => {
  it('behaves as a map of limited size that forgets the one silent for longest', () => {
    const operation = fc.record({
      kind: fc.constantFrom('learn', 'learn', 'find', 'forget'),
      address: fc.nat({ max: 11 }),
      port: fc.nat({ max: 3 }),
      wait: fc.nat({ max: 5 }),
    });
    fc.assert(
      fc.property(
        fc.array(operation, { maxLength: 150 }),
        fc.integer({ min: 1, max: 8 }),
        (operations, size) => {
          const table = new MacTable(size, 20);
          /** In the order in which addresses were last seen. */
          const model = new Map<number, { port: number; at: number }>();
          let now = 0;
          for (const { kind, address, port, wait } of operations) {
            now += wait;
            const high = address & 1;
            const low = (address * 0x01010101) | 0;
            if (kind === 'learn') {
              table.learn(high, low, port, now);
              if (!model.delete(address) && model.size === size) model.delete(model.keys().next().value!);
              model.set(address, { port, at: now });
            } else if (kind === 'find') {
              const entry = model.get(address);
              if (entry !== undefined && now - entry.at > 20) model.delete(address);
              expect(table.find(high, low, now)).toBe(model.get(address)?.port ?? -1);
            } else {
              table.forget(port);
              for (const [key, entry] of model) if (entry.port === port) model.delete(key);
            }
            expect(table.size).toBe(model.size);
          }
        },
      ),
    );
  });
});
