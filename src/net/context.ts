import type { LookupFunction } from 'node:net';
import type { Network } from './transport.ts';

/** What the sockets and servers of one `createNet` share. */
export interface NetContext {
  readonly network: Network;
  readonly lookup: LookupFunction;
  /** Buffers given to `write` are sent from where they are: they must stay unchanged until acknowledged. */
  readonly borrowWrites: boolean;
  autoSelectFamily: boolean;
  autoSelectFamilyAttemptTimeoutMs: number;
}
