import { parseArgs } from 'node:util';
import { MacAddress } from '../address/index.ts';
import { UsageError } from './errors.ts';
import { parseCount } from './numbers.ts';

/** What `mirage-net xen` does to which network card. */
export interface XenOptions {
  readonly action: 'attach' | 'detach';
  /** Numbers of domains; this one where they are not given. */
  readonly frontend?: number;
  readonly backend?: number;
  readonly index: number;
  readonly mac?: MacAddress;
  readonly mtu?: number;
}

/** Domains above are not domains (DOMID_FIRST_RESERVED). */
const LAST_DOMAIN = 0x7fef;

/** Reads the words after `mirage-net xen`; null where help is asked for. */
export function parseXen(argv: readonly string[]): XenOptions | null {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      frontend: { type: 'string' },
      backend: { type: 'string' },
      index: { type: 'string', default: '0' },
      mac: { type: 'string' },
      mtu: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return null;
  const [action, surplus] = positionals;
  if ((action !== 'attach' && action !== 'detach') || surplus !== undefined) {
    throw new UsageError('mirage-net xen attach, or mirage-net xen detach, then options.');
  }
  const { frontend, backend, mac, mtu } = values;
  if (action === 'detach' && (mac !== undefined || mtu !== undefined)) {
    throw new UsageError(
      '--mac and --mtu describe a card that is attached; detach needs to know only which.',
    );
  }
  return {
    action,
    index: parseCount('index', values.index, 0, 0xffff),
    ...(frontend !== undefined && { frontend: parseCount('frontend', frontend, 0, LAST_DOMAIN) }),
    ...(backend !== undefined && { backend: parseCount('backend', backend, 0, LAST_DOMAIN) }),
    ...(mac !== undefined && { mac: parseMac(mac) }),
    ...(mtu !== undefined && { mtu: parseCount('mtu', mtu, 68, 65_517) }),
  };
}

function parseMac(text: string): MacAddress {
  try {
    const mac = MacAddress.parse(text);
    if (!mac.isGroup) return mac;
  } catch {
    // Said below.
  }
  throw new UsageError(`--mac ${text}: give the address of one station, as in 00:16:3e:00:00:01.`);
}
