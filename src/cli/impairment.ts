import type { Impairments } from '../netif/index.ts';
import { UsageError } from './errors.ts';

/** What `--impair` asks for. */
export interface ImpairSpec {
  /** For each direction on its own. */
  readonly impairments: Impairments;
  readonly seed: number;
}

/** How long a reordered frame is held back where there is no longer delay. */
const LEAST_HOLD_MS = 5;

const NAMES = ['loss', 'duplicate', 'corrupt', 'reorder', 'delay', 'jitter', 'rate', 'seed'];

/** Parses `loss=1%,delay=30ms,jitter=10ms,…`. Throws {@link UsageError}. */
export function parseImpairment(text: string): ImpairSpec {
  const values = new Map<string, string>();
  for (const part of text.split(',')) {
    const equals = part.indexOf('=');
    const name = (equals < 0 ? part : part.slice(0, equals)).trim();
    if (!NAMES.includes(name)) {
      throw new UsageError(
        `--impair does not know "${name}": it takes ${NAMES.join(', ')}, as in loss=1%,delay=30ms.`,
      );
    }
    if (values.has(name)) throw new UsageError(`--impair has ${name} twice.`);
    values.set(name, equals < 0 ? '' : part.slice(equals + 1).trim());
  }
  const take = <T>(name: string, parse: (value: string, name: string) => T): T | undefined => {
    const value = values.get(name);
    return value === undefined ? undefined : parse(value, name);
  };
  const loss = take('loss', probability);
  const duplicate = take('duplicate', probability);
  const corrupt = take('corrupt', probability);
  const reorder = take('reorder', probability);
  const delayMs = take('delay', duration);
  const jitterMs = take('jitter', duration);
  const rateBps = take('rate', bitsPerSecond);
  return {
    seed: take('seed', wholeNumber) ?? 1,
    impairments: {
      ...(loss !== undefined && { loss }),
      ...(duplicate !== undefined && { duplicate }),
      ...(corrupt !== undefined && { corrupt }),
      ...(reorder !== undefined && {
        reorder: { probability: reorder, delayMs: Math.max(delayMs ?? 0, LEAST_HOLD_MS) },
      }),
      ...(delayMs !== undefined && { delayMs }),
      ...(jitterMs !== undefined && { jitterMs }),
      ...(rateBps !== undefined && { rateBps }),
    },
  };
}

function probability(text: string, name: string): number {
  const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(text);
  const value = match === null ? Number.NaN : Number(match[1]) / (match[2] === '%' ? 100 : 1);
  if (value >= 0 && value <= 1) return value;
  throw new UsageError(`--impair ${name}=${text}: give a share of the packets, as in ${name}=1% or 0.01.`);
}

const MILLISECONDS: Record<string, number> = { us: 0.001, ms: 1, s: 1000 };

function duration(text: string, name: string): number {
  const match = /^(\d+(?:\.\d+)?)(us|ms|s)$/.exec(text);
  if (match !== null) return Number(match[1]) * MILLISECONDS[match[2]!]!;
  throw new UsageError(`--impair ${name}=${text}: give a time with its unit, as in ${name}=30ms.`);
}

const BITS_PER_SECOND: Record<string, number> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };

function bitsPerSecond(text: string, name: string): number {
  const match = /^(\d+(?:\.\d+)?)(bit|kbit|mbit|gbit)$/.exec(text);
  const value = match === null ? 0 : Number(match[1]) * BITS_PER_SECOND[match[2]!]!;
  if (value > 0) return value;
  throw new UsageError(`--impair ${name}=${text}: give bits per second, as in ${name}=100mbit.`);
}

function wholeNumber(text: string, name: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`--impair ${name}=${text}: give a whole number, as in ${name}=1.`);
}
