import type { DirectStack } from '../../src/direct/index.ts';
import { DnsServer, type DnsServerOptions, type ZoneRecord } from '../../src/dns/index.ts';
import { Lan } from '../dhcp/lan.ts';

export const DNS = '10.0.0.53';

export const RECORDS: readonly ZoneRecord[] = [
  { name: 'www.test', type: 'A', data: '10.0.0.80', ttl: 30 },
  { name: 'www.test', type: 'AAAA', data: '2001:db8::80' },
  { name: 'alias.test', type: 'CNAME', data: 'www.test' },
  { name: 'chain.test', type: 'CNAME', data: 'alias.test' },
  { name: 'away.test', type: 'CNAME', data: 'www.elsewhere' },
  { name: 'loop.test', type: 'CNAME', data: 'pool.test' },
  { name: 'pool.test', type: 'CNAME', data: 'loop.test' },
  { name: '80.0.0.10.in-addr.arpa', type: 'PTR', data: 'www.test' },
  { name: '_http._tcp.test', type: 'SRV', data: { priority: 1, weight: 2, port: 80, target: 'www.test' } },
  { name: 'text.test', type: 'TXT', data: ['one', 'two'] },
  ...Array.from(
    { length: 100 },
    (_, i): ZoneRecord => ({ name: 'big.test', type: 'A', data: `10.1.0.${i + 1}` }),
  ),
];

export class DnsLan extends Lan {
  async dns(options: Partial<DnsServerOptions> = {}, address = DNS): Promise<DnsServer> {
    const stack = await this.host(`${address}/24`);
    const zones = ['test', '10.in-addr.arpa'];
    const server = new DnsServer({ stack, zones, records: RECORDS, ...options });
    await this.run(server.start());
    return server;
  }
}

export function dnsOf(stack: DirectStack): Record<string, number> {
  return stack.statistics().dns as Record<string, number>;
}
