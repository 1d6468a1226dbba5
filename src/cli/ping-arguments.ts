import { UsageError } from './errors.ts';
import { parseCount } from './numbers.ts';

export interface PingOptions {
  readonly host: string;
  /** How many requests; null to go on until a signal comes. */
  readonly count: number | null;
  readonly intervalMs: number;
  /** Bytes of data behind the ICMP header. */
  readonly size: number;
  /** How long an answer is waited for after the last request. */
  readonly waitMs: number;
  readonly hopLimit?: number;
  readonly quiet: boolean;
  /** The only family whose addresses are pinged. */
  readonly family?: 'IPv4' | 'IPv6';
  readonly dontFragment: boolean;
}

/** For `parseArgs`, in ping's words. */
export const PING_OPTIONS = {
  count: { type: 'string', short: 'c' },
  interval: { type: 'string', short: 'i', default: '1' },
  size: { type: 'string', short: 's', default: '56' },
  wait: { type: 'string', short: 'W', default: '1' },
  ttl: { type: 'string', short: 't' },
  quiet: { type: 'boolean', short: 'q', default: false },
  4: { type: 'boolean', short: '4', default: false },
  6: { type: 'boolean', short: '6', default: false },
  'dont-fragment': { type: 'boolean', short: 'M', default: false },
} as const;

type Values = { readonly [name in keyof typeof PING_OPTIONS]?: string | boolean };

/** Throws {@link UsageError}. */
export function readPing(values: Values, positionals: readonly string[]): PingOptions {
  const [host, surplus] = positionals;
  if (host === undefined) throw new UsageError('Ping whom? Give a host: mirage-net ping HOST …');
  if (surplus !== undefined) throw new UsageError(`"${surplus}" is one word too many: one host at a time.`);
  if (values[4] && values[6]) throw new UsageError('-4 and -6 exclude each other.');
  const family = values[4] ? 'IPv4' : values[6] ? 'IPv6' : undefined;
  return {
    host,
    count: values.count === undefined ? null : parseCount('count', String(values.count), 1, 1_000_000_000),
    intervalMs: milliseconds('interval', String(values.interval), 1),
    size: parseCount('size', String(values.size), 0, 65_507),
    waitMs: milliseconds('wait', String(values.wait), 1),
    quiet: values.quiet === true,
    dontFragment: values['dont-fragment'] === true,
    ...(values.ttl !== undefined && { hopLimit: parseCount('ttl', String(values.ttl), 1, 255) }),
    ...(family !== undefined && { family }),
  };
}

function milliseconds(option: string, text: string, least: number): number {
  const value = /^\d{1,6}(\.\d{1,6})?$/.test(text) ? Number(text) * 1000 : Number.NaN;
  if (!(value >= least)) throw new UsageError(`--${option} ${text}: give seconds, as in 1 or 0.2.`);
  return value;
}
