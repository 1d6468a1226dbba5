import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { MacAddress } from '../../../src/address/index.ts';
import { attachVif, openNetback, SimulatedMachine } from '../../../src/netif/xen/index.ts';

const FRAMES = 20_000;

/** A backend in this thread that sends everything back, and a guest in another. */
async function echo(queues: number): Promise<{ result: unknown; use: unknown; events: number }> {
  const machine = new SimulatedMachine({ shared: true });
  const dom0 = machine.domain(0);
  const mac = MacAddress.parse('00:16:3e:00:00:02');
  await attachVif(dom0.store, { frontend: 1, backend: 0, index: 0, mac });
  const { ticket, transfer } = machine.ticket(1);
  const worker = new Worker(new URL('boot.mjs', import.meta.url), {
    workerData: { script: new URL('peer.ts', import.meta.url).href, ticket, frames: FRAMES, queues },
    transferList: transfer,
  });
  try {
    const result = new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    const opening = openNetback({ hypervisor: dom0, frontend: 1, queues, timeoutMs: 60_000 });
    // A thread that fails says so before anybody waits for it in vain.
    await Promise.race([opening, result]);
    const back = await opening;
    // What the ring has no room for waits here, so that nothing is lost and order is kept.
    const waiting: Uint8Array[] = [];
    const drain = (): void => {
      while (waiting.length > 0) {
        const next = waiting[0]!;
        const frame = back.reserve(next.length);
        if (frame === null) break;
        frame.bytes.set(next, frame.start);
        back.commit(frame);
        waiting.shift();
      }
      back.flush();
    };
    back.start({
      receive: ({ bytes, start, end }) => {
        waiting.push(Uint8Array.from(bytes.subarray(start, end)));
      },
      flush: drain,
      writable: drain,
      closed: () => {},
    });
    const outcome = await result;
    await back.close();
    await dom0.close();
    return { result: outcome, use: machine.use, events: machine.events };
  } finally {
    await worker.terminate();
    machine.close();
  }
}

describe('two threads on one shared machine', { timeout: 120_000 }, () => {
  it.each([1, 3])('exchange frames both ways without losing one, over %i queues', async (queues) => {
    const { result, use, events } = await echo(queues);
    expect(result).toEqual({ failure: null, sent: FRAMES, answered: FRAMES });
    expect(use).toEqual({ grants: 0, mappings: 0, pages: 0, ports: 0, watches: 0 });
    expect(events).toBeLessThan(FRAMES);
  });
});
