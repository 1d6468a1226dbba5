import {
  DEFAULT_PORT,
  DEFAULT_TCP_BLOCK_BYTES,
  DEFAULT_UDP_BLOCK_BYTES,
  DEFAULT_UDP_RATE_BPS,
  MAX_BLOCK_BYTES,
  MAX_SECONDS,
  MAX_STREAMS,
  MAX_UDP_BLOCK_BYTES,
  MIN_UDP_BLOCK_BYTES,
  parseUnit,
  type TestParameters,
} from '../iperf3/index.ts';
import { UsageError } from './errors.ts';
import { parseCount } from './numbers.ts';

interface Common {
  readonly port: number;
  readonly intervalSeconds: number;
  readonly json: boolean;
}

export type Iperf3Options = Common &
  (
    | { readonly role: 'server'; readonly host?: string; readonly oneOff: boolean }
    | {
        readonly role: 'client';
        readonly host: string;
        readonly test: TestParameters;
        readonly connectTimeoutMs?: number;
      }
  );

/** For `parseArgs`, in iperf3's words. */
export const IPERF3_OPTIONS = {
  server: { type: 'boolean', short: 's', default: false },
  client: { type: 'string', short: 'c' },
  port: { type: 'string', short: 'p', default: String(DEFAULT_PORT) },
  interval: { type: 'string', short: 'i', default: '1' },
  json: { type: 'boolean', short: 'J', default: false },
  bind: { type: 'string', short: 'B' },
  'one-off': { type: 'boolean', short: '1', default: false },
  time: { type: 'string', short: 't' },
  bytes: { type: 'string', short: 'n' },
  blockcount: { type: 'string', short: 'k' },
  length: { type: 'string', short: 'l' },
  parallel: { type: 'string', short: 'P', default: '1' },
  reverse: { type: 'boolean', short: 'R', default: false },
  bidir: { type: 'boolean', default: false },
  udp: { type: 'boolean', short: 'u', default: false },
  bitrate: { type: 'string', short: 'b' },
  omit: { type: 'string', short: 'O', default: '0' },
  'no-delay': { type: 'boolean', short: 'N', default: false },
  'udp-counters-64bit': { type: 'boolean', default: false },
  'get-server-output': { type: 'boolean', default: false },
  'connect-timeout': { type: 'string' },
} as const;

type Values = { readonly [name in keyof typeof IPERF3_OPTIONS]?: string | boolean };

/** What only the client has a say in. */
const CLIENT_ONLY = [
  'time',
  'bytes',
  'blockcount',
  'length',
  'reverse',
  'bidir',
  'udp',
  'bitrate',
  'no-delay',
  'udp-counters-64bit',
  'get-server-output',
  'connect-timeout',
] as const;

/** Throws {@link UsageError}. */
export function readIperf3(values: Values): Iperf3Options {
  const text = (name: keyof Values): string | undefined => values[name] as string | undefined;
  const common: Common = {
    port: parseCount('port', text('port')!, 1, 65_535),
    intervalSeconds: parseSeconds('interval', text('interval')!, 0, 60),
    json: values.json === true,
  };
  const host = text('client');
  if (values.server === true) {
    if (host !== undefined) throw new UsageError('It is -s to serve or -c HOST to run a test, not both.');
    const stray = CLIENT_ONLY.find((name) => values[name] !== undefined && values[name] !== false);
    if (stray !== undefined) throw new UsageError(`--${stray} is the client's to say; the server follows.`);
    const bind = text('bind');
    return {
      ...common,
      role: 'server',
      oneOff: values['one-off'] === true,
      ...(bind !== undefined && { host: bind }),
    };
  }
  if (host === undefined) throw new UsageError('Which end? iperf3 -s serves, iperf3 -c HOST runs a test.');
  if (values['one-off'] === true || values.bind !== undefined) {
    throw new UsageError('--one-off and --bind are options of the server, -s.');
  }
  const timeout = text('connect-timeout');
  return {
    ...common,
    role: 'client',
    host,
    test: readTest(values, text),
    ...(timeout !== undefined && {
      connectTimeoutMs: parseCount('connect-timeout', timeout, 1, 3_600_000),
    }),
  };
}

function readTest(values: Values, text: (name: keyof Values) => string | undefined): TestParameters {
  const udp = values.udp === true;
  if (values.reverse === true && values.bidir === true) {
    throw new UsageError('It is --reverse or --bidir, not both.');
  }
  const ends = (['time', 'bytes', 'blockcount'] as const).filter((name) => values[name] !== undefined);
  if (ends.length > 1) throw new UsageError(`--${ends[0]} and --${ends[1]}: one of them ends the test.`);
  const omitSeconds = parseSeconds('omit', text('omit')!, 0, 600);
  if (omitSeconds > 0 && ends.length === 1 && ends[0] !== 'time') {
    throw new UsageError('--omit goes with --time: bytes and blocks are counted from the first.');
  }
  const size = (name: keyof Values, least: number, most: number, absent: number): number => {
    const given = text(name);
    return given === undefined ? absent : parseSize(name, given, 1024, least, most);
  };
  const bitrate = text('bitrate');
  return {
    protocol: udp ? 'udp' : 'tcp',
    direction: values.bidir === true ? 'bidirectional' : values.reverse === true ? 'reverse' : 'forward',
    parallel: parseCount('parallel', text('parallel')!, 1, MAX_STREAMS),
    seconds:
      ends.length === 1 && ends[0] !== 'time' ? 0 : parseCount('time', text('time') ?? '10', 1, MAX_SECONDS),
    omitSeconds,
    bytes: size('bytes', 1, Number.MAX_SAFE_INTEGER, 0),
    blocks: size('blockcount', 1, Number.MAX_SAFE_INTEGER, 0),
    blockBytes: size(
      'length',
      udp ? MIN_UDP_BLOCK_BYTES : 1,
      udp ? MAX_UDP_BLOCK_BYTES : MAX_BLOCK_BYTES,
      udp ? DEFAULT_UDP_BLOCK_BYTES : DEFAULT_TCP_BLOCK_BYTES,
    ),
    rateBps:
      bitrate === undefined
        ? udp
          ? DEFAULT_UDP_RATE_BPS
          : 0
        : parseSize('bitrate', bitrate, 1000, 0, Number.MAX_SAFE_INTEGER),
    noDelay: values['no-delay'] === true,
    wideCounters: values['udp-counters-64bit'] === true,
    serverOutput: values['get-server-output'] === true,
  };
}

function parseSize(option: string, text: string, step: 1000 | 1024, least: number, most: number): number {
  const value = parseUnit(text, step);
  if (!(value >= least && value <= most)) {
    throw new UsageError(`--${option} ${text}: give a number from ${least} to ${most}, as in 64K or 10M.`);
  }
  return value;
}

function parseSeconds(option: string, text: string, least: number, most: number): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) {
    throw new UsageError(`--${option} ${text}: give seconds from ${least} to ${most}.`);
  }
  return value;
}
