import type { MacAddress } from '../../src/address/index.ts';
import { allocate } from '../../src/bytes/index.ts';
import { Frame, type Netif, type Offloads } from '../../src/netif/index.ts';
import { attachVif, openNetback, openNetfront, SimulatedMachine } from '../../src/netif/xen/index.ts';
import { runVirtual, VirtualClock } from '../../src/time/index.ts';

/** Something between a host and its line, on a clock that has run already. */
export interface Cards {
  readonly clock: VirtualClock;
  /** Plugs the line of host number `host`, from 0, into its card; what its stack is to use. */
  plug(line: Netif, host: number): Netif;
  /** To be called when the stacks are closed. */
  close(): Promise<void>;
}

/** A Xen network card per host, each in a domain of its own, with the line at the backend. */
export async function openXenCards(
  macs: readonly MacAddress[],
  mtu: number,
  offloads: Offloads,
): Promise<Cards> {
  const clock = new VirtualClock();
  const machine = new SimulatedMachine({ clock, pages: 1024 * macs.length });
  const dom0 = machine.domain(0);
  const options = {
    clock,
    offloads: { checksum: offloads.checksum === 'partial', segmentation: offloads.segmentation >= 65_535 },
  };
  // Where the lines carry ordinary frames only, every other host works with large ones all the same.
  const inSoftware = (host: number): boolean => offloads.segmentation === 0 && host % 2 === 1;
  const open = async (mac: MacAddress, host: number): Promise<[Netif, Netif]> => {
    const frontend = host + 1;
    await attachVif(dom0.store, { frontend, backend: 0, index: 0, mac, mtu });
    return Promise.all([
      openNetfront({
        hypervisor: machine.domain(frontend),
        ...options,
        ...(inSoftware(host) && { offloads: 'software' }),
      }),
      openNetback({ hypervisor: dom0, frontend, ...options }),
    ]);
  };
  const pairs = await runVirtual(clock, Promise.all(macs.map(open)), 60_000);
  return {
    clock,
    plug(line, host) {
      const [front, back] = pairs[host]!;
      join(line, back);
      join(back, line);
      return front;
    },
    async close() {
      await Promise.all(pairs.map(([, back]) => back.close()));
      const { grants, mappings, ports } = machine.use;
      if (grants + mappings + ports > 0)
        throw new Error(`left on the machine: ${JSON.stringify(machine.use)}`);
    },
  };
}

/** Sends everything that comes from one netif to the other; what finds it full waits, however much it is. */
function join(from: Netif, to: Netif): void {
  const waiting: Frame[] = [];
  const drain = (): void => {
    while (waiting.length > 0) {
      const next = waiting[0]!;
      const frame = to.reserve(next.bytes.length);
      if (frame === null) break;
      frame.bytes.set(next.bytes, frame.start);
      frame.checksum = next.checksum;
      frame.checksumStart = frame.start + next.checksumStart;
      frame.checksumOffset = next.checksumOffset;
      frame.segmentSize = next.segmentSize;
      to.commit(frame);
      waiting.shift();
    }
    to.flush();
  };
  drains.set(to, drain);
  from.start({
    receive: (frame) => {
      const size = frame.end - frame.start;
      const bytes = allocate(size);
      const copy = new Frame(bytes).reset(bytes, 0, size);
      copy.bytes.set(frame.bytes.subarray(frame.start, frame.end));
      copy.checksum = frame.checksum;
      copy.checksumStart = frame.checksumStart - frame.start;
      copy.checksumOffset = frame.checksumOffset;
      copy.segmentSize = frame.segmentSize;
      waiting.push(copy);
    },
    flush: drain,
    // It has room again for what comes from the other side.
    writable: () => drains.get(from)?.(),
    closed: () => {
      waiting.length = 0;
    },
  });
}

/** Who waits for room in a netif. */
const drains = new WeakMap<Netif, () => void>();
