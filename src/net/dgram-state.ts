import type { LookupAddress } from 'node:dns';
import type { Endpoint } from '../stack.ts';
import type { DatagramPort } from './dgram-port.ts';

export const kState: unique symbol = Symbol('mirage.dgram');

/** `dns.lookup` with a family. */
export type DgramLookup = (
  hostname: string,
  family: 4 | 6,
  callback: (error: Error | null, address: string | LookupAddress[], family?: number) => void,
) => void;

export type Task = () => void;

export class DgramState {
  /** Null once closed. */
  port: DatagramPort | null;
  readonly lookup: DgramLookup;
  binding: 'unbound' | 'binding' | 'bound' = 'unbound';
  connection: 'none' | 'connecting' | 'connected' = 'none';
  remote: Endpoint | null = null;
  /** What waits for the socket to be bound. */
  queue: Task[] | null = null;
  receiveBufferSize: number | undefined;
  sendBufferSize: number | undefined;
  reuseAddress = false;
  ipv6Only = false;

  constructor(port: DatagramPort, lookup: DgramLookup) {
    this.port = port;
    this.lookup = lookup;
  }
}

/** As Linux, which shows twice of what was asked for: half of it is for its own bookkeeping. */
export const BUFFER_FACTOR = 2;
