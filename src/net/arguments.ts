/** The many forms in which `connect` and `listen` take their arguments. */
import type { LookupFunction, OnReadOpts } from 'node:net';

export interface ConnectOptions {
  port?: number | string;
  host?: string | undefined;
  path?: string;
  localAddress?: string;
  localPort?: number;
  family?: number | string;
  hints?: number;
  lookup?: LookupFunction;
  timeout?: number;
  autoSelectFamily?: boolean;
  autoSelectFamilyAttemptTimeout?: number;
}

export interface ListenOptions {
  port?: number | string | null;
  host?: string;
  path?: string;
  fd?: number;
  backlog?: number;
  exclusive?: boolean;
  ipv6Only?: boolean;
  /** Who may use a local socket. */
  readableAll?: boolean;
  writableAll?: boolean;
  signal?: AbortSignal;
  /** A listening socket of the host, or something that has one. */
  handle?: object | null;
  _handle?: object | null;
}

export interface SocketOptions extends ConnectOptions {
  allowHalfOpen?: boolean;
  readable?: boolean;
  writable?: boolean;
  objectMode?: boolean;
  readableObjectMode?: boolean;
  writableObjectMode?: boolean;
  highWaterMark?: number;
  readableHighWaterMark?: number;
  writableHighWaterMark?: number;
  noDelay?: boolean;
  keepAlive?: boolean;
  keepAliveInitialDelay?: number;
  onread?: OnReadOpts | null;
  signal?: AbortSignal;
  blockList?: unknown;
  /** An open descriptor, or a handle, of the host's. */
  fd?: number;
  handle?: unknown;
}

export type Callback = (...args: unknown[]) => void;

const NORMALIZED = Symbol('normalized');

/** Options and callback of `connect` or `listen`, whatever form they came in. */
export type Normalized<Options> = [options: Options, callback: Callback | null] & { [NORMALIZED]?: true };

/** A name that is no port number. */
export function isPipeName(value: unknown): value is string {
  return typeof value === 'string' && toNumber(value) === false;
}

/** A number from 0 on, or false. */
export function toNumber(value: unknown): number | false {
  const number = Number(value);
  return number >= 0 ? number : false;
}

/** `(options[, cb])`, `(path[, …][, cb])`, `([port][, host][, …][, cb])`. */
export function normalize<Options>(args: readonly unknown[]): Normalized<Options> {
  const first = args[0];
  const last = args.at(-1);
  let options: Record<string, unknown> = {};
  if (typeof first === 'object' && first !== null) {
    options = first as Record<string, unknown>;
  } else if (isPipeName(first)) {
    options.path = first;
  } else if (args.length > 0) {
    options.port = first;
    if (typeof args[1] === 'string') options.host = args[1];
  }
  const normalized: Normalized<Options> = [
    options as Options,
    typeof last === 'function' ? (last as Callback) : null,
  ];
  normalized[NORMALIZED] = true;
  return normalized;
}

/** Arguments that may have been normalized by whoever passes them on. */
export function normalizeOnce<Options>(args: readonly unknown[]): Normalized<Options> {
  const [first] = args;
  return isNormalized<Options>(first) ? first : normalize(args);
}

function isNormalized<Options>(value: unknown): value is Normalized<Options> {
  return Array.isArray(value) && NORMALIZED in value;
}
