// Starts a thread's TypeScript module: `node --import tsx` does not reach into threads.
import { workerData } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

register();
await import(workerData.script);
