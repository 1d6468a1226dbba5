/** What runs on each thread of `mirage-net run --workers`: the application on a shard of the station. */
import { EventEmitter } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { loadApplication } from './application.ts';
import { failure } from './errors.ts';
import type { HostProcess } from './io.ts';
import { runOn } from './run.ts';
import { untilUnused } from './unused.ts';
import type { FromWorker, ToWorker, WorkerStart } from './worker-messages.ts';

const { options, queue } = workerData as WorkerStart;
const port = parentPort!;
const messages = new EventEmitter();
port.on('message', (message: ToWorker) => {
  messages.emit(message.kind, message);
});
const told = (kind: ToWorker['kind']): Promise<void> =>
  new Promise((resolve) => {
    messages.once(kind, () => resolve());
  });
const tell = (message: FromWorker): void => port.postMessage(message);

/** Signals come to the process, and from there by message; the rest is the thread's own. */
const signals = new EventEmitter();
messages.on('signal', ({ signal }: { signal: string }) => signals.emit(signal));
const host: HostProcess = {
  on: (event, listener) => emitter(event).on(event, listener),
  off: (event, listener) => emitter(event).off(event, listener),
  once: (event, listener) => emitter(event).once(event, listener),
  exit: (code) => process.exit(code),
};

function emitter(event: string): EventEmitter {
  return event.startsWith('SIG') ? signals : process;
}

async function run(): Promise<number> {
  const application = await loadApplication(options.app);
  const [allUnused, release] = [told('unused'), told('release')];
  const name = `${options.app}, worker ${queue.shard}`;
  const { stdout, stderr } = process;
  return runOn(
    options,
    name,
    async (stack) => {
      await application(stack, options.args);
      await untilUnused(stack);
      tell({ kind: 'unused' });
      await allUnused;
    },
    { stdout, stderr, process: host },
    {
      ...queue,
      publish: (frame) => tell({ kind: 'frame', frame }),
      subscribe: (deliver) => messages.on('frame', ({ frame }: { frame: Uint8Array }) => deliver(frame)),
      beforeRelease: () => {
        tell({ kind: 'closed' });
        return release;
      },
    },
  );
}

/** What the thread prints goes through the process's first thread: it ends when that has it. */
function exit(code: number): void {
  process.stderr.write('', () => process.stdout.write('', () => process.exit(code)));
}

run().then(exit, (error: unknown) => {
  process.stderr.write(`mirage-net: ${failure(error)}\n`);
  exit(1);
});
