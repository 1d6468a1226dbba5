import type { AddressInfo, BlockList, OnReadOpts } from 'node:net';
import type { NetContext } from './context.ts';
import type { Transport } from './transport.ts';

/** Where a socket keeps what is nobody else's: `#private` fields need a class that is constructed. */
export const kState: unique symbol = Symbol('mirage.socket');

/** What a socket knows beside its streams. */
export class SocketState {
  readonly context: NetContext;
  /** Null before `connect` and after the end. */
  transport: Transport | null = null;
  /** Of `setTimeout`; it may run on in vain when there is no timeout any more. */
  timer: NodeJS.Timeout | null = null;
  timerMs = 0;
  isTimed = false;
  /** Bytes that a write which waits had in hand when the timer last looked. */
  lastWriteQueueSize = 0;
  /** Of `onread`: where to read to, who is told, and who gives the next buffer. */
  userBuffer: Uint8Array | null = null;
  userBufferMaker: (() => Uint8Array) | null = null;
  userCallback: OnReadOpts['callback'] | null = null;
  noDelay: boolean;
  keepAlive: boolean;
  keepAliveDelaySeconds: number;
  /** Counters of a transport that is gone. */
  bytesRead = 0;
  bytesWritten = 0;
  localName: AddressInfo | null = null;
  remoteName: AddressInfo | null = null;
  /** Where not to connect to. */
  blockList: BlockList | null = null;
  /** A TLS socket of the host's is over this one. */
  carriesTls = false;
  /** `destroy` is to reset the connection. */
  resetOnDestroy = false;
  aborted = false;
  /** Data of a write that waits for the connection. */
  pendingBytes = 0;

  constructor(
    context: NetContext,
    options: { noDelay?: boolean; keepAlive?: boolean; keepAliveInitialDelay?: number },
  ) {
    this.context = context;
    this.noDelay = Boolean(options.noDelay);
    this.keepAlive = Boolean(options.keepAlive);
    this.keepAliveDelaySeconds = Math.trunc((options.keepAliveInitialDelay ?? 0) / 1000) | 0;
  }
}
