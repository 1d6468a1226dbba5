import { IpAddress, Prefix } from '../address/index.ts';
import type { NetifSpec } from './arguments.ts';
import { UsageError } from './errors.ts';
import { parseCount } from './numbers.ts';

/** One `--netif`: the device, and what follows it after commas. */
export interface InterfaceSpec {
  readonly netif: NetifSpec;
  readonly name?: string;
  /** CIDR, or `dhcp`. */
  readonly ip?: string;
  /** `auto`, `link-local`, or a CIDR. */
  readonly ip6?: string;
  readonly gateway?: string;
  readonly gateway6?: string;
  readonly hostIp?: string;
  readonly metric?: number;
  /** Tells hosts on the link that we are a router. */
  readonly advertise?: boolean;
  /** The VLAN of the device that is meant. */
  readonly vlan?: number;
}

const KEYS = ['name', 'ip', 'ip6', 'gateway', 'gateway6', 'host-ip', 'metric', 'advertise', 'vlan'] as const;
/** A comma that is followed by one of our words; a path may have others. */
const COMMA = new RegExp(`,(?=(?:${KEYS.join('|')})(?:=|,|$))`);

/** `tap:lan,ip=10.1.0.1/24,name=lan`. */
export function parseInterface(text: string, parseNetif: (device: string) => NetifSpec): InterfaceSpec {
  const [device = '', ...settings] = text.split(COMMA);
  const values = new Map<string, string>();
  for (const word of settings) {
    const equals = word.indexOf('=');
    values.set(equals < 0 ? word : word.slice(0, equals), equals < 0 ? '' : word.slice(equals + 1));
  }
  const setting = (key: (typeof KEYS)[number]): string | undefined => values.get(key);
  const address = (key: 'ip' | 'host-ip' | 'gateway', isFine: (value: string) => boolean) => {
    const value = setting(key);
    if (value !== undefined && !isFine(value)) {
      throw new UsageError(`--netif ${device},${key}=${value}: that is no IPv4 address for it.`);
    }
    return value;
  };
  const isCidr = (value: string): boolean => isPrefix(value, true);
  const ip = address('ip', (value) => value === 'dhcp' || isCidr(value));
  const hostIp = address('host-ip', isCidr);
  const gateway = address('gateway', (value) => IpAddress.tryParse(value)?.isIpv4 === true);
  const ip6 = setting('ip6');
  if (ip6 !== undefined && ip6 !== 'auto' && ip6 !== 'link-local' && !isPrefix(ip6, false)) {
    throw new UsageError(`--netif ${device},ip6=${ip6}: it is auto, link-local, or as in fd00::2/64.`);
  }
  const gateway6 = setting('gateway6');
  if (gateway6 !== undefined && IpAddress.tryParse(gateway6)?.isIpv4 !== false) {
    throw new UsageError(`--netif ${device},gateway6=${gateway6}: give an IPv6 address, as in fd00::1.`);
  }
  const name = setting('name');
  const metric = setting('metric');
  const vlan = setting('vlan');
  return {
    netif: parseNetif(device),
    ...(name !== undefined && { name }),
    ...(ip !== undefined && { ip }),
    ...(ip6 !== undefined && { ip6 }),
    ...(gateway !== undefined && { gateway }),
    ...(gateway6 !== undefined && { gateway6 }),
    ...(hostIp !== undefined && { hostIp }),
    ...(metric !== undefined && { metric: parseCount('netif …,metric', metric, 0, 2 ** 31 - 1) }),
    ...(values.has('advertise') && { advertise: true }),
    ...(vlan !== undefined && { vlan: parseCount('netif …,vlan', vlan, 1, 4094) }),
  };
}

/** What the stack will call it. */
export function interfaceName({ name, netif, vlan }: InterfaceSpec): string {
  if (name !== undefined) return name;
  const device = netif.kind === 'tap' ? netif.name : netif.kind;
  return vlan === undefined ? device : `${device}.${vlan}`;
}

function isPrefix(text: string, isIpv4: boolean): boolean {
  try {
    return text.includes('/') && Prefix.parse(text).address.isIpv4 === isIpv4;
  } catch {
    return false;
  }
}
