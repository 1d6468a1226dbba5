export { DnsCache } from './cache.ts';
export { type ExchangeCounters, parseServer } from './exchange.ts';
export { normalize as normalizeName, reverseName } from './names.ts';
export { Resolver, type ResolverOptions } from './resolver.ts';
export { DnsServer, type DnsServerOptions, type ZoneRecord } from './server.ts';
export type { DnsData, DnsType, SrvData } from './types.ts';
