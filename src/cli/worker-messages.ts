import type { RunOptions } from './arguments.ts';
import type { ShardQueue } from './open-stack.ts';

/** What a worker of `run --workers` begins with. */
export interface WorkerStart {
  readonly options: RunOptions;
  readonly queue: ShardQueue;
}

export type ToWorker =
  /** Of the process. */
  | { readonly kind: 'signal'; readonly signal: string }
  /** Shard 0 has published a frame. */
  | { readonly kind: 'frame'; readonly frame: Uint8Array }
  /** No worker has anything open any more. */
  | { readonly kind: 'unused' }
  /** All workers have closed their stacks: the queues may go. */
  | { readonly kind: 'release' };

export type FromWorker =
  | { readonly kind: 'frame'; readonly frame: Uint8Array }
  /** The application has returned and left nothing open. */
  | { readonly kind: 'unused' }
  /** The stack is closed but for its queue. */
  | { readonly kind: 'closed' };
