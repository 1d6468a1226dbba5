import { IpAddress } from '../address/index.ts';
import { normalizeName, Resolver } from '../dns/index.ts';
import { NetError } from '../errors.ts';
import type { Mdns } from '../mdns/index.ts';
import type { Tcp, Udp } from '../stack.ts';
import type { Clock, Random } from '../time/index.ts';
import type { DhcpInterface } from './dhcp.ts';
import type { Dhcp6Interface } from './dhcp6.ts';
import { parseZoned } from './ipv6.ts';
import type { Network } from './network.ts';

export interface NameOptions {
  /** Static host names for `resolve`, as in `/etc/hosts`. `localhost` is always known. */
  readonly hosts?: Readonly<Record<string, string | readonly string[]>>;
  /** Addresses of DNS servers, the best first, as `10.0.0.1` or `10.0.0.1:5353`. By default those that DHCP and routers (RFC 8106) tell. */
  readonly dns?: readonly string[];
  /** Domains that names are looked for in. By default those that DHCP and routers tell. */
  readonly search?: readonly string[];
}

export interface NamesOptions {
  readonly names: NameOptions;
  readonly network: Network;
  /** Of every interface that has its address by DHCP. */
  readonly dhcp: readonly DhcpInterface[];
  readonly dhcp6: readonly Dhcp6Interface[];
  readonly udp: Udp;
  readonly tcp: Tcp;
  readonly clock: Clock;
  readonly random: Random;
  /** Null where names in `.local` are the DNS's affair too. */
  readonly mdns: Mdns | null;
}

/** What a stack knows of names: literals, its own table, then the DNS. */
export class Names {
  readonly resolver: Resolver;
  readonly #network: Network;
  readonly #mdns: Mdns | null;
  readonly #hosts: ReadonlyMap<string, readonly string[]>;

  constructor(options: NamesOptions) {
    const { names, network, dhcp } = options;
    this.#network = network;
    this.#mdns = options.mdns;
    this.#hosts = hostTable(names.hosts ?? {});
    const leases = () => dhcp.flatMap(({ lease }) => lease ?? []);
    const told = () => network.ipv6?.links.flatMap(({ autoconf }) => autoconf?.dns ?? []) ?? [];
    const told6 = () => options.dhcp6.flatMap(({ configuration }) => configuration ?? []);
    this.resolver = new Resolver({
      ...options,
      servers: () =>
        names.dns ?? [
          ...leases().flatMap((lease) => lease.dns),
          ...told().flatMap(({ servers }) => servers.map((server) => `${server}`)),
          ...told6().flatMap(({ dns }) => dns),
        ],
      search: () =>
        names.search ?? [
          ...leases().flatMap((lease) => lease.search),
          ...told().flatMap((dns) => dns.search),
          ...told6().flatMap(({ search }) => search),
        ],
    });
  }

  /** The addresses of `hostname`, the best first. Rejects with `ENOTFOUND`, `ETIMEDOUT` if no server answers. */
  async resolve(hostname: string): Promise<string[]> {
    const literal = IpAddress.tryParse(hostname);
    if (literal !== null) return [literal.toString()];
    const zoned = parseZoned(hostname, this.#network.zones());
    if (zoned !== null) return [zoned.toString()];
    const addresses = this.#known(hostname) ?? (await this.#ask(hostname));
    return this.#network.sort(addresses.map((address) => IpAddress.parse(address))).map(String);
  }

  #known(hostname: string): readonly string[] | undefined {
    const name = hostname.toLowerCase().replace(/\.$/, '');
    const known = this.#hosts.get(name);
    if (known !== undefined) return known;
    // RFC 6761 §6.3: never asked of the DNS.
    if (name !== 'localhost' && !name.endsWith('.localhost')) return undefined;
    return this.#network.ipv6 === null ? ['127.0.0.1'] : ['::1', '127.0.0.1'];
  }

  #ask(hostname: string): Promise<string[]> {
    const name = normalizeName(hostname);
    const types = this.#network.ipv6 === null ? (['A'] as const) : (['A', 'AAAA'] as const);
    // RFC 6762 §3: never asked of the DNS.
    if (this.#mdns !== null && name?.endsWith('.local') === true) return this.#mdns.lookup(name, types);
    // RFC 6761 §6.4: `invalid` does not exist, whoever says so.
    const isHopeless = name === null || name === 'invalid' || name.endsWith('.invalid');
    if (isHopeless || !this.resolver.hasServers) {
      throw new NetError('ENOTFOUND', { syscall: 'getaddrinfo', address: hostname });
    }
    return this.resolver.lookup(hostname, types);
  }
}

function hostTable(
  hosts: Readonly<Record<string, string | readonly string[]>>,
): Map<string, readonly string[]> {
  const table = new Map<string, readonly string[]>();
  for (const [name, value] of Object.entries(hosts)) {
    const addresses = typeof value === 'string' ? [value] : value;
    table.set(
      name.toLowerCase(),
      addresses.map((address) => IpAddress.parse(address).toString()),
    );
  }
  return table;
}
