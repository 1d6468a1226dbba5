import { Worker } from 'node:worker_threads';
import type { WorkerRunOptions } from './arguments.ts';
import type { CommandIo } from './io.ts';
import type { FromWorker, ToWorker, WorkerStart } from './worker-messages.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGUSR2'] as const;

/**
 * Runs an application on `count` threads, each with a stack of its own over a
 * queue of one TAP device: to the network they are one station. Gives the
 * largest exit code. A worker that fails stops the others.
 */
export async function runWorkers(options: WorkerRunOptions, count: number, io: CommandIo): Promise<number> {
  const { openTapQueues } = await import('../netif/tap/index.ts');
  const queues = openTapQueues(count, {
    name: options.netif.name,
    ...(options.hostIp !== undefined && { hostAddress: options.hostIp }),
    offloads: options.impair === undefined && options.offloads,
  });
  io.stderr.write(`mirage-net: ${count} workers share ${queues.name} (${queues.mac})\n`);
  const workers = queues.descriptors.map((fd, shard) => {
    const start: WorkerStart = {
      options,
      queue: { shard, shards: count, fd, mac: queues.mac.toString(), mtu: queues.mtu },
    };
    return new Worker(new URL('./worker.js', import.meta.url), { workerData: start });
  });
  const toAll = (message: ToWorker): void => {
    for (const worker of workers) worker.postMessage(message);
  };
  const listeners = SIGNALS.map((signal) => {
    let before = false;
    const listener = (): void => {
      // The second time is for those who do not want to wait.
      if (before && signal !== 'SIGUSR2') io.process.exit(signal === 'SIGINT' ? 130 : 143);
      before = true;
      toAll({ kind: 'signal', signal });
    };
    io.process.on(signal, listener);
    return { signal, listener };
  });
  try {
    return await supervise(workers, toAll);
  } finally {
    for (const { signal, listener } of listeners) io.process.off(signal, listener);
  }
}

async function supervise(workers: readonly Worker[], toAll: (message: ToWorker) => void): Promise<number> {
  const [first, ...others] = workers;
  const unused = new Set<Worker>();
  const closed = new Set<Worker>();
  const gone = new Set<Worker>();
  const everyone = (some: ReadonlySet<Worker>): boolean =>
    workers.every((worker) => some.has(worker) || gone.has(worker));
  const look = (): void => {
    if (everyone(unused)) toAll({ kind: 'unused' });
    if (everyone(closed)) toAll({ kind: 'release' });
  };
  const ends = workers.map(
    (worker) =>
      new Promise<number>((resolve, reject) => {
        worker.on('message', (message: FromWorker) => {
          if (message.kind === 'frame') {
            if (worker === first) for (const other of others) other.postMessage(message);
          } else {
            (message.kind === 'unused' ? unused : closed).add(worker);
            look();
          }
        });
        worker.once('error', reject);
        worker.once('exit', (code) => {
          gone.add(worker);
          look();
          // One that went by itself left its part of the connections unserved.
          if (!closed.has(worker)) toAll({ kind: 'signal', signal: 'SIGTERM' });
          resolve(code);
        });
      }),
  );
  return Math.max(...(await Promise.all(ends)));
}
