/** A thread that has the guest's domain: sends numbered frames through its frontend, and expects each back, in order. */
import { parentPort, workerData } from 'node:worker_threads';
import { joinMachine, type MachineTicket, openNetfront } from '../../../src/netif/xen/index.ts';
import { numbered, numberOf, send } from '../../netif/helpers.ts';

const { ticket, frames, queues } = workerData as { ticket: MachineTicket; frames: number; queues: number };

const hypervisor = joinMachine(ticket);
const netif = await openNetfront({ hypervisor, queues, timeoutMs: 60_000 });

let sent = 0;
let answered = 0;
const failure = await new Promise<string | null>((resolve) => {
  const fill = (): void => {
    while (sent < frames && send(netif, numbered(sent, 60 + ((sent * 31) % 1400)))) sent++;
    netif.flush();
  };
  netif.start({
    receive: ({ bytes, start, end }) => {
      const frame = bytes.subarray(start, end);
      const number = numberOf(frame);
      const length = 60 + ((answered * 31) % 1400);
      // The last byte is the number too: a frame that was put together of two would show.
      if (number !== answered || frame.length !== length || frame.at(-1) !== (answered & 0xff)) {
        resolve(`frame ${answered} came back as ${number} with ${frame.length} bytes`);
      }
      if (++answered === frames) resolve(null);
    },
    flush: () => netif.flush(),
    writable: fill,
    closed: (error) => resolve(`closed: ${error?.message}`),
  });
  fill();
});
await netif.close();
await hypervisor.close();
parentPort!.postMessage({ failure, sent, answered });
